#version 450
// variants: STORAGE=f32,bf16
// causal_attention_forward.comp on GPUs without cooperative matrices. A workgroup
// holds ROWS packed query rows of one segment and key head.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "operand.glsl"
OPERAND(0, Q)
OPERAND(1, K)
OPERAND(2, V)
I32_BUFFER(3, SEGMENTS) // first query row, rows, first key row of the sequence, position of the first row
BUFFER(4, O)
layout(push_constant) uniform Push {
	uint q0, k0, v0, segments0, o0, segments, mostRows, heads, kvHeads, headDim, longest, window; // the last two are not used
	float scale; // log2(e)/√hd
};
#include "attention_t1_softmax.glsl"

uint kv, first, row, packed, base; // the tile's first packed row; the segment's first query row, its packed rows and first key row

uint query_at(uint m) { return query_row(row, min(first + m, packed - 1u), kv) * headDim; }
uint key_at(uint j) { return ((base + j) * kvHeads + kv) * headDim; }

vec4 query(uint at, uint d) { return HEAD4(Q, q0 + at, d); }
vec4 key(uint at, uint d) { return HEAD4(K, k0 + at, d); }
vec4 value(uint at, uint d) { return HEAD4(V, v0 + at, d); }

void main() {
	const uint tiles = (mostRows * SHARE + ROWS - 1u) / ROWS, index = workgroup_index();
	if (index >= tiles * segments * kvHeads) return;
	const uint each = tiles * segments - 1u - index / kvHeads; // late segments, which see more, come first
	const uint at = segments0 + 4u * (each / tiles);
	kv = index % kvHeads, first = each % tiles * ROWS;
	row = uint(SEGMENTS[at]), packed = uint(SEGMENTS[at + 1u]) * SHARE, base = uint(SEGMENTS[at + 2u]);
	if (first >= packed) return;

	tile_at = query_at(staged());
	begin();
	const uint position = uint(SEGMENTS[at + 3u]);
	const uvec4 last = position + (first + 4u * quad() + uvec4(0, 1, 2, 3)) / SHARE; // keys that rows 4*quad() on see
	const uint all = position + first / SHARE + 1u;                                  // keys that every row of the tile sees
	const uint end = position + (min(first + ROWS, packed) - 1u) / SHARE + 1u;
	for (uint j = 0u; j < end; j += KEYS) {
		STREAM(key_at, j, end)
		SCORES(s, query, key)
		[[unroll]] for (uint i = 0u; i < SPAN; i++) {
			const uint n = j + column(i);
			s[i] = n < end ? mix(vec4(UNSEEN), s[i] * scale, lessThanEqual(uvec4(n), last)) : vec4(UNSEEN);
		}
		weigh();
		ACCUMULATE(o, value, min(KEYS, end - j), j + KEYS > all)
	}
	finish();
	STORE_ROWS(O, o0, query_at, o, of_rows[4u * tall() + i], packed - first)
}
