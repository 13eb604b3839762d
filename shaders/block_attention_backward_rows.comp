#version 450
// variants: STORAGE=f32,bf16
// Gradient of block attention, part 1: the record of every query row and head,
// with rowsum(dOut·out). PARTS invocations per row and head, one on CPUs: on GPUs neighbours read
// neighbouring elements, in TURNS turns, and one of them adds their sums in order. PAIRS is what the
// kernels on cooperative matrices want: lse and rowsum(dOut·out) alone.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
#include "attention_record.glsl"
layout(constant_id = 2) const bool VECTOR = false;
layout(constant_id = 3) const bool PAIRS = false;
layout(constant_id = 4) const uint PARTS = 1;
layout(constant_id = 5) const uint TURNS = 1;
const uint ROWS = GROUP / PARTS; // of a workgroup
BUFFER(0, DO)
BUFFER(1, O)
F32_BUFFER(2, LSE)
I32_BUFFER(3, BLOCKS)
RECORD_BUFFER(4, RECORDS)
layout(set = 0, binding = 4) buffer RECORDS_pairs { ivec2 RECORDS2[]; };
layout(push_constant) uniform Push { uint do0, o0, lse0, blocks0, records0, rows, perBlock, headDim; }; // rows and rows of a block, of all heads

shared float sums[PARTS > 1u ? GROUP : 1u];

// The product of dOut and out at the elements that an invocation reads at a time.
float product(uint i) {
	return VECTOR ? dot(LOAD4(DO, do0 + i), LOAD4(O, o0 + i)) : LOAD(DO, do0 + i) * LOAD(O, o0 + i);
}

// The sum of an invocation's part of a row; beyond the last row that of the last.
float part_sum(uint row, uint part) {
	const uint width = VECTOR ? 4u : 1u;
	float sum = 0.0;
	for (uint t = 0u; t < TURNS; t++) { // no load behind a branch
		const uint d = (t * PARTS + part) * width;
		const float x = product(min(row, rows - 1u) * headDim + min(d, headDim - width));
		sum += d < headDim ? x : 0.0;
	}
	return sum;
}

void main() {
	const uint row = workgroup_index() * ROWS + gl_LocalInvocationID.x; // beyond ROWS an invocation has a part alone
	float delta = 0.0;
	if (PARTS > 1u) {
		sums[gl_LocalInvocationID.x] = part_sum(workgroup_index() * ROWS + gl_LocalInvocationID.x / PARTS, gl_LocalInvocationID.x % PARTS);
		barrier();
		if (gl_LocalInvocationID.x >= ROWS) return;
		for (uint i = 0u; i < PARTS; i++) delta += sums[gl_LocalInvocationID.x * PARTS + i];
	}
	if (row >= rows) return;
	uint d = 0u;
	if (PARTS == 1u) do {
		delta += product(row * headDim + d);
		d += VECTOR ? 4u : 1u;
	} while (d < headDim);
	const ivec2 stats = floatBitsToInt(vec2(F32_LOAD(LSE, lse0 + row), delta));
	if (PAIRS) {
		RECORDS2[records0 / 2u + row] = stats;
		return;
	}
	const uint block = blocks0 + 2u * (row / perBlock);
	RECORDS[records0 / 4u + row] = ivec4(stats, BLOCKS[block], BLOCKS[block + 1u]);
}
