#version 450
// variants: OUT=f32,bf16
// Adds the partial sums of a split GEMM in a fixed order: C = sum over z of P[z] (+ D).
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
#ifdef OUT_BF16
#define OUT(op) BF16_##op
#else
#define OUT(op) F32_##op
#endif
F32_BUFFER(0, P)
OUT(BUFFER)(1, D)
OUT(BUFFER)(2, C)
layout(push_constant) uniform Push { uint p0, d0, c0, M, N, ldd, ldc, splits; };
layout(constant_id = 2) const bool ADD = false;

void main() {
	uint i = workgroup_index() * GROUP + gl_LocalInvocationIndex;
	if (i >= M * N) return;
	float v = 0.0;
	for (uint z = 0u; z < splits; z++) v += F32_LOAD(P, p0 + z * M * N + i);
	uint row = i / N, col = i % N;
	if (ADD) v += OUT(LOAD)(D, d0 + row * ldd + col);
	OUT(STORE)(C, c0 + row * ldc + col, v);
}
