#version 450
// The columns of the K largest elements of a row, of equal ones the first, in
// ascending order. A workgroup has one row.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
I32_BUFFER(0, Out)
F32_BUFFER(1, In)
layout(push_constant) uniform Push { uint out0, in0, rows, cols, count; };
#include "choice.glsl"

uint first;
vec4 value(uint c) { return F32_GET(In, first + c); }

shared uint partial[SUBGROUPS];

void main() {
	const uint row = workgroup_index();
	if (row >= rows) return;
	first = in0 + row * cols;
	const Choice kept = choose(EVERY, float(count), Weights(true, 0.0, 0.0));
	// Each invocation lists a part of the row.
	const uint part = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
	const uint size = (cols + GROUP - 1u) / GROUP, begin = min(cols, part * size), end = min(cols, begin + size);
	uint own = 0u;
	for (uint c = begin; c < end; c++) own += chosen(kept, key(F32_LOAD(In, first + c)), c) ? 1u : 0u;
	uint before = subgroupExclusiveAdd(own), all = subgroupAdd(own);
	if (SUBGROUPS > 1u) {
		if (subgroupElect()) partial[gl_SubgroupID] = all;
		barrier();
		for (uint i = 0u; i < gl_SubgroupID; i++) before += partial[i];
	}
	for (uint c = begin; c < end; c++)
		if (chosen(kept, key(F32_LOAD(In, first + c)), c)) Out[out0 + row * count + before++] = int(c);
}
