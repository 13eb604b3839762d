#version 450
// variants: STORAGE=f32,bf16 PART=own,context
// block_attention_backward_kv.comp on GPUs without cooperative matrices: dk = dSᵀ q/√hd
// and dv = Pᵀ dOut. A workgroup holds ROWS keys of one key head, of one block or of
// one sequence's context; the packed query rows of the blocks that see them pass.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "operand.glsl"
#include "attention_record.glsl"
OPERAND(0, Q)
OPERAND(1, DO)
RECORD_BUFFER(2, RECORDS)
OPERAND(3, K)
OPERAND(4, V)
BUFFER(5, DK)
BUFFER(6, DV)
#ifdef PART_CONTEXT
I32_BUFFER(7, RANGES) // first block, the one after the last, first context row, context rows
#endif
layout(push_constant) uniform Push {
	uint q0, do0, records0, k0, v0, dk0, dv0;
#ifdef PART_CONTEXT
	uint ranges0;
#endif
	uint lists, blockSize, heads, kvHeads, headDim, longest, window; // lists of keys: blocks or sequences
	float scale;                                                   // log2(e)/√hd
};
#include "attention_t1.glsl"

uint kv, first, base, length; // the tile's first key; the row where its list starts, and its keys
vec4 s[SPAN], g[SPAN];        // q·kᵀ and dOut·vᵀ, then P and dS
vec4 dk[TALL], dv[TALL];      // dk·√hd

#include "attention_t1_anchors.glsl"

// The element where a row of the tile starts, and one of the stream.
uint key_at(uint m) { return ((base + min(first + m, length - 1u)) * kvHeads + kv) * headDim; }
uint query_at(uint n) { return query_row(0u, n, kv) * headDim; }

vec4 key(uint at, uint d) { return HEAD4(K, k0 + at, d); }
vec4 value(uint at, uint d) { return HEAD4(V, v0 + at, d); }
vec4 query(uint at, uint d) { return HEAD4(Q, q0 + at, d); }
vec4 gradient(uint at, uint d) { return HEAD4(DO, do0 + at, d); }

// Adds the gradient by packed query rows n to n + KEYS - 1, of those before end, counted over all blocks.
void visit(uint n, uint end) {
	STREAM(query_at, n, end)
	SCORES(s, key, query)
	SCORES(g, value, gradient)
	const uvec4 j = first + 4u * quad() + uvec4(0, 1, 2, 3);
	[[unroll]] for (uint i = 0u; i < SPAN; i++) {
		const uint row = min(n + column(i), end - 1u);
		const ivec4 record = RECORDS[records0 / 4u + query_at(row) / headDim];
		const vec2 stats = intBitsToFloat(record.xy);
		const bvec4 sees = n + column(i) < end ? seen(row, record.w, j) : bvec4(false);
		s[i] = mix(vec4(0), exp2(s[i] * scale - stats.x * LOG2_E), sees);
		g[i] = mix(vec4(0), s[i] * (g[i] - stats.y), sees);
	}
	const bool guarded = hidden(n);
	PUT_WEIGHTS(s)
	ACCUMULATE(dv, gradient, min(KEYS, end - n), guarded)
	PUT_WEIGHTS(g)
	ACCUMULATE(dk, query, min(KEYS, end - n), guarded)
}

void main() {
	const uint packed = blockSize * SHARE, tiles = (MOST + ROWS - 1u) / ROWS;
	const uint index = workgroup_index();
	if (index >= tiles * lists * kvHeads) return;
	kv = index % kvHeads, first = index / kvHeads / lists * ROWS; // early keys, which more blocks see, come first
	const uvec2 between = choose(index / kvHeads % lists);
	if (first >= length) return;

	tile_at = key_at(staged());
	[[unroll]] for (uint i = 0u; i < TALL; i++) dk[i] = dv[i] = vec4(0);
	for (uint n = between.x * packed; n < between.y * packed; n += KEYS) visit(n, between.y * packed);
	STORE_ROWS(DK, dk0, key_at, dk, scale * LN_2, length - first)
	STORE_ROWS(DV, dv0, key_at, dv, 1.0, length - first)
}
