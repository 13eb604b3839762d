#version 450
// out[i] = in[index[i]], integers.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
I32_BUFFER(0, Out)
I32_BUFFER(1, In)
I32_BUFFER(2, Index)
layout(push_constant) uniform Push { uint out0, in0, index0, n; };

void main() {
	const uint i = workgroup_index() * GROUP + gl_LocalInvocationIndex;
	if (i < n) Out[out0 + i] = In[in0 + uint(Index[index0 + i])];
}
