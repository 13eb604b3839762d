#version 450
// variants: STORAGE=f32,bf16 READ=buffer,texel
// Gradient of block attention, part 2: dq = dS k/√hd over the context and the
// own block. A workgroup holds ROWS packed query rows of one block and key head.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "attention_operand.glsl"
#include "attention_record.glsl"
OPERAND(0, Q)
OPERAND(1, K)
OPERAND(2, V)
OPERAND(3, CK)
OPERAND(4, CV)
OPERAND(5, DO)
RECORD_OPERAND(6, RECORDS)
BUFFER(7, DQ)
layout(push_constant) uniform Push {
	uint q0, k0, v0, ck0, cv0, do0, records0, dq0, blocks, blockSize, heads, kvHeads, headDim, longest, window;
	float scale; // log2(e)/√hd
};
#include "attention_gradient.glsl"

vec4 o[ROWS * PARTS]; // dq·√hd
vec4 held[HOLDS], held_do[HOLDS];

#define IN_BLOCK(m, j) true
#define IN_WINDOW(m, j) (j + window > anchor + (first + m) / SHARE)

// Adds the gradient by keys j to j + GROUP - 1 of a list that starts at row base
// of K and V and ends before end, and moves j on; see ACCUMULATE for guarded, without which SEES is always true.
#define ATTEND(K, k0, V, v0, base, j, end, SEES, guarded) { \
	uint key = j + lane; \
	other = ((base + min(key, end - 1u)) * kvHeads + kv) * headDim; \
	SCORES(s, held, Q, q0, K, k0) \
	SCORES(g, held_do, DO, do0, V, v0) \
	[[unroll]] for (uint m = 0u; m < ROWS; m++) { \
		vec2 row = from_lane(stats[m / GROUP], m % GROUP); \
		differentiate(m, key < end && (!(guarded) || SEES(m, key)), row.x, row.y); \
	} \
	ACCUMULATE(o, g, K, k0, guarded) \
	j += GROUP; \
}

void main() {
	const uint lane = gl_SubgroupInvocationID;
	const uint packed = blockSize * SHARE, tiles = (packed + ROWS - 1u) / ROWS;
	const uint index = workgroup_index();
	if (index >= tiles * blocks * kvHeads) return;
	const uint kv = index / (tiles * blocks), block = alternate(index / tiles % blocks, blocks), first = index % tiles * ROWS;

	vec2 stats[SPREAD];
	ivec4 record;
	[[unroll]] for (uint r = 0u; r < SPREAD; r++) {
		uint row = query_row(block * blockSize, min(first + r * GROUP + lane, packed - 1u), kv);
		record = RECORD(RECORDS, records0 / 4u + row);
		stats[r] = intBitsToFloat(record.xy);
		spread[r] = row * headDim;
	}
	const bool valid = record.w >= 0;
	const uint context = uint(record.z), anchor = uint(max(record.w, 0));
	HOLD(held, Q, q0)
	HOLD(held_do, DO, do0)
	[[unroll]] for (uint i = 0u; i < ROWS * PARTS; i++) o[i] = vec4(0);
	uint low = anchor + first / SHARE + 1u;
	uint j = window == 0u || low < window ? 0u : low - window;
	if (j < anchor) do ATTEND(CK, ck0, CV, cv0, context, j, anchor, IN_WINDOW, WINDOW) while (j < anchor);
	j = 0u;
	if (valid) do ATTEND(K, k0, V, v0, block * blockSize, j, blockSize, IN_BLOCK, false) while (j < blockSize);
	STORE_ROWS(DQ, dq0, o, scale * LN_2, packed - first)
}
