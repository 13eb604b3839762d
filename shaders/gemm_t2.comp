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
layout(constant_id = 12) const uint BUFFERS = 1; // slices in shared memory at a time

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
// At the end rows of results pass through it on their way to memory, four elements to a vector.
const uint A_PITCH = A_COLS / 8u + 1u, B_PITCH = B_COLS / 8u + 1u, C_PITCH = WN / 4u + 1u;
const uint B_AT = A_ROWS * A_PITCH, SLICE = B_AT + B_ROWS * B_PITCH;
const uint RESULTS = SUBGROUPS * TM * C_PITCH;
shared uvec4 pool[BUFFERS * SLICE > RESULTS ? BUFFERS * SLICE : RESULTS];

const uint A_VECTORS = A_ROWS * A_COLS / 8u, B_VECTORS = B_ROWS * B_COLS / 8u;
const uint A_LOADS = (A_VECTORS + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
const uint B_LOADS = (B_VECTORS + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
uvec4 nextA[A_LOADS], nextB[B_LOADS];

// Vector r of the invocation in a slice with so many vectors to a row: its row and column. Eight invocations in a
// sequence, which write to shared memory at once, take rows that are apart there: no two lie in the same banks.
uvec2 place(uint r, uint width) {
	const uint v = r * gl_WorkGroupSize.x + gl_LocalInvocationIndex, row = v / width, apart = max(1u, 8u / width);
	return uvec2(row / 8u * 8u + row % apart * (8u / apart) + row % 8u / apart, v % width * 8u);
}
bool exists(uint r, uint vectors) { return vectors % gl_WorkGroupSize.x == 0u || r * gl_WorkGroupSize.x + gl_LocalInvocationIndex < vectors; }

// Eight elements from col on of the row that starts there; those beyond cols are of no meaning. There is no branch, so
// that nothing waits for them before they are used.
#define LOAD8(name, VECTOR) \
	uvec4 load8_##name(uint start, uint col, uint cols) { \
		if (VECTOR) return name##8[(start + min(col, (cols - 1u) & ~7u)) >> 3]; \
		uvec4 v = uvec4(0); \
		[[unroll]] for (uint i = 0u; i < 8u; i++) v[i >> 1] |= uint(name##1[start + min(col + i, cols - 1u)]) << (i % 2u * 16u); \
		return v; \
	}
LOAD8(A, VECTOR_A)
LOAD8(B, VECTOR_B)

// The part of both operands that a workgroup multiplies: A as it lies in memory from x on to its end, and B.
struct Part { uvec2 a, endA, b, endB; };

Part part(uvec2 origin, uint k, uint last) {
#ifdef LAYOUT_TN
	return Part(uvec2(k, origin.x), uvec2(last, M), uvec2(k, origin.y), uvec2(last, N));
#elif defined(LAYOUT_NT)
	return Part(uvec2(origin.x, k), uvec2(M, last), uvec2(origin.y, k), uvec2(N, last));
#else
	return Part(uvec2(origin.x, k), uvec2(M, last), uvec2(k, origin.y), uvec2(last, N));
#endif
}

// Reads a slice into registers.
void fetch(Part p) {
	[[unroll]] for (uint r = 0u; r < A_LOADS; r++) {
		const uvec2 at = p.a + place(r, A_COLS / 8u);
		nextA[r] = load8_A(a0 + min(at.x, p.endA.x - 1u) * lda, at.y, p.endA.y);
	}
	[[unroll]] for (uint r = 0u; r < B_LOADS; r++) {
		const uvec2 at = p.b + place(r, B_COLS / 8u);
		nextB[r] = load8_B(b0 + min(at.x, p.endB.x - 1u) * ldb, at.y, p.endB.y);
	}
}

// Eight elements from `at` on, zero from `end` on.
uvec4 until(uvec4 v, uvec2 at, uvec2 end) {
	const uint n = mix(0u, end.y - at.y, all(lessThan(at, end)));
	return v & (mix(uvec4(0), uvec4(0xffffu), greaterThan(uvec4(n), uvec4(0, 2, 4, 6)))
		| mix(uvec4(0), uvec4(0xffff0000u), greaterThan(uvec4(n), uvec4(1, 3, 5, 7))));
}

#ifdef ELEMENT_BF16
const float scaleA = 1.0, scaleB = 1.0, unscale = 1.0;
#else
#define scaleA scale_of(SCALE[scale0])
#define scaleB scale_of(SCALE[scale0 + 1u])
#endif

// Puts the slice in the registers into shared memory; a whole one lies within the operands.
void stage(uint to, Part p, bool whole, float sa, float sb) {
	if (!whole) {
		[[unroll]] for (uint r = 0u; r < A_LOADS; r++) nextA[r] = until(nextA[r], p.a + place(r, A_COLS / 8u), p.endA);
		[[unroll]] for (uint r = 0u; r < B_LOADS; r++) nextB[r] = until(nextB[r], p.b + place(r, B_COLS / 8u), p.endB);
	}
	[[unroll]] for (uint r = 0u; r < A_LOADS; r++) {
		const uvec2 at = place(r, A_COLS / 8u);
		if (exists(r, A_VECTORS)) pool[to + at.x * A_PITCH + at.y / 8u] = convert(nextA[r], sa);
	}
	[[unroll]] for (uint r = 0u; r < B_LOADS; r++) {
		const uvec2 at = place(r, B_COLS / 8u);
		if (exists(r, B_VECTORS)) pool[to + B_AT + at.x * B_PITCH + at.y / 8u] = convert(nextB[r], sb);
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

const uint ROWS = WM / TM, COLUMNS = WN / TN, LANES = gl_WorkGroupSize.x / SUBGROUPS;

void main() {
	const uvec2 origin = tile_origin();
	const uint first = gl_WorkGroupID.z * kSplit, last = min(K, first + kSplit);
	const uint wi = gl_SubgroupID / (BN / WN) * WM, wj = gl_SubgroupID % (BN / WN) * WN;
	const bool inside = origin.x + BM <= M && origin.y + BN <= N; // the same in the whole workgroup
	const float sa = scaleA, sb = scaleB;
	SUM c[ROWS * COLUMNS];
	[[unroll]] for (uint i = 0u; i < ROWS * COLUMNS; i++) c[i] = SUM(0.0);
	fetch(part(origin, first, last));
	uint at = 0u; // of the slice in shared memory
	for (uint k = first; k < last; k += BK) {
		if (BUFFERS == 1u) barrier();
		else at = SLICE - at;
		stage(at, part(origin, k, last), inside && k + BK <= last, sa, sb);
		barrier();
		fetch(part(origin, k + BK, last)); // behind the last slice it reads that once more
		[[unroll]] for (uint kk = 0u; kk < BK; kk += TK) {
			LEFT a[ROWS];
			RIGHT b;
			[[unroll]] for (uint i = 0u; i < ROWS; i++)
#ifdef LAYOUT_TN
				coopMatLoad(a[i], pool, at + kk * A_PITCH + (wi + i * TM) / 8u, A_PITCH, A_ORDER);
#else
				coopMatLoad(a[i], pool, at + (wi + i * TM) * A_PITCH + kk / 8u, A_PITCH, A_ORDER);
#endif
			[[unroll]] for (uint j = 0u; j < COLUMNS; j++) {
#ifdef LAYOUT_NT
				coopMatLoad(b, pool, at + B_AT + (wj + j * TN) * B_PITCH + kk / 8u, B_PITCH, B_ORDER);
#else
				coopMatLoad(b, pool, at + B_AT + kk * B_PITCH + (wj + j * TN) / 8u, B_PITCH, B_ORDER);
#endif
				[[unroll]] for (uint i = 0u; i < ROWS; i++) c[i * COLUMNS + j] = coopMatMulAdd(a[i], b, c[i * COLUMNS + j]);
			}
		}
	}
#ifdef ELEMENT_F16
	[[unroll]] for (uint i = 0u; i < ROWS * COLUMNS; i++) c[i] = c[i] * (1.0 / sa) * (1.0 / sb);
#endif
	if (VECTOR_C && !OUT_BF16 && inside) {
		[[unroll]] for (uint i = 0u; i < ROWS; i++) {
			const uint row = origin.x + wi + i * TM, col = origin.y + wj;
			SUM d[COLUMNS];
			if (ADD) [[unroll]] for (uint j = 0u; j < COLUMNS; j++)
				coopMatLoad(d[j], D32, d0 + row * ldd + col + j * TN, ldd, gl_CooperativeMatrixLayoutRowMajor);
			[[unroll]] for (uint j = 0u; j < COLUMNS; j++) {
				if (ADD) c[i * COLUMNS + j] += d[j];
				coopMatStore(c[i * COLUMNS + j], C32, c0 + gl_WorkGroupID.z * cSplit + row * ldc + col + j * TN, ldc, gl_CooperativeMatrixLayoutRowMajor);
			}
		}
		return;
	}
	const uint mine = gl_SubgroupID * TM * C_PITCH;
	barrier();
	[[unroll]] for (uint i = 0u; i < ROWS; i++) {
		[[unroll]] for (uint j = 0u; j < COLUMNS; j++)
			coopMatStore(c[i * COLUMNS + j], pool, mine + j * TN / 4u, C_PITCH, gl_CooperativeMatrixLayoutRowMajor);
		subgroupBarrier();
		[[unroll]] for (uint r = 0u; r < TM * WN / 4u; r += LANES) {
			const uint e = r + gl_SubgroupInvocationID, row = e / (WN / 4u), col = e % (WN / 4u);
			if (TM * WN / 4u % LANES == 0u || e < TM * WN / 4u)
				store4(origin.x + wi + i * TM + row, origin.y + wj + col * 4u, uintBitsToFloat(pool[mine + row * C_PITCH + col]));
		}
		subgroupBarrier();
	}
}
