#version 450
// variants: STORAGE=f32,bf16
// out = a + b. The gradient of both is dOut itself.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
BUFFER(0, Out)
BUFFER(1, A)
BUFFER(2, B)
layout(push_constant) uniform Push { uint out0, a0, b0, n; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
	vec4 v = GET(A, a0 + i) + GET(B, b0 + i);
	PUT(Out, out0 + i, v);
}
