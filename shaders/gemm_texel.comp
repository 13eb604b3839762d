#version 450
// variants: LAYOUT=nt,nn,tn STORAGE=f32,bf16 OUT=f32,bf16
// GEMM for CPU drivers whose operands can be read in texels of 16 bytes: one subgroup
// computes a tile of TM rows, eight columns a lane, in registers. A storage buffer costs
// such a driver a loop over the lanes with a test of bounds in it; a texel buffer costs
// eight plain loads and a transposition. What one lane loaded reaches the others by
// from_lane.
//
// Rows of both operands start at multiples of 16 bytes, and are as long; so do those of D where it is added.
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint TM = 16; // LANES or 2*LANES; 2*LANES in TN
#define TEXELS
#include "gemm.glsl"
#include "from_lane.glsl"

layout(constant_id = 6) const bool EIGHT = false; // rows of C start at multiples of 16 bytes too
const uint COLUMNS = 8u; // of a lane
#ifdef STORAGE_BF16
const uint EACH = 8u; // elements of a texel
#else
const uint EACH = 4u;
#endif
const uint FOURS = EACH / 4u;      // of a texel
const uint TEXELS_OF_LANE = COLUMNS / EACH;
const uint ROWS = TM / LANES;      // fetches of A for EACH steps of k
const uint STEPS = EACH * LANES / TM; // TN: steps of k in one of them

// Texels of A and B whose first element is at, as floats; zero where zero is wanted.
#ifdef STORAGE_BF16
#define FETCH(name, at, v) { uvec4 u = texelFetch(name, int((at) / EACH)); v[0] = bf16x4_to_f32(u.xy); v[1] = bf16x4_to_f32(u.zw); }
#define FETCH_BELOW(name, at, keep, v) { uvec4 u = texelFetch(name, int((at) / EACH)) & ((keep) ? ~0u : 0u); v[0] = bf16x4_to_f32(u.xy); v[1] = bf16x4_to_f32(u.zw); }
#else
#define FETCH(name, at, v) v[0] = uintBitsToFloat(texelFetch(name, int((at) / EACH)));
#define FETCH_BELOW(name, at, keep, v) v[0] = uintBitsToFloat(texelFetch(name, int((at) / EACH)) & ((keep) ? ~0u : 0u));
#endif

#ifdef OUT_BF16
layout(set = 0, binding = 3) buffer C_eight { uvec4 C8[]; };
#endif

// Adds columns col to col+7 of a row of D, anything outside M x N.
void add_d(uint row, uint col, inout vec4 c[2]) {
	const uint at = d0 + min(row, M - 1u) * ldd;
#ifdef OUT_BF16
	const uvec4 u = texelFetch(D, int((at + min(col, N - COLUMNS)) / 8u));
	c[0] += bf16x4_to_f32(u.xy);
	c[1] += bf16x4_to_f32(u.zw);
#else
	[[unroll]] for (uint h = 0u; h < 2u; h++)
		c[h] += uintBitsToFloat(texelFetch(D, int((at + min(col + 4u * h, N - 4u)) / 4u)));
#endif
}

// Stores columns col to col+7 of a row.
void store_c8(uint row, uint col, vec4 c[2]) {
#ifdef OUT_BF16
	if (EIGHT) {
		if (row < M && col < N) C8[(c0 + row * ldc + col) >> 3] = uvec4(f32_to_bf16x4(c[0]), f32_to_bf16x4(c[1]));
		return;
	}
#endif
	store_c4(row, col, c[0]);
	store_c4(row, col + 4u, c[1]);
}

void main() {
	const uint lane = gl_SubgroupInvocationID;
	const uint i0 = gl_WorkGroupID.y * TM, j = (gl_WorkGroupID.x * LANES + lane) * COLUMNS;
	const uint first = gl_WorkGroupID.z * kSplit, last = min(K, first + kSplit);
	vec4 c[TM][2];
	[[unroll]] for (uint m = 0u; m < TM; m++) c[m][0] = c[m][1] = vec4(0);
	uint ra[ROWS], rb[COLUMNS];
#ifdef LAYOUT_TN
	const uint am = a0 + min(i0 + lane % (TM / EACH) * EACH, M - EACH), ak = lane / (TM / EACH);
#else
	[[unroll]] for (uint r = 0u; r < ROWS; r++) ra[r] = row_a(i0 + r * LANES + lane, M);
#endif
#ifdef LAYOUT_NT
	[[unroll]] for (uint t = 0u; t < COLUMNS; t++) rb[t] = row_b(j + t, N);
#else
	const uint bj = b0 + min(j, N - COLUMNS);
#endif
	for (uint k = first; k < last; k += EACH) {
		vec4 a[ROWS][FOURS];
#ifdef LAYOUT_TN
		[[unroll]] for (uint r = 0u; r < ROWS; r++) {
			uint row = k + r * STEPS + ak;
			FETCH_BELOW(A, am + min(row, last - 1u) * lda, row < last, a[r])
		}
#else
		[[unroll]] for (uint r = 0u; r < ROWS; r++) FETCH(A, ra[r] + k, a[r])
#endif
#ifdef LAYOUT_NT
		vec4 b[COLUMNS][FOURS];
		[[unroll]] for (uint t = 0u; t < COLUMNS; t++) FETCH(B, rb[t] + k, b[t])
		[[unroll]] for (uint m = 0u; m < TM; m++) {
			vec4 x[FOURS];
			[[unroll]] for (uint f = 0u; f < FOURS; f++) x[f] = from_lane(a[m / LANES][f], m % LANES);
			[[unroll]] for (uint t = 0u; t < COLUMNS; t++) {
				float s = c[m][t / 4u][t % 4u];
				[[unroll]] for (uint q = 0u; q < EACH; q++) s += x[q / 4u][q % 4u] * b[t][q / 4u][q % 4u];
				c[m][t / 4u][t % 4u] = s;
			}
		}
#else
		vec4 b[EACH][2];
		[[unroll]] for (uint q = 0u; q < EACH; q++) {
			uint row = k + q;
#ifdef LAYOUT_TN
			const bool keep = row < last;
			row = min(row, last - 1u);
#else
			const bool keep = true;
#endif
			[[unroll]] for (uint t = 0u; t < TEXELS_OF_LANE; t++) {
				vec4 v[FOURS];
				FETCH_BELOW(B, bj + row * ldb + t * EACH, keep, v)
				[[unroll]] for (uint f = 0u; f < FOURS; f++) b[q][t * FOURS + f] = v[f];
			}
		}
		[[unroll]] for (uint m = 0u; m < TM; m++) {
			vec4 s0 = c[m][0], s1 = c[m][1];
#ifdef LAYOUT_NN
			vec4 x[FOURS];
			[[unroll]] for (uint f = 0u; f < FOURS; f++) x[f] = from_lane(a[m / LANES][f], m % LANES);
#endif
			[[unroll]] for (uint q = 0u; q < EACH; q++) {
#ifdef LAYOUT_NN
				float y = x[q / 4u][q % 4u];
#else
				float y = from_lane(a[q / STEPS][m % EACH / 4u][m % 4u], q % STEPS * (TM / EACH) + m / EACH);
#endif
				s0 += y * b[q][0];
				s1 += y * b[q][1];
			}
			c[m][0] = s0;
			c[m][1] = s1;
		}
#endif
	}
	[[unroll]] for (uint m = 0u; m < TM; m++) {
		if (ADD) add_d(i0 + m, j, c[m]);
		store_c8(i0 + m, j, c[m]);
	}
}
