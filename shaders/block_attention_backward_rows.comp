#version 450
// variants: STORAGE=f32,bf16
// Gradient of block attention, part 1: the record of every query row and head,
// with rowsum(dOut·out). One invocation per row and head. PAIRS is what the kernels on
// cooperative matrices want: lse and rowsum(dOut·out) alone.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
#include "attention_record.glsl"
layout(constant_id = 2) const bool VECTOR = false;
layout(constant_id = 3) const bool PAIRS = false;
BUFFER(0, DO)
BUFFER(1, O)
F32_BUFFER(2, LSE)
I32_BUFFER(3, BLOCKS)
RECORD_BUFFER(4, RECORDS)
layout(set = 0, binding = 4) buffer RECORDS_pairs { ivec2 RECORDS2[]; };
layout(push_constant) uniform Push { uint do0, o0, lse0, blocks0, records0, rows, perBlock, headDim; }; // rows and rows of a block, of all heads

void main() {
	const uint row = workgroup_index() * GROUP + gl_LocalInvocationID.x;
	if (row >= rows) return;
	float delta = 0.0;
	uint d = 0u;
	if (VECTOR) do {
		delta += dot(LOAD4(DO, do0 + row * headDim + d), LOAD4(O, o0 + row * headDim + d));
		d += 4u;
	} while (d < headDim);
	else do {
		delta += LOAD(DO, do0 + row * headDim + d) * LOAD(O, o0 + row * headDim + d);
		d++;
	} while (d < headDim);
	const ivec2 stats = floatBitsToInt(vec2(F32_LOAD(LSE, lse0 + row), delta));
	if (PAIRS) {
		RECORDS2[records0 / 2u + row] = stats;
		return;
	}
	const uint block = blocks0 + 2u * (row / perBlock);
	RECORDS[records0 / 4u + row] = ivec4(stats, BLOCKS[block], BLOCKS[block + 1u]);
}
