#version 450
// variants: STORAGE=f32,bf16
// out = w * round(x * rstd) with rstd = (mean(x²) + eps)^(-1/2); a workgroup
// handles rowsPerGroup rows, one after the other.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
BUFFER(0, Out)
F32_BUFFER(1, Rstd)
BUFFER(2, In)
BUFFER(3, Weight)
layout(push_constant) uniform Push { uint out0, rstd0, in0, weight0, rows, cols, rowsPerGroup; float eps; };

void main() {
	const uint first = workgroup_index() * rowsPerGroup, last = min(rows, first + rowsPerGroup);
	if (first >= rows) return;
	vec4 w[HELD];
	[[unroll]] for (uint t = 0u; t < ITEMS; t++) w[t] = column(t) < cols ? LOAD4(Weight, weight0 + column(t)) : vec4(0);
	for (uint row = first; row < last; row++) {
		uint at = in0 + row * cols, to = out0 + row * cols;
		vec4 x[HELD], sum = vec4(0);
		[[unroll]] for (uint t = 0u; t < ITEMS; t++) {
			x[t] = column(t) < cols ? LOAD4(In, at + column(t)) : vec4(0);
			sum += x[t] * x[t];
		}
		if (ITEMS == 0u) for (uint c = column(0); c < cols; c += STEP) {
			vec4 v = GET(In, at + c);
			sum += v * v;
		}
		float rstd = inversesqrt(workgroup_add(total(sum)) / float(cols) + eps);
		if (gl_LocalInvocationIndex == 0u) F32_STORE(Rstd, rstd0 + row, rstd);
		[[unroll]] for (uint t = 0u; t < ITEMS; t++)
			if (column(t) < cols) STORE4(Out, to + column(t), w[t] * round4(x[t] * rstd));
		if (ITEMS == 0u) for (uint c = column(0); c < cols; c += STEP) {
			vec4 v = GET(Weight, weight0 + c) * round4(GET(In, at + c) * rstd);
			PUT(Out, to + c, v);
		}
	}
}
