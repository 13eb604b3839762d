#version 450
// variants: LAYOUT=nt,nn,tn STORAGE=f32,bf16 OUT=f32,bf16
// GEMM for CPU drivers whose operands can be read in texels of 16 bytes: one subgroup
// computes a tile of TM rows, eight or four columns a lane, in registers. A storage buffer costs
// such a driver a loop over the lanes with a test of bounds in it; a texel buffer costs
// eight plain loads and a transposition. What one lane loaded reaches the others by
// from_lane.
//
// Rows of both operands start at multiples of 16 bytes, and are as long; so do those of D where it is added.
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint TM = 16; // LANES, 2*LANES or 4*LANES; not LANES in TN
#define TEXELS
#include "gemm.glsl"
#include "from_lane.glsl"

layout(constant_id = 6) const bool EIGHT = false; // rows of C start at multiples of 16 bytes too
layout(constant_id = 7) const uint QUADS = 2;      // of a lane's columns: 2 or 1
const uint COLUMNS = 4u * QUADS;
#ifdef STORAGE_BF16
const uint EACH = 8u; // elements of a texel
#else
const uint EACH = 4u;
#endif
const uint FOURS = EACH / 4u;      // of a texel
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

// Four of a texel of eight bf16: those from element at on.
vec4 bf16x4_at(uvec4 u, uint at) { return bf16x4_to_f32(at % 8u >= 4u ? u.zw : u.xy); }

// A lane's COLUMNS elements of a row of B; bf16 come in texels of eight.
void fetch_b(uint at, bool keep, out vec4 b[QUADS]) {
#ifdef STORAGE_BF16
	const uvec4 u = texelFetch(B, int(at / EACH)) & (keep ? ~0u : 0u);
	if (QUADS == 1u) {
		b[0] = bf16x4_at(u, at);
		return;
	}
	b[0] = bf16x4_to_f32(u.xy);
	b[QUADS - 1u] = bf16x4_to_f32(u.zw);
#else
	[[unroll]] for (uint h = 0u; h < QUADS; h++) b[h] = uintBitsToFloat(texelFetch(B, int(at / EACH + h)) & (keep ? ~0u : 0u));
#endif
}

// Adds columns col to col+COLUMNS-1 of a row of D, anything outside M x N.
void add_d(uint row, uint col, inout vec4 c[QUADS]) {
	const uint at = d0 + min(row, M - 1u) * ldd;
#ifdef OUT_BF16
	const uint first = at + min(col, N - COLUMNS);
	const uvec4 u = texelFetch(D, int(first / 8u));
	if (QUADS == 1u) {
		c[0] += bf16x4_at(u, first);
		return;
	}
	c[0] += bf16x4_to_f32(u.xy);
	c[QUADS - 1u] += bf16x4_to_f32(u.zw);
#else
	[[unroll]] for (uint h = 0u; h < QUADS; h++)
		c[h] += uintBitsToFloat(texelFetch(D, int((at + min(col + 4u * h, N - 4u)) / 4u)));
#endif
}

// Stores columns col to col+COLUMNS-1 of a row.
void store_row(uint row, uint col, vec4 c[QUADS]) {
#ifdef OUT_BF16
	if (EIGHT && QUADS == 2u) {
		if (row < M && col < N) C8[(c0 + row * ldc + col) >> 3] = uvec4(f32_to_bf16x4(c[0]), f32_to_bf16x4(c[QUADS - 1u]));
		return;
	}
#endif
	[[unroll]] for (uint h = 0u; h < QUADS; h++) store_c4(row, col + 4u * h, c[h]);
}

void main() {
	const uint lane = gl_SubgroupInvocationID;
	const uint i0 = gl_WorkGroupID.y * TM, j = (gl_WorkGroupID.x * LANES + lane) * COLUMNS;
	const uint first = gl_WorkGroupID.z * kSplit, last = min(K, first + kSplit);
	vec4 c[TM][QUADS];
	[[unroll]] for (uint m = 0u; m < TM; m++) [[unroll]] for (uint h = 0u; h < QUADS; h++) c[m][h] = vec4(0);
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
		vec4 b[EACH][QUADS];
		[[unroll]] for (uint q = 0u; q < EACH; q++) {
#ifdef LAYOUT_TN
			fetch_b(bj + min(k + q, last - 1u) * ldb, k + q < last, b[q]);
#else
			fetch_b(bj + (k + q) * ldb, true, b[q]);
#endif
		}
		[[unroll]] for (uint m = 0u; m < TM; m++) {
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
				[[unroll]] for (uint h = 0u; h < QUADS; h++) c[m][h] += y * b[q][h];
			}
		}
#endif
	}
	[[unroll]] for (uint m = 0u; m < TM; m++) {
		if (ADD) add_d(i0 + m, j, c[m]);
		store_row(i0 + m, j, c[m]);
	}
}
