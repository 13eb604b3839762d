#version 450
// variants: STORAGE=f32,bf16
// The bottleneck of the Domino head on rows of a decoding step:
//
//	act = SiLU(W1 [Z ; s])
//
// A workgroup has one unit of ROWS rows; its invocations share the sum.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
#include "silu.glsl"
layout(constant_id = 4) const uint ROWS = 1;
BUFFER(0, ACT)
BUFFER(1, Z)
F32_BUFFER(2, S)
BUFFER(3, W1)
layout(push_constant) uniform Push { uint act0, z0, s0, w10, rows, H, G, E; };

void main() {
	const uint unit = workgroup_index() % E, first = workgroup_index() / E * ROWS, weights = w10 + unit * (H + G);
	if (first >= rows) return;
	float sum[ROWS];
	[[unroll]] for (uint m = 0u; m < ROWS; m++) sum[m] = 0.0;
	for (uint c = column(0u); c < H; c += STEP) {
		vec4 w = GET(W1, weights + c);
		[[unroll]] for (uint m = 0u; m < ROWS; m++) sum[m] += total(w * GET(Z, z0 + min(first + m, rows - 1u) * H + c));
	}
	for (uint c = column(0u); c < G; c += STEP) {
		vec4 w = GET(W1, weights + H + c);
		[[unroll]] for (uint m = 0u; m < ROWS; m++) sum[m] += total(w * round4(F32_GET(S, s0 + min(first + m, rows - 1u) * G + c)));
	}
	[[unroll]] for (uint m = 0u; m < ROWS; m++) {
		float v = silu(vec4(workgroup_add(sum[m]))).x;
		if (gl_LocalInvocationIndex == 0u && first + m < rows) STORE(ACT, act0 + (first + m) * E + unit, v);
	}
}
