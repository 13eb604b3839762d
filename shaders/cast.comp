#version 450
// variants: TO=f32,bf16
// out = in, from f32 to bf16 (to nearest, ties to even) or from bf16 to f32 (exact).
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#ifdef TO_BF16
BF16_BUFFER(0, Out)
F32_BUFFER(1, In)
#else
F32_BUFFER(0, Out)
BF16_BUFFER(1, In)
#endif
layout(push_constant) uniform Push { uint out0, in0, n; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
#ifdef TO_BF16
	vec4 v = F32_GET(In, in0 + i);
	BF16_PUT(Out, out0 + i, v);
#else
	vec4 v = BF16_GET(In, in0 + i);
	F32_PUT(Out, out0 + i, v);
#endif
}
