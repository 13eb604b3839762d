#version 450
// variants: STORAGE=f32,bf16
// out[index[i]] = in[i] for rows of cols elements; a workgroup has one row. The
// dispatch sees the rows first to first+count-1 of the result and leaves out the others.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
BUFFER(0, Out)
BUFFER(1, In)
I32_BUFFER(2, Index)
layout(push_constant) uniform Push { uint out0, in0, index0, n, cols, first, count; };

void main() {
	const uint i = workgroup_index(), width = VECTOR ? 4u : 1u;
	if (i >= n) return;
	const uint to = uint(Index[index0 + i]) - first; // a negative index is beyond all rows
	if (to >= count) return;
	for (uint c = local_index() * width; c < cols; c += GROUP * width)
		PUT(Out, out0 + to * cols + c, GET(In, in0 + i * cols + c));
}
