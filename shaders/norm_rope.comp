#version 450
// variants: STORAGE=f32,bf16
// RMSNorm and RoPE of heads in one visit, rounded as the two one after the other:
//
//	y = w * round(x * rstd), rstd = (mean(x²) + eps)^(-1/2)
//	out[i] = y[i] cos - y[i+half] sin, out[i+half] = y[i+half] cos + y[i] sin
//
// A workgroup handles rowsPerGroup heads, one after the other; the result may be the input.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
layout(constant_id = 4) const uint TURNS = 1; // columns, or fours, of an invocation
BUFFER(0, Out)
F32_BUFFER(1, Rstd)
BUFFER(2, In)
BUFFER(3, Weight)
F32_BUFFER(4, Cos)
F32_BUFFER(5, Sin)
I32_BUFFER(6, Pos)
layout(push_constant) uniform Push { uint out0, rstd0, in0, weight0, cos0, sin0, pos0, rows, cols, rowsPerGroup, heads; float eps; };

vec4 normed(vec4 x, float rstd, uint c) { return round4(GET(Weight, weight0 + c) * round4(x * rstd)); }

void main() {
	const uint first = workgroup_index() * rowsPerGroup, last = min(rows, first + rowsPerGroup), pairs = cols / 2u;
	for (uint row = first; row < last; row++) {
		const uint at = in0 + row * cols, to = out0 + row * cols, angle = uint(Pos[pos0 + row / heads]) * pairs;
		vec4 x[TURNS], sum = vec4(0);
		[[unroll]] for (uint t = 0u; t < TURNS; t++) {
			x[t] = column(t) < cols ? GET(In, at + column(t)) : vec4(0);
			sum += x[t] * x[t];
		}
		float rstd = inversesqrt(workgroup_add(total(sum)) / float(cols) + eps);
		[[unroll]] for (uint t = 0u; t < TURNS; t++) {
			uint c = column(t);
			if (c >= cols) continue;
			uint partner = c < pairs ? c + pairs : c - pairs, i = min(c, partner);
			vec4 other = normed(GET(In, at + partner), rstd, partner) * F32_GET(Sin, sin0 + angle + i);
			x[t] = normed(x[t], rstd, c) * F32_GET(Cos, cos0 + angle + i);
			x[t] = c < pairs ? x[t] - other : x[t] + other;
		}
		barrier(); // all have read what is overwritten now
		if (gl_LocalInvocationIndex == 0u) F32_STORE(Rstd, rstd0 + row, rstd);
		[[unroll]] for (uint t = 0u; t < TURNS; t++) if (column(t) < cols) PUT(Out, to + column(t), x[t]);
	}
}
