#version 450
// variants: LAYOUT=nt,nn,tn ELEMENT=bf16,f16 MATRIX=16x16x16,16x8x16,8x16x16,8x8x8
// compiler: shaderc 2026.4
// GEMM on cooperative matrices of a subgroup, of M x N x K elements by MATRIX.
// A workgroup stages slices of A and B in shared memory, as they lie in memory;
// each subgroup multiplies a tile of WM x WN from them. While it does, the next
// slice is on its way to registers. The order of a sum over K is that of the
// matrices' K alone: no tile changes the bits of a result.
//
// ELEMENT_F16 serves devices without bf16 matrices. Each operand is multiplied
// by a power of two that brings its largest magnitude (gemm_scale) to 2^14, and
// the result divided by both: exact, but that what is below 2^-39 of the largest
// magnitude counts as zero, and below 2^-31 keeps fewer bits.
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint SUBGROUPS = 4;
#include "matrix.glsl"
#ifdef ELEMENT_BF16
#define PUSH_OFFSETS uint a0, b0, d0, c0;
#else
#define PUSH_OFFSETS uint a0, b0, d0, c0, scale0;
layout(set = 0, binding = 4) readonly buffer SCALE_words { uint SCALE[]; }; // bits of the largest magnitudes of A and B
#endif
#include "gemm_matrix.glsl"
layout(constant_id = 10) const uint WM = 32; // the tile of a subgroup
layout(constant_id = 11) const uint WN = 32;

layout(set = 0, binding = 0) readonly buffer A_scalar { uint16_t A1[]; };
layout(set = 0, binding = 0) readonly buffer A_vector { uvec4 A8[]; };
layout(set = 0, binding = 1) readonly buffer B_scalar { uint16_t B1[]; };
layout(set = 0, binding = 1) readonly buffer B_vector { uvec4 B8[]; };
layout(set = 0, binding = 2) readonly buffer D_f32 { float D32[]; };
layout(set = 0, binding = 2) readonly buffer D_bf16 { uint16_t D16[]; };
layout(set = 0, binding = 2) readonly buffer D_f32x4 { vec4 D32x4[]; };
layout(set = 0, binding = 2) readonly buffer D_bf16x4 { uvec2 D16x4[]; };
layout(set = 0, binding = 3) buffer C_f32 { float C32[]; };
layout(set = 0, binding = 3) buffer C_bf16 { uint16_t C16[]; };
layout(set = 0, binding = 3) buffer C_f32x4 { vec4 C32x4[]; };
layout(set = 0, binding = 3) buffer C_bf16x4 { uvec2 C16x4[]; };

// Operands as they lie in memory: A is M x K, or K x M in TN; B is N x K in NT, or K x N.
#ifdef LAYOUT_TN
const uint A_ROWS = BK, A_COLS = BM;
const int A_ORDER = gl_CooperativeMatrixLayoutColumnMajor;
#else
const uint A_ROWS = BM, A_COLS = BK;
const int A_ORDER = gl_CooperativeMatrixLayoutRowMajor;
#endif
#ifdef LAYOUT_NT
const uint B_ROWS = BN, B_COLS = BK;
const int B_ORDER = gl_CooperativeMatrixLayoutColumnMajor;
#else
const uint B_ROWS = BK, B_COLS = BN;
const int B_ORDER = gl_CooperativeMatrixLayoutRowMajor;
#endif

// Slices in shared memory, eight elements to a vector, one vector of padding to a row against bank conflicts.
const uint A_PITCH = A_COLS / 8u + 1u, B_PITCH = B_COLS / 8u + 1u;
shared uvec4 tileA[A_ROWS * A_PITCH];
shared uvec4 tileB[B_ROWS * B_PITCH];
shared vec4 result[SUBGROUPS * TM * TN / 4u]; // one matrix of each subgroup on its way to memory

const uint A_VECTORS = A_ROWS * A_COLS / 8u, B_VECTORS = B_ROWS * B_COLS / 8u;
const uint A_LOADS = (A_VECTORS + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
const uint B_LOADS = (B_VECTORS + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
uvec4 nextA[A_LOADS], nextB[B_LOADS];

// Eight elements (row, col..col+7), zero outside rows x cols.
#define LOAD8(name, VECTOR) \
	uvec4 load8_##name(uint start, uint row, uint col, uint rows, uint cols) { \
		if (row >= rows || col >= cols) return uvec4(0); \
		if (VECTOR && col + 8u <= cols) return name##8[(start + col) >> 3]; \
		uvec4 v = uvec4(0); \
		[[unroll]] for (uint i = 0u; i < 8u; i++) \
			if (col + i < cols) v[i >> 1] |= uint(name##1[start + col + i]) << (i % 2u * 16u); \
		return v; \
	}
LOAD8(A, VECTOR_A)
LOAD8(B, VECTOR_B)

// Reads the slice at k of A's rows and columns from i0 on, and of B's from j0 on, into registers.
void fetch(uint i0, uint j0, uint k, uint last) {
	[[unroll]] for (uint r = 0u; r < A_LOADS; r++) {
		const uint v = r * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
		uint row = v / (A_COLS / 8u), col = v % (A_COLS / 8u) * 8u;
#ifdef LAYOUT_TN
		row += k, col += i0;
		nextA[r] = v < A_VECTORS ? load8_A(a0 + row * lda, row, col, last, M) : uvec4(0);
#else
		row += i0, col += k;
		nextA[r] = v < A_VECTORS ? load8_A(a0 + row * lda, row, col, M, last) : uvec4(0);
#endif
	}
	[[unroll]] for (uint r = 0u; r < B_LOADS; r++) {
		const uint v = r * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
		uint row = v / (B_COLS / 8u), col = v % (B_COLS / 8u) * 8u;
#ifdef LAYOUT_NT
		row += j0, col += k;
		nextB[r] = v < B_VECTORS ? load8_B(b0 + row * ldb, row, col, N, last) : uvec4(0);
#else
		row += k, col += j0;
		nextB[r] = v < B_VECTORS ? load8_B(b0 + row * ldb, row, col, last, N) : uvec4(0);
#endif
	}
}

#ifdef ELEMENT_BF16
const float scaleA = 1.0, scaleB = 1.0, unscale = 1.0;
#else
#define scaleA scale_of(SCALE[scale0])
#define scaleB scale_of(SCALE[scale0 + 1u])
#endif

// Puts the slice in the registers into shared memory.
void stage(float sa, float sb) {
	[[unroll]] for (uint r = 0u; r < A_LOADS; r++) {
		const uint v = r * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
		if (v < A_VECTORS) tileA[v / (A_COLS / 8u) * A_PITCH + v % (A_COLS / 8u)] = convert(nextA[r], sa);
	}
	[[unroll]] for (uint r = 0u; r < B_LOADS; r++) {
		const uint v = r * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
		if (v < B_VECTORS) tileB[v / (B_COLS / 8u) * B_PITCH + v % (B_COLS / 8u)] = convert(nextB[r], sb);
	}
}

void store(uint row, uint col, uint from, uint to, float v) {
	if (row >= M || col >= N) return;
	if (OUT_BF16) {
		if (ADD) v += bf16_to_f32(uint(D16[from]));
		C16[to] = uint16_t(f32_to_bf16(v));
	} else {
		if (ADD) v += D32[from];
		C32[to] = v;
	}
}

// Elements (row, col..col+3) of the result.
void store4(uint row, uint col, vec4 v) {
	const uint from = d0 + row * ldd + col, to = c0 + gl_WorkGroupID.z * cSplit + row * ldc + col;
	if (!VECTOR_C || row >= M || col + 4u > N) {
		[[unroll]] for (uint i = 0u; i < 4u; i++) store(row, col + i, from + i, to + i, v[i]);
	} else if (OUT_BF16) {
		if (ADD) v += bf16x4_to_f32(D16x4[from >> 2]);
		C16x4[to >> 2] = f32_to_bf16x4(v);
	} else {
		if (ADD) v += D32x4[from >> 2];
		C32x4[to >> 2] = v;
	}
}

const uint ROWS = WM / TM, COLUMNS = WN / TN;

void main() {
	const uvec2 origin = tile_origin();
	const uint first = gl_WorkGroupID.z * kSplit, last = min(K, first + kSplit);
	const uint wi = gl_SubgroupID / (BN / WN) * WM, wj = gl_SubgroupID % (BN / WN) * WN;
	const float sa = scaleA, sb = scaleB;
	SUM c[ROWS * COLUMNS];
	[[unroll]] for (uint i = 0u; i < ROWS * COLUMNS; i++) c[i] = SUM(0.0);
	fetch(origin.x, origin.y, first, last);
	for (uint k = first; k < last; k += BK) {
		barrier();
		stage(sa, sb);
		barrier();
		if (k + BK < last) fetch(origin.x, origin.y, k + BK, last);
		[[unroll]] for (uint kk = 0u; kk < BK; kk += TK) {
			LEFT a[ROWS];
			RIGHT b;
			[[unroll]] for (uint i = 0u; i < ROWS; i++)
#ifdef LAYOUT_TN
				coopMatLoad(a[i], tileA, kk * A_PITCH + (wi + i * TM) / 8u, A_PITCH, A_ORDER);
#else
				coopMatLoad(a[i], tileA, (wi + i * TM) * A_PITCH + kk / 8u, A_PITCH, A_ORDER);
#endif
			[[unroll]] for (uint j = 0u; j < COLUMNS; j++) {
#ifdef LAYOUT_NT
				coopMatLoad(b, tileB, (wj + j * TN) * B_PITCH + kk / 8u, B_PITCH, B_ORDER);
#else
				coopMatLoad(b, tileB, kk * B_PITCH + (wj + j * TN) / 8u, B_PITCH, B_ORDER);
#endif
				[[unroll]] for (uint i = 0u; i < ROWS; i++) c[i * COLUMNS + j] = coopMatMulAdd(a[i], b, c[i * COLUMNS + j]);
			}
		}
	}
	const bool inside = origin.x + BM <= M && origin.y + BN <= N; // the same in the whole workgroup
	const uint mine = gl_SubgroupID * TM * TN / 4u;
	[[unroll]] for (uint i = 0u; i < ROWS; i++)
		[[unroll]] for (uint j = 0u; j < COLUMNS; j++) {
			const uint row = origin.x + wi + i * TM, col = origin.y + wj + j * TN;
#ifdef ELEMENT_F16
			c[i * COLUMNS + j] = c[i * COLUMNS + j] * (1.0 / sa) * (1.0 / sb);
#endif
			if (VECTOR_C && !OUT_BF16 && inside) {
				if (ADD) {
					SUM d;
					coopMatLoad(d, D32, d0 + row * ldd + col, ldd, gl_CooperativeMatrixLayoutRowMajor);
					c[i * COLUMNS + j] += d;
				}
				coopMatStore(c[i * COLUMNS + j], C32, c0 + gl_WorkGroupID.z * cSplit + row * ldc + col, ldc, gl_CooperativeMatrixLayoutRowMajor);
				continue;
			}
			barrier();
			coopMatStore(c[i * COLUMNS + j], result, mine, TN / 4u, gl_CooperativeMatrixLayoutRowMajor);
			barrier();
			for (uint e = gl_SubgroupInvocationID; e < TM * TN / 4u; e += gl_SubgroupSize) store4(row + e / (TN / 4u), col + e % (TN / 4u) * 4u, result[mine + e]);
		}
}
