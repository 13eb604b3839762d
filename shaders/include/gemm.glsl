// What the GEMM kernels of all tiers share: operands, edges and the epilogue.
//
//	C[M,N] = op(A) op(B) (+ D)     NT: A[M,K] B[N,K]   NN: A[M,K] B[K,N]   TN: A[K,M] B[K,N]
//
// A, B and D, C are row-major with row pitches lda, ldb, ldd, ldc, in elements.
// With SPLIT, workgroup z handles the z-th range of K and C is the partial sums
// [splits, M, N] in f32, which gemm_reduce adds up.
#include "storage.glsl"
#ifdef OUT_BF16
#define OUT_BUFFER BF16_BUFFER
#define OUT_LOAD BF16_LOAD
#define OUT_LOAD4 BF16_LOAD4
#define OUT_STORE BF16_STORE
#define OUT_STORE4 BF16_STORE4
#else
#define OUT_BUFFER F32_BUFFER
#define OUT_LOAD F32_LOAD
#define OUT_LOAD4 F32_LOAD4
#define OUT_STORE F32_STORE
#define OUT_STORE4 F32_STORE4
#endif
#ifdef TEXELS
layout(set = 0, binding = 0) uniform usamplerBuffer A;
layout(set = 0, binding = 1) uniform usamplerBuffer B;
layout(set = 0, binding = 2) uniform usamplerBuffer D;
#elif defined(OPERAND)
OPERAND(0, A)
OPERAND(1, B)
#else
BUFFER(0, A)
BUFFER(1, B)
#endif
#ifndef TEXELS
OUT_BUFFER(2, D)
#endif
OUT_BUFFER(3, C)
layout(push_constant) uniform Push { uint a0, b0, d0, c0, M, N, K, lda, ldb, ldd, ldc, kSplit, cSplit; };

layout(constant_id = 2) const bool VECTOR_A = false; // rows of A may be loaded four at a time
layout(constant_id = 3) const bool VECTOR_B = false;
layout(constant_id = 4) const bool VECTOR_C = false;
layout(constant_id = 5) const bool ADD = false; // add D

#ifndef TEXELS
// Elements (row, col..col+3) of A as it lies in memory, zero outside rows x cols.
vec4 load_a(uint row, uint col, uint rows, uint cols) {
	uint at = a0 + min(row, rows - 1u) * lda + col;
	if (VECTOR_A) return LOAD4(A, at - col + min(col, cols - 4u));
	vec4 v = vec4(0);
	[[unroll]] for (uint i = 0u; i < 4u; i++) if (row < rows && col + i < cols) v[i] = LOAD(A, at + i);
	return v;
}

vec4 load_b(uint row, uint col, uint rows, uint cols) {
	uint at = b0 + min(row, rows - 1u) * ldb + col;
	if (VECTOR_B) return LOAD4(B, at - col + min(col, cols - 4u));
	vec4 v = vec4(0);
	[[unroll]] for (uint i = 0u; i < 4u; i++) if (row < rows && col + i < cols) v[i] = LOAD(B, at + i);
	return v;
}

// The same from a row whose address is known: CPU drivers do not move it out of a loop.
vec4 along_a(uint at, uint col, uint cols) {
	if (VECTOR_A) return LOAD4(A, at + col);
	vec4 v = vec4(0);
	[[unroll]] for (uint i = 0u; i < 4u; i++) if (col + i < cols) v[i] = LOAD(A, at + col + i);
	return v;
}

vec4 along_b(uint at, uint col, uint cols) {
	if (VECTOR_B) return LOAD4(B, at + col);
	vec4 v = vec4(0);
	[[unroll]] for (uint i = 0u; i < 4u; i++) if (col + i < cols) v[i] = LOAD(B, at + col + i);
	return v;
}

#endif

uint row_a(uint row, uint rows) { return a0 + min(row, rows - 1u) * lda; }
uint row_b(uint row, uint rows) { return b0 + min(row, rows - 1u) * ldb; }

void store_c(uint row, uint col, float v) {
	if (row >= M || col >= N) return;
#ifndef TEXELS
	if (ADD) v += OUT_LOAD(D, d0 + row * ldd + col);
#endif
	OUT_STORE(C, c0 + gl_WorkGroupID.z * cSplit + row * ldc + col, v);
}

void store_c4(uint row, uint col, vec4 v) {
	if (!VECTOR_C) {
		[[unroll]] for (uint i = 0u; i < 4u; i++) store_c(row, col + i, v[i]);
		return;
	}
	if (row >= M || col >= N) return;
#ifndef TEXELS
	if (ADD) v += OUT_LOAD4(D, d0 + row * ldd + col);
#endif
	OUT_STORE4(C, c0 + gl_WorkGroupID.z * cSplit + row * ldc + col, v);
}
