#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// out = w * round(x * rstd) with rstd = (mean(x²) + eps)^(-1/2); a workgroup
// handles rowsPerGroup rows, PARTS at a time. out may be x.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "norm.glsl"
WRITE_BUFFER(0, Out)
F32_BUFFER(1, Rstd)
READ_BUFFER(2, In)
READ_BUFFER(3, Weight)
layout(push_constant) uniform Push { uint out0, rstd0, in0, weight0, rows, cols, rowsPerGroup; float eps; };

void main() {
	const uint first = workgroup_index() * rowsPerGroup, last = min(rows, first + rowsPerGroup);
	if (first >= rows) return;
	vec4 w[HELD][FOURS], v[FOURS];
	[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (turn(t) < cols) READ(Weight, weight0 + turn(t), w[t])
	for (uint row = first + part(); row < last; row += PARTS) {
		uint at = in0 + row * cols, to = out0 + row * cols;
		vec4 x[HELD][FOURS], sum = vec4(0);
		[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (turn(t) < cols) {
			READ(In, at + turn(t), x[t])
			[[unroll]] for (uint f = 0u; f < FOURS; f++) sum += x[t][f] * x[t][f];
		}
		if (ITEMS == 0u) for (uint c = turn(0u); c < cols; c += LANES * WIDTH) {
			READ(In, at + c, v)
			[[unroll]] for (uint f = 0u; f < FOURS; f++) sum += v[f] * v[f];
		}
		float rstd = inversesqrt(row_add(total(sum)) / float(cols) + eps);
		if (lane() == 0u) F32_STORE(Rstd, rstd0 + row, rstd);
		[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (turn(t) < cols) {
			[[unroll]] for (uint f = 0u; f < FOURS; f++) v[f] = w[t][f] * round4(x[t][f] * rstd);
			WRITE(Out, to + turn(t), v);
		}
		if (ITEMS == 0u) for (uint c = turn(0u); c < cols; c += LANES * WIDTH) {
			vec4 g[FOURS];
			READ(Weight, weight0 + c, g)
			READ(In, at + c, v)
			[[unroll]] for (uint f = 0u; f < FOURS; f++) v[f] = g[f] * round4(v[f] * rstd);
			WRITE(Out, to + c, v);
		}
	}
}
