#version 450
// variants: STORAGE=f32,bf16
// block_attention_forward.comp on GPUs without cooperative matrices. A workgroup
// holds ROWS packed query rows of one block and key head.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "operand.glsl"
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
#include "attention_t1_softmax.glsl"
#include "attention_t1_blocks.glsl"

void visit(uint j, uint end) {
	SCORES(s, query, key)
	[[unroll]] for (uint i = 0u; i < SPAN; i++) {
		const uint n = j + column(i);
		s[i] = n < end ? mix(vec4(UNSEEN), s[i] * scale, seen(n)) : vec4(UNSEEN);
	}
	weigh();
	ACCUMULATE(o, value, min(KEYS, end - j), hidden(j))
}

void main() {
	if (!choose()) return;
	begin();
	pass_keys(uint(BLOCKS[blocks0 + 2u * block]), BLOCKS[blocks0 + 2u * block + 1u]);
	const float lse = finish();
	const uint m = gl_LocalInvocationIndex;
	if (m < ROWS && first + m < packed) F32_STORE(LSE, lse0 + query_at(m) / headDim, lse);
	STORE_ROWS(O, o0, query_at, o, of_rows[4u * tall() + i], packed - first)
}
