#version 450
// variants: ELEMENT=bf16,f16 MATRIX=16x16x16,16x8x16,8x16x16,8x8x8
// compiler: shaderc 2026.4
// Gradient of block attention in bf16 on cooperative matrices: dq = dS k/√hd over
// the context and the own block, for a tile of packed query rows of one key head
// and neighbouring blocks.
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
VECTOR_BUFFER(0, Q)
VECTOR_BUFFER(1, K)
VECTOR_BUFFER(2, V)
VECTOR_BUFFER(3, CK)
VECTOR_BUFFER(4, CV)
VECTOR_BUFFER(5, DO)
I32_LIST(6, RECORDS)
VECTOR_BUFFER(7, DQ)
layout(push_constant) uniform Push {
	uint q0, k0, v0, ck0, cv0, do0, records0, dq0, blocks, blockSize, heads, kvHeads, headDim, longest, window;
	float scale; // log2(e)/√hd
	uint table;
};
#include "attention_matrix_gradient.glsl"
#define SUMMED_X true
#include "attention_matrix_blocks.glsl"

LEFT q[DEPTH], g[DEPTH];           // queries and dOut
SUM dq[SPAN];                      // dq·√hd
float lse[TURNS], delta[TURNS];    // of the lane's rows: in powers of two; as scaled as dOut·vᵀ
float unscaleQ, unscaleK, unscale;

uvec4 load_do(uint r, uint v) { return DO8[(do0 + held_row(first + r) * HD) / 8u + v]; }

void visit(uint j) {
	if (passed_over(j)) return;
	const bool all = all_seen(j);
	PRODUCT(q, X_AT)
	[[unroll]] for (uint t = 0u; t < TURNS; t++)
		[[unroll]] for (uint i = 0u; i < QUADS; i++) {
			vec4 p = exp2(score(t, i) * unscaleQ * unscaleK * scale - lse[t]);
			if (!all) [[unroll]] for (uint e = 0u; e < 4u; e++) p[e] = seen(t, j + column(i) + e) ? p[e] : 0.0;
			w[t * QUADS + i] = p;
		}
	meet();
	PRODUCT(g, Y_AT)
	[[unroll]] for (uint t = 0u; t < TURNS; t++)
		[[unroll]] for (uint i = 0u; i < QUADS; i++) {
			const vec4 p = w[t * QUADS + i];
			w[t * QUADS + i] = mix(p * (score(t, i) - delta[t]) * SLOPE, vec4(0), equal(p, vec4(0)));
		}
	put_weights();
	ACCUMULATE(dq, X_AT)
}

void store8(uint t, uint d, vec4 a, vec4 b) {
	const uint row = first + tile_row(t);
	if (row < last) DQ8[(dq0 + row_of(row) * HD + d) / 8u] = f32_to_bf16x8(a * unscale, b * unscale);
}

void main() {
	if (!choose()) return;
	const float scaleQ = SCALE(0), scaleK = SCALE(1), scaleV = SCALE(2), scaleG = SCALE(3);
	unscaleQ = 1.0 / scaleQ, unscaleK = 1.0 / scaleK;
	unscale = scale * LN_2 / SLOPE / scaleK / scaleV / scaleG;
	HOLD(q, load_q, scaleQ)
	HOLD(g, load_do, scaleG)
	[[unroll]] for (uint n = 0u; n < SPAN; n++) dq[n] = SUM(0.0);
	[[unroll]] for (uint t = 0u; t < TURNS; t++) {
		const uint at = records0 + 2u * row_of(min(first + tile_row(t), last - 1u));
		lse[t] = intBitsToFloat(RECORDS[at]) * LOG2_E;
		delta[t] = intBitsToFloat(RECORDS[at + 1u]) * scaleG * scaleV;
	}
	pass_keys(scaleK, scaleV);
	STORE_SUMS(dq)
}
