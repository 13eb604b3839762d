#version 450
// variants: STORAGE=f32,bf16
// out = silu(in); in is f32.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "silu.glsl"
BUFFER(0, Out)
F32_BUFFER(1, In)
layout(push_constant) uniform Push { uint out0, in0, n; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
	vec4 v = silu(F32_GET(In, in0 + i));
	PUT(Out, out0 + i, v);
}
