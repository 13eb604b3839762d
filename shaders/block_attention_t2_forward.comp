#version 450
// variants: ELEMENT=bf16,f16 MATRIX=16x16x16,16x8x16,8x16x16,8x8x8
// compiler: shaderc 2026.4
// Domino draft attention in bf16 on cooperative matrices: what block_attention_forward.comp
// computes, for a tile of packed query rows of one key head and neighbouring blocks.
//
//	out = softmax(q·kᵀ/√hd) v        lse = ln Σ exp(q·kᵀ/√hd)
//
// The softmax is online, in f32; weights are rounded to the elements of the matrices.
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
VECTOR_BUFFER(0, Q)
VECTOR_BUFFER(1, K)
VECTOR_BUFFER(2, V)
VECTOR_BUFFER(3, CK)
VECTOR_BUFFER(4, CV)
I32_LIST(5, BLOCKS) // first context row of the block's sequence, anchor
VECTOR_BUFFER(6, O)
F32_BUFFER(7, LSE)
layout(push_constant) uniform Push {
	uint q0, k0, v0, ck0, cv0, blocks0, o0, lse0, blocks, blockSize, heads, kvHeads, headDim, longest, window;
	float scale; // log2(e)/√hd
};
#define TABLE BLOCKS
#define table0 blocks0
#include "attention_matrix_table.glsl"
#define BLOCK(i) LISTED(i)
#include "attention_matrix_blocks.glsl"
#include "attention_matrix_softmax.glsl"

bool stored(uint row) { return row < last; }
void store_lse(uint row, float lse) { F32_STORE(LSE, lse0 + row, lse); }

void main() {
	if (choose()) attend(SCALE(0), SCALE(1), SCALE(2));
}
