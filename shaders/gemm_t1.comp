#version 450
// variants: LAYOUT=nt,nn,tn STORAGE=f32,bf16 OUT=f32,bf16
// GEMM for GPUs: a workgroup of 16 x 8 invocations computes a tile of 64 x 64,
// each of them 8 x 4 elements, from slices of K staged in shared memory.
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 128) in;
#include "gemm.glsl"

const uint BM = 64, BN = 64, BK = 16;
const uint PITCH = 65; // of a staged row: not a multiple of the banks
shared float tileA[BK * PITCH], tileB[BK * PITCH];

// Stage A[i0.., k..] as tileA[k][i]; the vectors run along the dimension that is contiguous in memory.
void stage_a(uint i0, uint k0, uint last) {
	for (uint v = gl_LocalInvocationIndex; v < BM * BK / 4u; v += 128u) {
#ifdef LAYOUT_TN
		uint k = v / (BM / 4u), i = v % (BM / 4u) * 4u;
		vec4 x = k0 + k < last ? load_a(k0 + k, i0 + i, last, M) : vec4(0);
		[[unroll]] for (uint q = 0u; q < 4u; q++) tileA[k * PITCH + i + q] = x[q];
#else
		uint i = v / (BK / 4u), k = v % (BK / 4u) * 4u;
		vec4 x = k0 + k < last ? load_a(i0 + i, k0 + k, M, last) : vec4(0);
		[[unroll]] for (uint q = 0u; q < 4u; q++) tileA[(k + q) * PITCH + i] = x[q];
#endif
	}
}

void stage_b(uint j0, uint k0, uint last) {
	for (uint v = gl_LocalInvocationIndex; v < BN * BK / 4u; v += 128u) {
#ifdef LAYOUT_NT
		uint j = v / (BK / 4u), k = v % (BK / 4u) * 4u;
		vec4 x = k0 + k < last ? load_b(j0 + j, k0 + k, N, last) : vec4(0);
		[[unroll]] for (uint q = 0u; q < 4u; q++) tileB[(k + q) * PITCH + j] = x[q];
#else
		uint k = v / (BN / 4u), j = v % (BN / 4u) * 4u;
		vec4 x = k0 + k < last ? load_b(k0 + k, j0 + j, last, N) : vec4(0);
		[[unroll]] for (uint q = 0u; q < 4u; q++) tileB[k * PITCH + j + q] = x[q];
#endif
	}
}

void main() {
	const uint i0 = gl_WorkGroupID.y * BM, j0 = gl_WorkGroupID.x * BN;
	const uint ti = gl_LocalInvocationIndex / 16u * 8u, tj = gl_LocalInvocationIndex % 16u * 4u;
	const uint first = gl_WorkGroupID.z * kSplit, last = min(K, first + kSplit);
	vec4 c[8];
	[[unroll]] for (uint m = 0u; m < 8u; m++) c[m] = vec4(0);
	for (uint k0 = first; k0 < last; k0 += BK) {
		stage_a(i0, k0, last);
		stage_b(j0, k0, last);
		barrier();
		for (uint k = 0u; k < BK; k++) {
			vec4 b;
			[[unroll]] for (uint q = 0u; q < 4u; q++) b[q] = tileB[k * PITCH + tj + q];
			[[unroll]] for (uint m = 0u; m < 8u; m++) c[m] += tileA[k * PITCH + ti + m] * b;
		}
		barrier();
	}
	[[unroll]] for (uint m = 0u; m < 8u; m++) store_c4(i0 + ti + m, j0 + tj, c[m]);
}
