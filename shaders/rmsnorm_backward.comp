#version 450
// variants: STORAGE=f32,bf16
// dIn = rstd * (u - x * rstd² * mean(u*x)) with u = dOut * w, (+= with ACCUMULATE).
// dIn may be dOut: an invocation reads its columns before it writes them.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
BUFFER(0, DIn)
BUFFER(1, DOut)
BUFFER(2, In)
F32_BUFFER(3, Rstd)
BUFFER(4, Weight)
layout(push_constant) uniform Push { uint dIn0, dOut0, in0, rstd0, weight0, rows, cols, rowsPerGroup; };
layout(constant_id = 4) const bool ACCUMULATE = false;

void main() {
	const uint first = workgroup_index() * rowsPerGroup, last = min(rows, first + rowsPerGroup);
	if (first >= rows) return;
	vec4 w[HELD];
	[[unroll]] for (uint t = 0u; t < ITEMS; t++) w[t] = column(t) < cols ? LOAD4(Weight, weight0 + column(t)) : vec4(0);
	for (uint row = first; row < last; row++) {
		uint at = row * cols;
		vec4 x[HELD], u[HELD], sum = vec4(0);
		[[unroll]] for (uint t = 0u; t < ITEMS; t++) {
			bool inside = column(t) < cols;
			x[t] = inside ? LOAD4(In, in0 + at + column(t)) : vec4(0);
			u[t] = inside ? LOAD4(DOut, dOut0 + at + column(t)) * w[t] : vec4(0);
			sum += u[t] * x[t];
		}
		if (ITEMS == 0u) for (uint c = column(0); c < cols; c += STEP)
			sum += GET(DOut, dOut0 + at + c) * GET(Weight, weight0 + c) * GET(In, in0 + at + c);
		float rstd = F32_LOAD(Rstd, rstd0 + row);
		float k = rstd * rstd * workgroup_add(total(sum)) / float(cols);
		[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (column(t) < cols) {
			vec4 d = rstd * (u[t] - x[t] * k);
			if (ACCUMULATE) d += LOAD4(DIn, dIn0 + at + column(t));
			STORE4(DIn, dIn0 + at + column(t), d);
		}
		if (ITEMS == 0u) for (uint c = column(0); c < cols; c += STEP) {
			vec4 d = rstd * (GET(DOut, dOut0 + at + c) * GET(Weight, weight0 + c) - GET(In, in0 + at + c) * k);
			if (ACCUMULATE) d += GET(DIn, dIn0 + at + c);
			PUT(DIn, dIn0 + at + c, d);
		}
	}
}
