// What the attention kernels of GPUs without cooperative matrices share. A
// workgroup holds ROWS rows of one side (query rows in the forward pass and for
// dq, keys for dk and dv), the tile, and lets rows of the other side pass, the
// stream, KEYS at a time. Two products make up every kernel:
//
//	SCORES      s = tile · streamᵀ   four rows of the tile and SPAN of the stream per invocation, from
//	                                 slices of both in shared memory
//	ACCUMULATE  o += w · stream      TALL rows of the tile and four elements of a head per invocation,
//	                                 with the weights w in shared memory
//
// Include it after the buffers and the push constants. Rows of heads are counted
// and packed as in attention.glsl.
#include "workgroup.glsl"
#include "attention_heads.glsl"

layout(constant_id = 2) const uint ROWS = 32;        // a multiple of 4, at most GROUP / SLICE
layout(constant_id = 3) const uint COLS = 32;        // fours of a head, or more; a power of two

const uint KEYS = 64, STRIP = 4;
const uint SLICE = 4, PITCH = SLICE + 1;             // fours of a head staged at a time
const uint STAGES = KEYS * SLICE / GROUP;            // of the stream, by each invocation
const uint ACROSS = 4 * GROUP / ROWS;                // invocations that have the same rows in SCORES
const uint SPAN = KEYS / ACROSS;
const uint TALL = ROWS * COLS / GROUP, QUADS = TALL / 4;
const uint WEIGHT_PITCH = ROWS / 4 + 1;

const uint SLICES = (ROWS + KEYS) * PITCH, WEIGHTS = KEYS * WEIGHT_PITCH;
shared vec4 pool[SLICES + GROUP > WEIGHTS ? SLICES + GROUP : WEIGHTS]; // the slices, behind them a vector for each invocation; or the weights; or rows to store
shared float of_rows[ROWS];                                            // a number for each row of the tile
shared uint starts[KEYS];                                              // elements where the rows of the stream start

uint tile_at;           // element where the tile's row starts that the invocation stages
uint stream_at[STAGES]; // and those of the stream

uint quad() { return gl_LocalInvocationIndex / ACROSS; }    // rows 4*quad() to 4*quad() + 3 of the tile
uint column(uint i) { return gl_LocalInvocationIndex % ACROSS + i * ACROSS; } // of the stream, for i < SPAN
uint tall() { return gl_LocalInvocationIndex / COLS * QUADS; } // ACCUMULATE's rows, from 4*tall() on
uint staged() { return gl_LocalInvocationIndex / SLICE; }
uint element() { return gl_LocalInvocationIndex % COLS * 4u; } // ACCUMULATE's elements of a head

// Tells where the stream's next rows start: at(i) for row i, of those before end.
#define STREAM(at, j, end) \
	[[unroll]] for (uint r = 0u; r < STAGES; r++) stream_at[r] = at(min((j) + staged() + r * (GROUP / SLICE), (end) - 1u));

#define FETCH(A, B, d) \
	[[unroll]] for (uint r = 0u; r < STAGES; r++) b[r] = (d) < headDim ? B(stream_at[r], d) : vec4(0); \
	if (staged() < ROWS) a = (d) < headDim ? A(tile_at, d) : vec4(0);

// out[i][m] = the tile's row 4*quad() + m · the stream's row column(i). A and B
// load four elements from d on of a row, given where it starts. While a slice is
// multiplied the next one is under way.
#define SCORES(out, A, B) { \
	[[unroll]] for (uint i = 0u; i < SPAN; i++) out[i] = vec4(0); \
	vec4 a, b[STAGES]; \
	const uint d0 = gl_LocalInvocationIndex % SLICE * 4u; \
	FETCH(A, B, d0) \
	for (uint d = 0u; d < headDim; d += 4u * SLICE) { \
		barrier(); \
		if (staged() < ROWS) pool[staged() * PITCH + d0 / 4u] = a; \
		[[unroll]] for (uint r = 0u; r < STAGES; r++) pool[(ROWS + staged() + r * (GROUP / SLICE)) * PITCH + d0 / 4u] = b[r]; \
		barrier(); \
		FETCH(A, B, d0 + d + 4u * SLICE) \
		[[dont_unroll]] for (uint f = 0u; f < SLICE; f++) { \
			vec4 x[4]; \
			[[unroll]] for (uint m = 0u; m < 4u; m++) x[m] = pool[(4u * quad() + m) * PITCH + f]; \
			[[unroll]] for (uint i = 0u; i < SPAN; i++) { \
				const vec4 y = pool[(ROWS + column(i)) * PITCH + f]; \
				[[unroll]] for (uint e = 0u; e < 4u; e++) \
					[[unroll]] for (uint m = 0u; m < 4u; m++) out[i][m] += x[m][e] * y[e]; \
			} \
		} \
	} \
}

// Puts weights where ACCUMULATE finds them, shaped like SCORES' result.
#define PUT_WEIGHTS(w) \
	barrier(); \
	[[unroll]] for (uint i = 0u; i < SPAN; i++) pool[column(i) * WEIGHT_PITCH + quad()] = w[i]; \
	if (gl_LocalInvocationIndex % SLICE == 0u) \
		[[unroll]] for (uint r = 0u; r < STAGES; r++) starts[staged() + r * (GROUP / SLICE)] = stream_at[r]; \
	barrier();

#define ACCUMULATE_STRIPS(o, B, n, guarded) \
	for (uint k = 0u; k < (n); k += STRIP) { \
		vec4 b[STRIP]; \
		[[unroll]] for (uint j = 0u; j < STRIP; j++) b[j] = B(starts[k + j], owned); \
		[[unroll]] for (uint j = 0u; j < STRIP; j++) \
			[[unroll]] for (uint v = 0u; v < QUADS; v++) { \
				const vec4 w = pool[(k + j) * WEIGHT_PITCH + tall() + v]; \
				[[unroll]] for (uint m = 0u; m < 4u; m++) { \
					const vec4 more = o[4u * v + m] + w[m] * b[j]; \
					if (!(guarded) || w[m] != 0.0) o[4u * v + m] = more; \
				} \
			} \
	}

// o[m] += Σ weight of the tile's row 4*tall() + m · elements of the first n rows of the
// stream. Where guarded a weight of zero adds nothing, whatever the row holds; it
// need not be where every row of the tile sees all that is loaded.
#define ACCUMULATE(o, B, n, guarded) { \
	const uint owned = VECTOR ? min(element(), headDim - 4u) : element(); \
	if (guarded) { ACCUMULATE_STRIPS(o, B, n, true) } else { ACCUMULATE_STRIPS(o, B, n, false) } \
}

#define STORE_PAIR(C, c0, at, o, times, n, v) \
	if (v < TALL) { \
		[[unroll]] for (uint j = 0u; j < 2u; j++) { \
			const uint i = v + j < TALL ? v + j : 0u; \
			pool[j * GROUP + gl_LocalInvocationIndex] = o[i] * (times); \
		} \
		[[dont_unroll]] for (uint e = 0u; e < 2u; e++) \
			if (4u * tall() + v + e < (n)) { \
				const uint c = c0 + at(4u * tall() + v + e) + element(); \
				const vec4 x = pool[e * GROUP + gl_LocalInvocationIndex]; \
				if (VECTOR) { \
					if (element() < headDim) STORE4(C, c, x); \
				} else \
					[[unroll]] for (uint q = 0u; q < 4u; q++) if (element() + q < headDim) STORE(C, c + q, x[q]); \
			} \
	}

// Stores times * o[i] at element at(m) of C, for the tile's rows m below n, of
// which i is the invocation's, at most eight. Two at a time go through shared memory to a
// loop: unrolled, compilers take registers for all of them at once. The pairs are no
// loop, which some compilers would not unroll around another one: o lay in memory then.
#define STORE_ROWS(C, c0, at, o, times, n) \
	barrier(); \
	STORE_PAIR(C, c0, at, o, times, n, 0u) \
	STORE_PAIR(C, c0, at, o, times, n, 2u) \
	STORE_PAIR(C, c0, at, o, times, n, 4u) \
	STORE_PAIR(C, c0, at, o, times, n, 6u)
