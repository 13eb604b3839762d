#version 450
// variants: STORAGE=f32,bf16
// dIn = dOut * s * (1 + in*(1-s)) with s = sigmoid(in); dOut and in are f32.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "silu.glsl"
BUFFER(0, DIn)
F32_BUFFER(1, DOut)
F32_BUFFER(2, In)
layout(push_constant) uniform Push { uint dIn0, dOut0, in0, n; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
	vec4 v = F32_GET(DOut, dOut0 + i) * silu_slope(F32_GET(In, in0 + i));
	PUT(DIn, dIn0 + i, v);
}
