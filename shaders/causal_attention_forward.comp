#version 450
// variants: STORAGE=f32,bf16 READ=buffer,texel
// Causal attention of the frozen target over a cache of keys and values: query
// row i of a segment sees keys 0 to position + i of the segment's sequence.
//
//	out = softmax(q·kᵀ/√hd) v
//
// A workgroup holds ROWS packed query rows of one segment and key head.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "attention_operand.glsl"
OPERAND(0, Q)
OPERAND(1, K)
OPERAND(2, V)
I32_BUFFER(3, SEGMENTS) // first query row, rows, first key row of the sequence, position of the first row
BUFFER(4, O)
layout(push_constant) uniform Push {
	uint q0, k0, v0, segments0, o0, segments, mostRows, heads, kvHeads, headDim, longest, window; // the last two are not used
	float scale; // log2(e)/√hd
};
#include "attention_softmax.glsl"

#define IN_PAST(m, j) (j <= from_lane(last[m / GROUP], m % GROUP))

void main() {
	const uint lane = gl_SubgroupInvocationID;
	const uint tiles = (mostRows * SHARE + ROWS - 1u) / ROWS;
	const uint index = workgroup_index();
	if (index >= tiles * segments * kvHeads) return;
	const uint kv = index / (tiles * segments), segment = alternate(index / tiles % segments, segments), first = index % tiles * ROWS;
	const uint at = segments0 + 4u * segment;
	const uint row = uint(SEGMENTS[at]), packed = uint(SEGMENTS[at + 1u]) * SHARE;
	const uint base = uint(SEGMENTS[at + 2u]), position = uint(SEGMENTS[at + 3u]);
	if (first >= packed) return;

	uint last[SPREAD]; // key that the lane's rows of the tile see
	[[unroll]] for (uint r = 0u; r < SPREAD; r++) {
		last[r] = position + (first + r * GROUP + lane) / SHARE;
		spread[r] = query_row(row, min(first + r * GROUP + lane, packed - 1u), kv) * headDim;
	}
	HOLD(held, Q, q0)
	begin();
	const uint end = position + (min(first + ROWS, packed) - 1u) / SHARE + 1u;
	uint j = 0u;
	const uint all = position + first / SHARE + 1u; // keys that every row of the tile sees
	if (j + GROUP <= all) do ATTEND(K, k0, V, v0, base, j, all, IN_PAST, false) while (j + GROUP <= all);
	if (j < end) do ATTEND(K, k0, V, v0, base, j, end, IN_PAST, true) while (j < end);
	[[unroll]] for (uint m = 0u; m < ROWS; m++) sum[m] = 1.0 / subgroupAdd(sum[m]);
	STORE_ROWS(O, o0, o, sum[m], packed - first)
}
