#version 450
// variants: LAYOUT=nt,nn,tn STORAGE=f32,bf16 OUT=f32,bf16
// GEMM for CPU drivers: one subgroup computes a tile of TM rows in registers.
// A CPU driver pays per lane-load and per barrier, hardly per multiply-add: so
// every lane loads four elements at a time, and what one lane loaded reaches the
// others by from_lane, without shared memory.
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint TM = 32; // a multiple of LANES; of 4*LANES in TN
#include "gemm.glsl"
#include "from_lane.glsl"

const uint TN = 4; // columns of a lane

// TN: adds steps of k, from four rows a lane.
#define RANK(steps, k) { \
		vec4 a[steps][TM / (4u * LANES)], b[steps]; \
		[[unroll]] for (uint q = 0u; q < steps; q++) { \
			b[q] = load_b(k + q, j, last, N); \
			[[unroll]] for (uint r = 0u; r < TM / (4u * LANES); r++) a[q][r] = load_a(k + q, i0 + (r * LANES + lane) * 4u, last, M); \
		} \
		[[unroll]] for (uint m = 0u; m < TM; m++) \
			[[unroll]] for (uint q = 0u; q < steps; q++) \
				c[m] += from_lane(a[q][m / (4u * LANES)][m % 4u], m / 4u % LANES) * b[q]; \
	}

void main() {
	const uint lane = gl_SubgroupInvocationID;
	const uint i0 = gl_WorkGroupID.y * TM;
	const uint first = gl_WorkGroupID.z * kSplit, last = min(K, first + kSplit);
#ifdef LAYOUT_NT
	const uint j0 = gl_WorkGroupID.x * LANES * TN; // columns j0 + t*LANES + lane
	float c[TM * TN];
	[[unroll]] for (uint i = 0u; i < TM * TN; i++) c[i] = 0.0;
	uint ra[TM / LANES], rb[TN];
	[[unroll]] for (uint r = 0u; r < TM / LANES; r++) ra[r] = row_a(i0 + r * LANES + lane, M);
	[[unroll]] for (uint t = 0u; t < TN; t++) rb[t] = row_b(j0 + t * LANES + lane, N);
	for (uint k = first; k < last; k += 4u) {
		vec4 a[TM / LANES], b[TN];
		[[unroll]] for (uint r = 0u; r < TM / LANES; r++) a[r] = along_a(ra[r], k, last);
		[[unroll]] for (uint t = 0u; t < TN; t++) b[t] = along_b(rb[t], k, last);
		[[unroll]] for (uint m = 0u; m < TM; m++) {
			vec4 x = from_lane(a[m / LANES], m % LANES);
			[[unroll]] for (uint t = 0u; t < TN; t++)
				[[unroll]] for (uint q = 0u; q < 4u; q++) c[m * TN + t] += x[q] * b[t][q];
		}
	}
	[[unroll]] for (uint m = 0u; m < TM; m++)
		[[unroll]] for (uint t = 0u; t < TN; t++) store_c(i0 + m, j0 + t * LANES + lane, c[m * TN + t]);
#else
	const uint j = (gl_WorkGroupID.x * LANES + lane) * TN; // columns j to j+3
	vec4 c[TM];
	[[unroll]] for (uint m = 0u; m < TM; m++) c[m] = vec4(0);
#ifdef LAYOUT_NN
	uint ra[TM / LANES];
	[[unroll]] for (uint r = 0u; r < TM / LANES; r++) ra[r] = row_a(i0 + r * LANES + lane, M);
	for (uint k = first; k < last; k += 4u) {
		vec4 a[TM / LANES], b[4]; // of a row, four steps of k
		[[unroll]] for (uint r = 0u; r < TM / LANES; r++) a[r] = along_a(ra[r], k, last);
		[[unroll]] for (uint q = 0u; q < 4u; q++) b[q] = load_b(k + q, j, last, N);
		[[unroll]] for (uint m = 0u; m < TM; m++) {
			vec4 x = from_lane(a[m / LANES], m % LANES);
			[[unroll]] for (uint q = 0u; q < 4u; q++) c[m] += x[q] * b[q];
		}
	}
#else
	// Four steps of k at a time, and the rest one by one: a condition inside would cost a blend of every sum.
	const uint whole = first + (last - first) / 4u * 4u;
	for (uint k = first; k < whole; k += 4u) RANK(4u, k)
	for (uint k = whole; k < last; k++) RANK(1u, k)
#endif
	[[unroll]] for (uint m = 0u; m < TM; m++) store_c4(i0 + m, j, c[m]);
#endif
}
