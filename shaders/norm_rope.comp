#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// RMSNorm and RoPE of heads in one visit, rounded as the two one after the other:
//
//	y = w * round(x * rstd), rstd = (mean(x²) + eps)^(-1/2)
//	out[i] = y[i] cos - y[i+half] sin, out[i+half] = y[i+half] cos + y[i] sin
//
// An invocation has both halves of its pairs, so each element is read once and the result may
// be the input. A workgroup handles rowsPerGroup rows, one after the other, and of a row PARTS
// heads at a time; ITEMS turns cover the pairs of a head.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "norm.glsl"
WRITE_BUFFER(0, Out)
F32_BUFFER(1, Rstd)
READ_BUFFER(2, In)
READ_BUFFER(3, Weight)
F32_READ_BUFFER(4, Cos)
F32_READ_BUFFER(5, Sin)
I32_READ_BUFFER(6, Pos)
layout(push_constant) uniform Push { uint out0, rstd0, in0, weight0, cos0, sin0, pos0, rows, pairs, rowsPerGroup, heads; float eps; };

void main() {
	const uint first = workgroup_index() * rowsPerGroup, last = min(rows, first + rowsPerGroup);
	if (first >= rows) return;
	vec4 lo[HELD][FOURS], hi[HELD][FOURS];
	[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (turn(t) < pairs) {
		READ(Weight, weight0 + turn(t), lo[t])
		READ(Weight, weight0 + pairs + turn(t), hi[t])
	}
	for (uint row = first; row < last; row++) {
		const uint angle = uint(I32_FETCH(Pos, pos0 + row)) * pairs;
		vec4 c[HELD][FOURS], s[HELD][FOURS];
		[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (turn(t) < pairs) {
			F32_READ(Cos, cos0 + angle + turn(t), c[t])
			F32_READ(Sin, sin0 + angle + turn(t), s[t])
		}
		for (uint h = 0u; h < heads; h += PARTS) {
			const uint head = row * heads + h + part(), at = head * 2u * pairs;
			const bool here = h + part() < heads;
			vec4 a[HELD][FOURS], b[HELD][FOURS], sum = vec4(0);
			[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (here && turn(t) < pairs) {
				READ(In, in0 + at + turn(t), a[t])
				READ(In, in0 + at + pairs + turn(t), b[t])
				[[unroll]] for (uint f = 0u; f < FOURS; f++) sum += a[t][f] * a[t][f] + b[t][f] * b[t][f];
			}
			float rstd = inversesqrt(row_add(total(sum)) / float(2u * pairs) + eps);
			if (here && lane() == 0u) F32_STORE(Rstd, rstd0 + head, rstd);
			[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (here && turn(t) < pairs) {
				vec4 p[FOURS], q[FOURS];
				[[unroll]] for (uint f = 0u; f < FOURS; f++) {
					vec4 x = round4(lo[t][f] * round4(a[t][f] * rstd)), y = round4(hi[t][f] * round4(b[t][f] * rstd));
					p[f] = x * c[t][f] - y * s[t][f];
					q[f] = y * c[t][f] + x * s[t][f];
				}
				WRITE(Out, out0 + at + turn(t), p);
				WRITE(Out, out0 + at + pairs + turn(t), q);
			}
		}
	}
}
