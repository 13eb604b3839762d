#version 450
// variants: LAYOUT=nt,nn,tn STORAGE=f32,bf16 OUT=f32,bf16
// GEMM for GPUs: a workgroup computes a tile of BM x BN from slices of K staged
// in shared memory as f32, each invocation RM rows of RN columns of it. While it
// does, the next slice is on its way to registers. A sum over K has one order
// whatever the tile: no shape changes the bits of a result.
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in; // BM / RM * BN / RN
#include "operand.glsl"
#include "gemm.glsl"
layout(constant_id = 6) const uint BM = 64; // the tile of a workgroup
layout(constant_id = 7) const uint BN = 64;
layout(constant_id = 8) const uint RN = 8; // columns of an invocation: 4 or 8
#include "gemm_order.glsl"
const uint RM = 8;
#ifdef STORAGE_BF16
const uint BK = 16; // 32 bytes of a row, a sector of memory
#else
const uint BK = 8;
#endif

// Which operands lie along K in memory.
#ifdef LAYOUT_TN
const bool ALONG_A = false;
#else
const bool ALONG_A = true;
#endif
#ifdef LAYOUT_NT
const bool ALONG_B = true;
#else
const bool ALONG_B = false;
#endif

// Slices, as quads: for each step of k the tile's rows of A, and columns of B. Every fourth step begins SKEW quads further
// on, so that a subgroup that stores what lies along K, some rows of it, meets every bank of shared memory once.
const uint SKEW = 32u / BK;
shared vec4 tileA[BK * BM / 4u + BK / 4u * SKEW];
shared vec4 tileB[BK * BN / 4u + BK / 4u * SKEW];
uint place(uint side, uint k, uint quad) { return k * (side / 4u) + k / 4u * SKEW + quad; }

// Quads of a slice as they come from memory.
#ifdef STORAGE_BF16
#define QUAD uvec2
#define TO_F32(q) bf16x4_to_f32(q)
#define PAIR(name, at, end) (uint(name##1[min(at, end)]) | uint(name##1[min(at + 1u, end)]) << 16)
#define GATHER(name, at, end) uvec2(PAIR(name, at, end), PAIR(name, at + 2u, end))
#else
#define QUAD vec4
#define TO_F32(q) (q)
#define GATHER(name, at, end) vec4(name##1[min(at, end)], name##1[min(at + 1u, end)], name##1[min(at + 2u, end)], name##1[min(at + 3u, end)])
#endif
const uint LOADS_A = BM * BK / 4u / gl_WorkGroupSize.x, LOADS_B = BN * BK / 4u / gl_WorkGroupSize.x;
QUAD nextA[LOADS_A], nextB[LOADS_B];

// An invocation's first quad of a slice, as (k, row of A or column of B); its others are `stride` lines of memory apart.
uvec2 first_quad(bool along, uint side) {
	const uint v = gl_LocalInvocationIndex;
	return along ? uvec2(v % (BK / 4u) * 4u, v / (BK / 4u)) : uvec2(v / (side / 4u), v % (side / 4u) * 4u);
}
uint stride(bool along, uint side) { return gl_WorkGroupSize.x / ((along ? BK : side) / 4u); }

// Reads the slice whose quads begin at a and b into registers. What is beyond an operand's end reads as something of it.
void fetch(uint a, uint b, uint endA, uint endB) {
	[[unroll]] for (uint r = 0u; r < LOADS_A; r++) {
		const uint at = a + r * stride(ALONG_A, BM) * lda;
		if (VECTOR_A) nextA[r] = A4[min(at, endA) >> 2];
		else nextA[r] = GATHER(A, at, endA);
	}
	[[unroll]] for (uint r = 0u; r < LOADS_B; r++) {
		const uint at = b + r * stride(ALONG_B, BN) * ldb;
		if (VECTOR_B) nextB[r] = B4[min(at, endB) >> 2];
		else nextB[r] = GATHER(B, at, endB);
	}
}

// Puts the slice in the registers into shared memory, once nobody reads the one before it.
void stage(uvec2 a, uvec2 b) {
	barrier();
	[[unroll]] for (uint r = 0u; r < LOADS_A; r++) {
		const vec4 v = TO_F32(nextA[r]);
		if (ALONG_A) {
			const uint i = a.y + r * stride(true, BM);
			[[unroll]] for (uint q = 0u; q < 4u; q++) tileA[place(BM, a.x, i / 4u) + q * (BM / 4u)][i % 4u] = v[q];
		} else tileA[place(BM, a.x + r * stride(false, BM), a.y / 4u)] = v;
	}
	[[unroll]] for (uint r = 0u; r < LOADS_B; r++) {
		const vec4 v = TO_F32(nextB[r]);
		if (ALONG_B) {
			const uint j = b.y + r * stride(true, BN);
			[[unroll]] for (uint q = 0u; q < 4u; q++) tileB[place(BN, b.x, j / 4u) + q * (BN / 4u)][j % 4u] = v[q];
		} else tileB[place(BN, b.x + r * stride(false, BN), b.y / 4u)] = v;
	}
	barrier();
}

vec4 c[RM * RN / 4u]; // four columns of a row

// Adds what step k of the slice gives the quads of rows from ti on and of columns from tj on.
void multiply(uint k, uint ti, uint tj) {
	vec4 y[RN / 4u];
	[[unroll]] for (uint n = 0u; n < RN / 4u; n++) y[n] = tileB[place(BN, k, tj + n * (BN / RN))];
	[[unroll]] for (uint m = 0u; m < RM; m += 4u) {
		const vec4 x = tileA[place(BM, k, ti + m / 4u * (BM / RM))];
		[[unroll]] for (uint q = 0u; q < 4u; q++)
			[[unroll]] for (uint n = 0u; n < RN / 4u; n++) c[(m + q) * (RN / 4u) + n] += x[q] * y[n];
	}
}

void main() {
	const uvec2 origin = tile_origin();
	const uint first = gl_WorkGroupID.z * kSplit, last = min(K, first + kSplit);
	// Invocations stand in strips of eight columns, so that a subgroup is near to a square.
	const uint ti = gl_LocalInvocationIndex / 8u % (BM / RM);
	const uint tj = gl_LocalInvocationIndex % 8u + gl_LocalInvocationIndex / BM * 8u;
	const uvec2 a = first_quad(ALONG_A, BM), b = first_quad(ALONG_B, BN);
	uint nextAtA = a0 + (ALONG_A ? (origin.x + a.y) * lda + first + a.x : (first + a.x) * lda + origin.x + a.y);
	uint nextAtB = b0 + (ALONG_B ? (origin.y + b.y) * ldb + first + b.x : (first + b.x) * ldb + origin.y + b.y);
	const uint endA = a0 + (ALONG_A ? (M - 1u) * lda + K : (K - 1u) * lda + M) - (VECTOR_A ? 4u : 1u);
	const uint endB = b0 + (ALONG_B ? (N - 1u) * ldb + K : (K - 1u) * ldb + N) - (VECTOR_B ? 4u : 1u);
	[[unroll]] for (uint m = 0u; m < RM * RN / 4u; m++) c[m] = vec4(0);
	fetch(nextAtA, nextAtB, endA, endB);
	uint k0 = first;
	for (; k0 + BK <= last; k0 += BK) {
		stage(a, b);
		nextAtA += ALONG_A ? BK : BK * lda;
		nextAtB += ALONG_B ? BK : BK * ldb;
		if (k0 + BK < last) fetch(nextAtA, nextAtB, endA, endB);
		[[unroll]] for (uint k = 0u; k < BK; k++) multiply(k, ti, tj);
	}
	if (k0 < last) {
		stage(a, b);
		[[dont_unroll]] for (uint k = 0u; k < last - k0; k++) multiply(k, ti, tj);
	}
	[[unroll]] for (uint m = 0u; m < RM; m++)
		[[unroll]] for (uint n = 0u; n < RN / 4u; n++)
			store_c4(origin.x + ti * 4u + m / 4u * (BM / 2u) + m % 4u, origin.y + tj * 4u + n * (BN / 2u), c[m * (RN / 4u) + n]);
}
