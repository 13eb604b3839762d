#version 450
// variants: STORAGE=f32,bf16
// First stage of dWeight: partial[z] = sum of dOut * x * rstd over the z-th range of rows.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
F32_BUFFER(0, Partial)
BUFFER(1, DOut)
BUFFER(2, In)
F32_BUFFER(3, Rstd)
layout(push_constant) uniform Push { uint partial0, dOut0, in0, rstd0, rows, cols, rowsPerGroup; };

void main() {
	const uint c = (gl_WorkGroupID.x * GROUP + gl_LocalInvocationIndex) * (VECTOR ? 4u : 1u);
	if (c >= cols) return;
	const uint first = gl_WorkGroupID.y * rowsPerGroup, last = min(rows, first + rowsPerGroup);
	vec4 sum = vec4(0);
	for (uint row = first; row < last; row++) {
		uint at = row * cols + c;
		sum += GET(DOut, dOut0 + at) * GET(In, in0 + at) * F32_LOAD(Rstd, rstd0 + row);
	}
	uint to = partial0 + gl_WorkGroupID.y * cols + c;
	F32_PUT(Partial, to, sum);
}
