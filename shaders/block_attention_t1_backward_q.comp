#version 450
// variants: STORAGE=f32,bf16
// block_attention_backward_q.comp on GPUs without cooperative matrices: dq = dS k/√hd.
// A workgroup holds ROWS packed query rows of one block and key head.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "operand.glsl"
#include "attention_record.glsl"
OPERAND(0, Q)
OPERAND(1, K)
OPERAND(2, V)
OPERAND(3, CK)
OPERAND(4, CV)
OPERAND(5, DO)
RECORD_BUFFER(6, RECORDS)
BUFFER(7, DQ)
layout(push_constant) uniform Push {
	uint q0, k0, v0, ck0, cv0, do0, records0, dq0, blocks, blockSize, heads, kvHeads, headDim, longest, window;
	float scale; // log2(e)/√hd
};
#include "attention_t1.glsl"
#include "attention_t1_blocks.glsl"

vec4 s[SPAN], g[SPAN]; // q·kᵀ and dOut·vᵀ, then P and dS
vec4 o[TALL];          // dq·√hd
shared vec4 lse[ROWS / 4], delta[ROWS / 4]; // read when they are needed: that leaves registers to the sums

vec4 gradient(uint at, uint d) { return HEAD4(DO, do0 + at, d); }

void visit(uint j, uint end) {
	SCORES(s, query, key)
	SCORES(g, gradient, value)
	[[unroll]] for (uint i = 0u; i < SPAN; i++) {
		const uint n = j + column(i);
		g[i] = n < end ? mix(vec4(0), exp2(s[i] * scale - lse[quad()] * LOG2_E) * (g[i] - delta[quad()]), seen(n)) : vec4(0);
	}
	PUT_WEIGHTS(g)
	ACCUMULATE(o, key, min(KEYS, end - j), hidden(j))
}

void main() {
	if (!choose()) return;
	const uint m = gl_LocalInvocationIndex;
	if (m < ROWS) {
		const vec2 stats = intBitsToFloat(RECORDS[records0 / 4u + query_at(m) / headDim].xy);
		lse[m / 4u][m % 4u] = stats.x;
		delta[m / 4u][m % 4u] = stats.y;
	}
	[[unroll]] for (uint i = 0u; i < TALL; i++) o[i] = vec4(0);
	const ivec4 record = RECORDS[records0 / 4u + block * blockSize * heads]; // the block's first: one for all invocations
	pass_keys(uint(record.z), record.w);
	STORE_ROWS(DQ, dq0, query_at, o, scale * LN_2, packed - first)
}
