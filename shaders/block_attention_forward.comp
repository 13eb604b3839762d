#version 450
// variants: STORAGE=f32,bf16 READ=buffer,texel
// Domino draft attention: the queries of a block see the context keys before
// their anchor, as far as the window reaches, and all keys of their block.
//
//	out = softmax(q·kᵀ/√hd) v        lse = ln Σ exp(q·kᵀ/√hd)
//
// A workgroup holds ROWS packed query rows of one block and key head.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "attention_operand.glsl"
OPERAND(0, Q)
OPERAND(1, K)
OPERAND(2, V)
OPERAND(3, CK)
OPERAND(4, CV)
I32_BUFFER(5, BLOCKS) // first context row of the block's sequence, anchor
BUFFER(6, O)
F32_BUFFER(7, LSE)
layout(push_constant) uniform Push {
	uint q0, k0, v0, ck0, cv0, blocks0, o0, lse0, blocks, blockSize, heads, kvHeads, headDim, longest, window;
	float scale; // log2(e)/√hd
};
#include "attention_softmax.glsl"

#define IN_BLOCK(m, j) true
#define IN_WINDOW(m, j) (j + window > anchor + (first + m) / SHARE)

void main() {
	const uint lane = gl_SubgroupInvocationID;
	const uint packed = blockSize * SHARE, tiles = (packed + ROWS - 1u) / ROWS;
	const uint index = workgroup_index();
	if (index >= tiles * blocks * kvHeads) return;
	const uint kv = index / (tiles * blocks), block = alternate(index / tiles % blocks, blocks), first = index % tiles * ROWS;
	const uint context = uint(BLOCKS[blocks0 + 2u * block]);
	const bool valid = BLOCKS[blocks0 + 2u * block + 1u] >= 0;
	const uint anchor = valid ? uint(BLOCKS[blocks0 + 2u * block + 1u]) : 0u;

	[[unroll]] for (uint r = 0u; r < SPREAD; r++)
		spread[r] = query_row(block * blockSize, min(first + r * GROUP + lane, packed - 1u), kv) * headDim;
	HOLD(held, Q, q0)
	begin();
	uint low = anchor + first / SHARE + 1u;
	uint j = window == 0u || low < window ? 0u : low - window;
	if (j < anchor) do ATTEND(CK, ck0, CV, cv0, context, j, anchor, IN_WINDOW, WINDOW) while (j < anchor);
	j = 0u;
	if (valid) do ATTEND(K, k0, V, v0, block * blockSize, j, blockSize, IN_BLOCK, false) while (j < blockSize);

	float lse[SPREAD];
	[[unroll]] for (uint m = 0u; m < ROWS; m++) {
		sum[m] = subgroupAdd(sum[m]);
		if (lane == m % GROUP) lse[m / GROUP] = sum[m] == 0.0 ? 0.0 : (top[m] + log2(sum[m])) * LN_2;
		sum[m] = sum[m] == 0.0 ? 0.0 : 1.0 / sum[m];
	}
	STORE_ROWS(O, o0, o, sum[m], packed - first)
	[[unroll]] for (uint r = 0u; r < SPREAD; r++) {
		uint m = r * GROUP + lane;
		if (m < ROWS && first + m < packed) F32_STORE(LSE, lse0 + query_row(block * blockSize, first + m, kv), lse[r]);
	}
}
