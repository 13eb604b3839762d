#version 450
// variants: STORAGE=f32,bf16 PART=own,context READ=buffer,texel
// Gradient of block attention, part 3: dk = dSᵀ q/√hd and dv = Pᵀ dOut, summed in
// a fixed order over the query heads that share a key head. A workgroup holds
// ROWS keys of one key head: of one block (own), which all its rows see, or of
// one sequence's context, which its blocks with later anchors see. The blocks of a
// sequence are sorted by anchor, so these are a run of the list.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "attention_operand.glsl"
#include "attention_record.glsl"
OPERAND(0, Q)
OPERAND(1, DO)
RECORD_OPERAND(2, RECORDS)
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
#include "attention_gradient.glsl"

vec4 dk[ROWS * PARTS], dv[ROWS * PARTS]; // dk·√hd
vec4 held_k[HOLDS], held_v[HOLDS];

int anchor_of(uint block) { return RECORD(RECORDS, records0 / 4u + block * blockSize * heads).w; }

#ifdef PART_CONTEXT
// The first block from low on, before high, whose anchor is above position j.
uint after(uint low, uint high, uint j) {
	while (low < high) {
		uint middle = (low + high) / 2u;
		if (anchor_of(middle) > int(j)) high = middle;
		else low = middle + 1u;
	}
	return low;
}

#define MOST longest
bool sees(uint p, int anchor, uint j) { return int(j) < anchor && (!WINDOW || j + window > uint(anchor) + p / SHARE); }
#else
#define MOST blockSize
bool sees(uint p, int anchor, uint j) { return anchor >= 0; }
#endif

// Adds the gradient by packed query rows p to p + GROUP - 1 of a block.
void accumulate(uint block, uint p, uint packed, uint kv, uint first) {
	uint q = p + gl_SubgroupInvocationID, row = query_row(block * blockSize, min(q, packed - 1u), kv);
	ivec4 record = RECORD(RECORDS, records0 / 4u + row);
	vec2 stats = intBitsToFloat(record.xy);
	other = row * headDim;
	SCORES(s, held_k, K, k0, Q, q0)
	SCORES(g, held_v, V, v0, DO, do0)
	[[unroll]] for (uint m = 0u; m < ROWS; m++)
		differentiate(m, q < packed && sees(q, record.w, first + m), stats.x, stats.y);
#ifdef PART_CONTEXT
	if (WINDOW || uint(record.w) < first + ROWS) { // not every key of the tile is seen
		ACCUMULATE(dv, s, DO, do0, true)
		ACCUMULATE(dk, g, Q, q0, true)
		return;
	}
#endif
	ACCUMULATE(dv, s, DO, do0, false)
	ACCUMULATE(dk, g, Q, q0, false)
}

void main() {
	const uint packed = blockSize * SHARE, tiles = (MOST + ROWS - 1u) / ROWS;
	const uint index = workgroup_index();
	if (index >= tiles * lists * kvHeads) return;
	const uint kv = index / (tiles * lists), each = alternate(index % (tiles * lists), tiles * lists);
	const uint list = each / tiles, first = each % tiles * ROWS;
#ifdef PART_CONTEXT
	const uint range = ranges0 + 4u * list, base = uint(RANGES[range + 2u]), length = uint(RANGES[range + 3u]);
	if (first >= length) return;
#else
	const uint base = list * blockSize, length = blockSize;
#endif

	[[unroll]] for (uint r = 0u; r < SPREAD; r++) {
		uint key = min(first + r * GROUP + gl_SubgroupInvocationID, length - 1u);
		spread[r] = ((base + key) * kvHeads + kv) * headDim;
	}
	HOLD(held_k, K, k0)
	HOLD(held_v, V, v0)
	[[unroll]] for (uint i = 0u; i < ROWS * PARTS; i++) dk[i] = dv[i] = vec4(0);
#ifdef PART_CONTEXT
	uint end = uint(RANGES[range + 1u]);
	uint block = after(uint(RANGES[range]), end, first);
	if (window != 0u) end = after(block, end, first + ROWS - 2u + window);
#else
	uint block = list, end = anchor_of(list) < 0 ? list : list + 1u;
#endif
	uint p = 0u;
	if (block < end) do { // the rows of one block, then those of the next
		accumulate(block, p, packed, kv, first);
		p += GROUP;
		block += p < packed ? 0u : 1u;
		p = p < packed ? p : 0u;
	} while (block < end);
	STORE_ROWS(DK, dk0, dk, scale * LN_2, length - first)
	STORE_ROWS(DV, dv0, dv, 1.0, length - first)
}
