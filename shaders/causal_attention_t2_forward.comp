#version 450
// variants: ELEMENT=bf16,f16 MATRIX=16x16x16,16x8x16,8x16x16,8x8x8
// compiler: shaderc 2026.4
// Causal attention in bf16 on cooperative matrices: what causal_attention_forward.comp
// computes, for a tile of packed query rows of one key head and neighbouring
// segments. The keys of a sequence pass once for all its segments in the tile.
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
VECTOR_BUFFER(0, Q)
VECTOR_BUFFER(1, K)
VECTOR_BUFFER(2, V)
I32_LIST(3, SEGMENTS) // first query row, rows, first key row of the sequence, position of the first row
VECTOR_BUFFER(4, O)
layout(push_constant) uniform Push {
	uint q0, k0, v0, segments0, o0, blocks, blockSize, heads, kvHeads, headDim, longest, window; // segments, the most rows of one
	float scale; // log2(e)/√hd
};
#define TABLE SEGMENTS
#define table0 segments0
#include "attention_matrix_table.glsl"
#define SEGMENT(i) uint(LISTED(i))
#include "attention_matrix_rows.glsl"

uint base; // the stream's first row

bool valid(uint row) { return row < last && row % packed_rows() / share() < SEGMENT(4u * (row / packed_rows()) + 1u); }

uint row_of(uint row) {
	const uint p = row % packed_rows();
	return (SEGMENT(4u * (row / packed_rows())) + p / share()) * heads + kv * share() + p % share();
}

uint held_row(uint row) { return valid(row) ? row_of(row) : 0u; }

uint stream_at(uint j, uint v) { return ((base + j) * kvHeads + kv) * HD / 8u + v; }
uvec4 load_x(uint j, uint v) { return K8[k0 / 8u + stream_at(j, v)]; }
uvec4 load_y(uint j, uint v) { return V8[v0 / 8u + stream_at(j, v)]; }

// Lets the keys that the tile's segments see pass, sequence by sequence.
void pass_keys(float scaleK, float scaleV) {
	const uint s1 = (last - 1u) / packed_rows();
	for (uint s = first / packed_rows(); s <= s1;) {
		uint end = 0u;
		base = SEGMENT(4u * s + 2u);
		for (; s <= s1 && SEGMENT(4u * s + 2u) == base; s++) end = max(end, SEGMENT(4u * s + 3u) + SEGMENT(4u * s + 1u));
		[[unroll]] for (uint t = 0u; t < TURNS; t++) {
			const uint row = first + tile_row(t), segment = 4u * (row / packed_rows());
			sees[t] = NOTHING;
			if (valid(row) && SEGMENT(segment + 2u) == base) sees[t] = ivec2(0, int(SEGMENT(segment + 3u) + row % packed_rows() / share() + 1u));
		}
		pass_seen(0, int(end), scaleK, scaleV);
	}
}
#include "attention_matrix_softmax.glsl"

bool stored(uint row) { return valid(row); }
void store_lse(uint row, float lse) {}

void main() {
	if (choose()) attend(SCALE(0), SCALE(1), SCALE(2));
}
