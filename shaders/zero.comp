#version 450
// variants: STORAGE=f32,bf16
// x = 0, for lengths that vkCmdFillBuffer cannot take: it fills whole 32-bit words.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
BUFFER(0, X)
layout(push_constant) uniform Push { uint x0, n; };

void main() {
	uint i = workgroup_index() * GROUP + gl_LocalInvocationIndex;
	if (i < n) STORE(X, x0 + i, 0.0);
}
