#version 450
// The index of the largest element of a row, the smallest of equal ones; a
// workgroup has one row. NaN is never the largest; a row of NaN gives 0.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
I32_BUFFER(0, Out)
F32_BUFFER(1, In)
layout(push_constant) uniform Push { uint out0, in0, rows, cols; };

const float NOTHING = 16777216.0; // rows are shorter, so a float holds every index

void main() {
	const uint row = workgroup_index(), width = VECTOR ? 4u : 1u;
	if (row >= rows) return;
	float best = uintBitsToFloat(0xff800000u), index = NOTHING;
	for (uint c = local_index() * width; c < cols; c += GROUP * width) {
		vec4 x = F32_GET(In, in0 + row * cols + c);
		[[unroll]] for (uint i = 0u; i < 4u; i++)
			if (i < width && (x[i] > best || (index == NOTHING && x[i] == best))) {
				best = x[i];
				index = float(c + i);
			}
	}
	const float most = workgroup_max(best);
	const float first = -workgroup_max(best == most ? -index : -NOTHING);
	if (local_index() == 0u) Out[out0 + row] = first == NOTHING ? 0 : int(first);
}
