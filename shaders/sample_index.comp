#version 450
// The column of a row of probabilities that a uniform number draws: the first one
// at which the running sum exceeds it. A workgroup has one row.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
I32_BUFFER(0, Out)
F32_BUFFER(1, P)
F32_BUFFER(2, U)
layout(push_constant) uniform Push { uint out0, p0, u0, rows, cols; };
#include "draw.glsl"

uint first;
float weight(uint c) { return F32_LOAD(P, first + c); }

void main() {
	const uint row = workgroup_index();
	if (row >= rows) return;
	first = p0 + row * cols;
	int column = draw(F32_LOAD(U, u0 + row));
	if (gl_LocalInvocationIndex == 0u) Out[out0 + row] = column;
}
