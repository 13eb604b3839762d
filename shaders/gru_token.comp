#version 450
// variants: STORAGE=f32,bf16
// One step of a GRU on rows that go on for themselves, where the input side of every
// token is known: gi[token] = W_ih x.
//
//	r = sigma(gi_r + W_hr h)   z = sigma(gi_z + W_hz h)   q = W_hn h
//	n = tanh(gi_n + r q)       h' = (1 - z) n + z h
//
// A workgroup has one unit of ROWS rows; its invocations share the sums over h.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
#include "gru.glsl"
layout(constant_id = 4) const bool FIRST = false; // h is zero and not read
layout(constant_id = 5) const uint ROWS = 1;
F32_BUFFER(0, NEXT)
F32_BUFFER(1, GI)
I32_BUFFER(2, TOKENS)
F32_BUFFER(3, H)
BUFFER(4, WHH)
layout(push_constant) uniform Push { uint next0, gi0, tokens0, h0, whh0, rows, G; };

void main() {
	const uint unit = workgroup_index() % G, first = workgroup_index() / G * ROWS;
	if (first >= rows) return;
	vec3 sum[ROWS]; // of r, z and q
	[[unroll]] for (uint m = 0u; m < ROWS; m++) sum[m] = vec3(0);
	if (!FIRST) for (uint c = column(0u); c < G; c += STEP) {
		vec4 r = GET(WHH, whh0 + unit * G + c), z = GET(WHH, whh0 + (G + unit) * G + c), q = GET(WHH, whh0 + (2u * G + unit) * G + c);
		[[unroll]] for (uint m = 0u; m < ROWS; m++) {
			vec4 h = round4(F32_GET(H, h0 + min(first + m, rows - 1u) * G + c));
			sum[m] += vec3(total(r * h), total(z * h), total(q * h));
		}
	}
	[[unroll]] for (uint m = 0u; m < ROWS; m++) {
		vec3 s = vec3(0);
		if (!FIRST) s = vec3(workgroup_add(sum[m].x), workgroup_add(sum[m].y), workgroup_add(sum[m].z));
		if (gl_LocalInvocationIndex == 0u && first + m < rows) {
			uint at = (first + m) * G + unit, gi = gi0 + uint(TOKENS[tokens0 + first + m]) * 3u * G + unit;
			vec4 gate = sigma(vec4(F32_LOAD(GI, gi) + s.x, F32_LOAD(GI, gi + G) + s.y, 0.0, 0.0));
			float n = tanh_exact(vec4(F32_LOAD(GI, gi + 2u * G) + gate.x * s.z)).x;
			float h = FIRST ? 0.0 : F32_LOAD(H, h0 + at);
			F32_STORE(NEXT, next0 + at, (1.0 - gate.y) * n + gate.y * h);
		}
	}
}
