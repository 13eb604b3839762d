#version 450
// Losses of the rows from their statistics, per stream with maximum m and sum s:
//
//	CE = (m - x_y) + ln s                        cross-entropy on the label
//	L  = (1-a)(m - x_y) + a(m - Σ p x) + ln s    on the soft label
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
#include "cross_entropy.glsl"
F32_BUFFER(0, STATS)
F32_BUFFER(1, RESULT) // ce, loss, argmax, lse; of each base, then final
layout(push_constant) uniform Push { uint stats0, result0, rows; float a; };

// ln s for s >= 1 to a few units in the last place, which drivers do not promise:
// s = 2^e f with f around 1, ln f = 2 artanh((f-1)/(f+1)) by its series.
float ln(float s) {
	uint u = floatBitsToUint(s);
	if (u - 0x3f800000u >= 0x40000000u) return s == 0.0 ? MINUS_INF : s; // nothing summed; infinity, NaN
	uint e = (u - 0x3f3504f3u) >> 23; // f in [sqrt(1/2), sqrt(2))
	float f = uintBitsToFloat(u - (e << 23)), y = (f - 1.0) / (f + 1.0), z = y * y;
	float series = y * (2.0 + z * (2.0 / 3.0 + z * (2.0 / 5.0 + z * (2.0 / 7.0 + z * (2.0 / 9.0)))));
	return float(e) * 0.693359375 + (series - float(e) * 2.12194440e-4); // ln 2 in two parts, the first exact
}

// ce, loss, argmax, lse of a stream; gap is Σ w (m-x) / Σ w.
vec4 finish(vec4 stream, float gap) {
	float lnSum = ln(stream.y), hard = stream.x - stream.w;
	float ce = hard + lnSum, loss = a == 0.0 ? ce : (1.0 - a) * hard + a * gap + lnSum;
	return vec4(ce, loss, stream.z == NO_INDEX ? 0.0 : stream.z, stream.x + lnSum);
}

void main() {
	const uint row = workgroup_index() * GROUP + gl_LocalInvocationIndex;
	if (row >= rows) return;
	const uint stats = stats0 + row * STATS_COLS, at = result0 + row * 8u;
	vec4 teacher = F32_LOAD4(STATS, stats + 8u);
	vec4 base = finish(F32_LOAD4(STATS, stats), teacher.z / teacher.y);
	vec4 fin = finish(F32_LOAD4(STATS, stats + 4u), teacher.w / teacher.y);
	F32_STORE4(RESULT, at, vec4(base.x, fin.x, base.y, fin.y));
	F32_STORE4(RESULT, at + 4u, vec4(base.z, fin.z, base.w, fin.w));
}
