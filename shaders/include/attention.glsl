// What the attention kernels of CPU drivers share; those of GPUs have
// attention_t1.glsl. A workgroup is one subgroup and holds ROWS rows of one side
// (query rows in the forward pass and for dq, keys for dk and dv) against one row
// of the other side per lane at a time. Two products make up
// every kernel:
//
//	SCORES      s[m] of a lane = row m · the lane's row     a loop over the elements of a head
//	ACCUMULATE  o[m] += Σ_lane w[m] · the lane's row        lanes own elements of the head
//
// What one lane loaded reaches the others by from_lane: CPU drivers pay per load and
// per barrier, hardly per multiply-add.
// Include it after the buffers and the push constants, which end in GEOMETRY.
#include "workgroup.glsl"
#include "from_lane.glsl"
#include "attention_heads.glsl"

layout(constant_id = 2) const uint ROWS = 16;
layout(constant_id = 3) const uint PARTS = 1;        // vectors of four elements of a head that a lane owns
layout(constant_id = 6) const uint HELD = 0;         // fours of a head, where the tile's rows stay in registers

const uint SPREAD = (ROWS + GROUP - 1u) / GROUP;     // rows of the tile that a lane loads

const uint HOLDS = (HELD > 0u ? HELD : 1u) * SPREAD;

#ifdef READ_TEXEL
const uint STRIP = GROUP < 8u ? GROUP : 8u;          // rows of the other side whose loads come before their products
const uint CHAINS = ROWS < 4u ? ROWS : 4u;           // sums that grow side by side
#else
const uint STRIP = 1u, CHAINS = ROWS;
#endif

uint spread[SPREAD];     // elements where the lane's rows of the tile start
uint other;              // element where the lane's row of the other side starts
float s[ROWS];           // scores of the tile's rows with the lane's, then weights

// Every other workgroup from the end, because CPU drivers give each thread one
// contiguous part of the grid, and late anchors see more keys.
uint alternate(uint i, uint n) { return (i & 1u) == 0u ? i / 2u : n - 1u - i / 2u; }

// Parts come in runs of as many as one load brings, where a lane owns that many.
const uint RUN = PARTS % FOURS == 0u ? FOURS : 1u;

// The first of the four elements of a head that a lane owns as part v, wherever the head ends.
uint part(uint v) { return ((v / RUN * GROUP + gl_SubgroupInvocationID) * RUN + v % RUN) * 4u; }

// The same, kept within the head where nothing else keeps a load there.
uint owned(uint v) { return VECTOR ? min(part(v), headDim - (RUN - v % RUN) * 4u) : part(v); }

// HEAD_FOURS(name, at, d, v) sets v to FOURS vectors, elements d.. of the row that starts at element at, zero beyond the head.
// HEAD_PARTS(name, at, v) sets v to the PARTS vectors of the row that the lane owns.
#ifdef READ_TEXEL
#define HEAD_FOURS(name, at, d, v) LOAD_FOURS(name, (at) + (d), v)
#define HEAD_PARTS(name, at, v) \
	if (RUN == FOURS) [[unroll]] for (uint p = 0u; p < PARTS / RUN; p++) { \
		vec4 x[FOURS]; \
		LOAD_FOURS(name, (at) + owned(p * RUN), x) \
		[[unroll]] for (uint f = 0u; f < RUN; f++) v[p * RUN + f] = x[f]; \
	} else [[unroll]] for (uint p = 0u; p < PARTS; p++) v[p] = LOAD_FOUR(name, (at) + owned(p));
#else
#define HEAD_FOURS(name, at, d, v) v[0] = HEAD4(name, at, d);
#define HEAD_PARTS(name, at, v) [[unroll]] for (uint p = 0u; p < PARTS; p++) v[p] = HEAD4(name, at, owned(p));
#endif

// Loads the tile's rows of A that SCORES shall find in held, an array of HOLDS.
#define HOLD(held, A, a0) \
	[[unroll]] for (uint i = 0u; i < HELD; i += FOURS) \
		[[unroll]] for (uint r = 0u; r < SPREAD; r++) { \
			vec4 x[FOURS]; \
			HEAD_FOURS(A, a0 + spread[r], i * 4u, x) \
			[[unroll]] for (uint f = 0u; f < FOURS; f++) held[(i + f) * SPREAD + r] = x[f]; \
		}

#define PRODUCTS(out, a, b) \
	[[unroll]] for (uint i = 0u; i < ROWS; i += CHAINS) \
		[[unroll]] for (uint q = 0u; q < 4u * FOURS; q++) \
			[[unroll]] for (uint m = 0u; m < CHAINS; m++) \
				out[i + m] += from_lane(a[(i + m) / GROUP][q / 4u][q % 4u], (i + m) % GROUP) * b[q / 4u][q % 4u];

// out[m] = row m of A · the lane's row of B. The loop tests at its end: CPU
// drivers run the rest of a body once more after a test at its start fails.
#define SCORES(out, held, A, a0, B, b0) { \
	[[unroll]] for (uint m = 0u; m < ROWS; m++) out[m] = 0.0; \
	vec4 a[SPREAD][FOURS], b[FOURS]; \
	[[unroll]] for (uint i = 0u; i < HELD; i += FOURS) { \
		HEAD_FOURS(B, b0 + other, i * 4u, b) \
		[[unroll]] for (uint r = 0u; r < SPREAD; r++) \
			[[unroll]] for (uint f = 0u; f < FOURS; f++) a[r][f] = held[(i + f) * SPREAD + r]; \
		PRODUCTS(out, a, b) \
	} \
	uint d = 0u; \
	if (HELD == 0u) do { \
		[[unroll]] for (uint r = 0u; r < SPREAD; r++) HEAD_FOURS(A, a0 + spread[r], d, a[r]) \
		HEAD_FOURS(B, b0 + other, d, b) \
		PRODUCTS(out, a, b) \
		d += 4u * FOURS; \
	} while (d < headDim); \
}

// out[m*PARTS + v] += Σ over all lanes of w[m] times the owned elements of the
// lane's row of B. Where guarded a weight of zero adds nothing, whatever the row
// holds; it need not be where every row of the tile sees every row of B that is loaded.
#define ACCUMULATE(out, w, B, b0, guarded) \
	[[unroll]] for (uint i = 0u; i < GROUP; i += STRIP) { \
		vec4 b[STRIP][PARTS]; \
		[[unroll]] for (uint j = 0u; j < STRIP; j++) { \
			uint at = b0 + from_lane(other, i + j); \
			HEAD_PARTS(B, at, b[j]) \
		} \
		[[unroll]] for (uint m = 0u; m < ROWS; m++) \
			[[unroll]] for (uint v = 0u; v < PARTS; v++) { \
				vec4 sum = out[m * PARTS + v]; \
				[[unroll]] for (uint j = 0u; j < STRIP; j++) { \
					float x = from_lane(w[m], i + j); \
					sum += (guarded) && x == 0.0 ? vec4(0) : x * b[j][v]; \
				} \
				out[m * PARTS + v] = sum; \
			} \
	}

// Stores times * o[m*PARTS..] as row m of C, for the rows below n.
#define STORE_ROWS(C, c0, o, times, n) \
	[[unroll]] for (uint m = 0u; m < ROWS; m++) { \
		uint at = c0 + from_lane(spread[m / GROUP], m % GROUP); \
		[[unroll]] for (uint v = 0u; v < PARTS; v++) { \
			uint d = part(v); \
			vec4 x = o[m * PARTS + v] * (times); \
			if (VECTOR) { \
				if (m < (n) && d < headDim) STORE4(C, at + d, x); \
			} else \
				[[unroll]] for (uint e = 0u; e < 4u; e++) if (m < (n) && d + e < headDim) STORE(C, at + d + e, x[e]); \
		} \
	}
