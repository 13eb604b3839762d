#version 450
// variants: STORAGE=f32,bf16
// RMSNorm and RoPE of heads in one visit, rounded as the two one after the other:
//
//	y = w * round(x * rstd), rstd = (mean(x²) + eps)^(-1/2)
//	out[i] = y[i] cos - y[i+half] sin, out[i+half] = y[i+half] cos + y[i] sin
//
// An invocation has both halves of its pairs, so each element is read once and the result may
// be the input. A workgroup handles rowsPerGroup rows, one after the other, and of a row HEADS
// heads at a time: with HEADS > 1 it is one subgroup, each HEADS-th part of which has a head.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
layout(constant_id = 3) const uint TURNS = 1;       // pairs, or fours of them, of an invocation
layout(constant_id = 4) const uint HEADS = 1;
layout(constant_id = 5) const bool BROADCAST = false; // CPU drivers: shuffles with a constant index alone are cheap
BUFFER(0, Out)
F32_BUFFER(1, Rstd)
BUFFER(2, In)
BUFFER(3, Weight)
F32_BUFFER(4, Cos)
F32_BUFFER(5, Sin)
I32_BUFFER(6, Pos)
layout(push_constant) uniform Push { uint out0, rstd0, in0, weight0, cos0, sin0, pos0, rows, pairs, rowsPerGroup, heads; float eps; };

const uint LANES = GROUP / HEADS; // of a head
uint part() { return gl_LocalInvocationIndex / LANES; }
uint column(uint t) { return (t * LANES + gl_LocalInvocationIndex % LANES) * (VECTOR ? 4u : 1u); }

vec4 round4(vec4 v) { return vec4(ROUND(v.x), ROUND(v.y), ROUND(v.z), ROUND(v.w)); }

// The sum over the lanes of a head.
float add(float v) {
	if (HEADS == 1u) return workgroup_add(v);
	if (BROADCAST) {
		float all = 0.0;
		[[unroll]] for (uint h = 0u; h < HEADS; h++) {
			float sum = 0.0;
			[[unroll]] for (uint i = 0u; i < LANES; i++) sum += subgroupShuffle(v, h * LANES + i);
			if (part() == h) all = sum;
		}
		return all;
	}
	[[unroll]] for (uint d = 1u; d < LANES; d *= 2u) v += subgroupShuffleXor(v, d);
	return v;
}

void main() {
	const uint first = workgroup_index() * rowsPerGroup, last = min(rows, first + rowsPerGroup);
	if (first >= rows) return;
	vec4 lo[TURNS], hi[TURNS];
	[[unroll]] for (uint t = 0u; t < TURNS; t++) {
		bool inside = column(t) < pairs;
		lo[t] = inside ? GET(Weight, weight0 + column(t)) : vec4(0);
		hi[t] = inside ? GET(Weight, weight0 + pairs + column(t)) : vec4(0);
	}
	for (uint row = first; row < last; row++) {
		const uint angle = uint(Pos[pos0 + row]) * pairs;
		vec4 c[TURNS], s[TURNS];
		[[unroll]] for (uint t = 0u; t < TURNS; t++) {
			bool inside = column(t) < pairs;
			c[t] = inside ? F32_GET(Cos, cos0 + angle + column(t)) : vec4(0);
			s[t] = inside ? F32_GET(Sin, sin0 + angle + column(t)) : vec4(0);
		}
		for (uint h = 0u; h < heads; h += HEADS) {
			const uint head = row * heads + h + part(), at = head * 2u * pairs;
			const bool here = h + part() < heads;
			vec4 a[TURNS], b[TURNS], sum = vec4(0);
			[[unroll]] for (uint t = 0u; t < TURNS; t++) {
				bool inside = here && column(t) < pairs;
				a[t] = inside ? GET(In, in0 + at + column(t)) : vec4(0);
				b[t] = inside ? GET(In, in0 + at + pairs + column(t)) : vec4(0);
				sum += a[t] * a[t] + b[t] * b[t];
			}
			float rstd = inversesqrt(add(VECTOR ? (sum.x + sum.y) + (sum.z + sum.w) : sum.x) / float(2u * pairs) + eps);
			if (here && gl_LocalInvocationIndex % LANES == 0u) F32_STORE(Rstd, rstd0 + head, rstd);
			[[unroll]] for (uint t = 0u; t < TURNS; t++) if (here && column(t) < pairs) {
				vec4 x = round4(lo[t] * round4(a[t] * rstd)), y = round4(hi[t] * round4(b[t] * rstd));
				PUT(Out, out0 + at + column(t), x * c[t] - y * s[t]);
				PUT(Out, out0 + at + pairs + column(t), y * c[t] + x * s[t]);
			}
		}
	}
}
