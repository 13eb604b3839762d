#version 450
// variants: LAYOUT=nt,nn,tn
// compiler: shaderc 2026.4 vulkan1.3
// GEMM on cooperative matrices of a workgroup (VK_NV_cooperative_matrix2): one
// tile of BM x BN for each workgroup, whose operands the driver fetches and
// stages by tensor layouts. Inside the matrices, layouts without clamping and
// UNROLL steps of BK at a time; at the edges, layouts that read zeros and drop
// what lies outside.
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_bfloat16 : require
#extension GL_NV_cooperative_matrix2 : require
layout(local_size_x_id = 0) in;
#define PUSH_OFFSETS uint a0, b0, d0, c0;
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#include "storage.glsl"
#include "gemm_matrix.glsl"
layout(constant_id = 10) const uint UNROLL = 4;

layout(set = 0, binding = 0) readonly buffer A_elements { bfloat16_t A[]; };
layout(set = 0, binding = 1) readonly buffer B_elements { bfloat16_t B[]; };
layout(set = 0, binding = 2) readonly buffer D_f32 { float D32[]; };
layout(set = 0, binding = 2) readonly buffer D_bf16 { uint16_t D16[]; };
layout(set = 0, binding = 3) buffer C_f32 { float C32[]; };
layout(set = 0, binding = 3) buffer C_bf16 { uint16_t C16[]; };

#define SUM coopmat<float, gl_ScopeWorkgroup, BM, BN, gl_MatrixUseAccumulator>

// Offsets and pitches that are multiples of 16 bytes, made evident to the compiler: of four elements, or of eight bf16.
uint even(uint n, bool vector) { return vector ? n & ~3u : n; }
uint even8(uint n, bool vector) { return vector ? n & ~7u : n; }

// One step of BK: the tile of A at row i and of B at column j, along K from k. Tensors are as they lie in memory; a view
// with its dimensions exchanged reads A of TN and B of NT transposed.
#ifdef LAYOUT_TN
#define LOAD_A(m, t, i, k) coopMatLoadTensorNV(m, A, even8(a0, VECTOR_A), sliceTensorLayoutNV(t, k, BK, i, BM), exchanged)
#else
#define LOAD_A(m, t, i, k) coopMatLoadTensorNV(m, A, even8(a0, VECTOR_A), sliceTensorLayoutNV(t, i, BM, k, BK))
#endif
#ifdef LAYOUT_NT
#define LOAD_B(m, t, j, k) coopMatLoadTensorNV(m, B, even8(b0, VECTOR_B), sliceTensorLayoutNV(t, j, BN, k, BK), exchanged)
#else
#define LOAD_B(m, t, j, k) coopMatLoadTensorNV(m, B, even8(b0, VECTOR_B), sliceTensorLayoutNV(t, k, BK, j, BN))
#endif
#define STEP(tensorA, tensorB, k) { \
		coopmat<bfloat16_t, gl_ScopeWorkgroup, BM, BK, gl_MatrixUseA> a; \
		coopmat<bfloat16_t, gl_ScopeWorkgroup, BK, BN, gl_MatrixUseB> b; \
		LOAD_A(a, tensorA, origin.x, k); \
		LOAD_B(b, tensorB, origin.y, k); \
		sum = coopMatMulAdd(a, b, sum); \
	}

// bf16 goes in and out element by element: devices list sums in f32 alone, so there may be no matrix of bf16 sums. Each is
// called at least once for an element, in any order.
float added(const in uint row, const in uint column, const in float x, const in uint i, const in uint j) {
	return i + row < M && j + column < N ? x + bf16_to_f32(uint(D16[d0 + (i + row) * ldd + j + column])) : x;
}

float stored(const in uint row, const in uint column, const in float x, const in uint i, const in uint j) {
	if (i + row < M && j + column < N) C16[c0 + gl_WorkGroupID.z * cSplit + (i + row) * ldc + j + column] = uint16_t(f32_to_bf16(x));
	return x;
}

// Adds D and stores.
#define FINISH(tensorC, tensorD) \
	if (OUT_BF16) { \
		if (ADD) { \
			coopMatPerElementNV(sum, sum, added, origin.x, origin.y); \
			barrier(); /* C may be D, an element's reader another invocation than its writer */ \
		} \
		coopMatPerElementNV(sum, sum, stored, origin.x, origin.y); \
	} else { \
		if (ADD) { \
			SUM d; \
			coopMatLoadTensorNV(d, D32, d0, sliceTensorLayoutNV(tensorD, origin.x, BM, origin.y, BN)); \
			sum += d; \
			barrier(); \
		} \
		coopMatStoreTensorNV(sum, C32, start, sliceTensorLayoutNV(tensorC, origin.x, BM, origin.y, BN)); \
	}

void main() {
	const uvec2 origin = tile_origin();
	const uint first = gl_WorkGroupID.z * kSplit, last = min(K, first + kSplit);
	tensorViewNV<2, false, 1, 0> exchanged = createTensorViewNV(2, false, 1, 0);
	tensorLayoutNV<2> insideA = createTensorLayoutNV(2), insideB = createTensorLayoutNV(2);
	tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> edgeA = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
	tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> edgeB = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
#ifdef LAYOUT_TN
	const uvec2 sizeA = uvec2(last, M);
#else
	const uvec2 sizeA = uvec2(M, last);
#endif
#ifdef LAYOUT_NT
	const uvec2 sizeB = uvec2(N, last);
#else
	const uvec2 sizeB = uvec2(last, N);
#endif
	insideA = setTensorLayoutStrideNV(setTensorLayoutDimensionNV(insideA, sizeA.x, sizeA.y), even8(lda, VECTOR_A), 1u);
	insideB = setTensorLayoutStrideNV(setTensorLayoutDimensionNV(insideB, sizeB.x, sizeB.y), even8(ldb, VECTOR_B), 1u);
	edgeA = setTensorLayoutStrideNV(setTensorLayoutDimensionNV(edgeA, sizeA.x, sizeA.y), lda, 1u);
	edgeB = setTensorLayoutStrideNV(setTensorLayoutDimensionNV(edgeB, sizeB.x, sizeB.y), ldb, 1u);

	tensorLayoutNV<2> insideC = createTensorLayoutNV(2), insideD = createTensorLayoutNV(2);
	tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> edgeC = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
	tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> edgeD = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
	insideC = setTensorLayoutStrideNV(setTensorLayoutDimensionNV(insideC, M, N), even(ldc, VECTOR_C), 1u);
	insideD = setTensorLayoutStrideNV(setTensorLayoutDimensionNV(insideD, M, N), even(ldd, VECTOR_C), 1u);
	edgeC = setTensorLayoutStrideNV(setTensorLayoutDimensionNV(edgeC, M, N), ldc, 1u);
	edgeD = setTensorLayoutStrideNV(setTensorLayoutDimensionNV(edgeD, M, N), ldd, 1u);

	SUM sum = SUM(0.0);
	const uint start = c0 + gl_WorkGroupID.z * cSplit;
	if (origin.x + BM <= M && origin.y + BN <= N) { // the same in the whole workgroup
		const uint whole = first + (last - first) / BK * BK, unrolled = first + (last - first) / (BK * UNROLL) * (BK * UNROLL);
		uint k = first;
		for (; k < unrolled; k += BK * UNROLL)
			[[unroll]] for (uint u = 0u; u < UNROLL; u++) STEP(insideA, insideB, k + u * BK)
		for (; k < whole; k += BK) STEP(insideA, insideB, k)
		if (k < last) STEP(edgeA, edgeB, k)
		FINISH(insideC, insideD)
	} else {
		for (uint k = first; k < last; k += BK) STEP(edgeA, edgeB, k)
		FINISH(edgeC, edgeD)
	}
}
