#version 450
// variants: ELEMENT=bf16,f16 MATRIX=16x16x16,16x8x16,8x16x16,8x8x8
// compiler: shaderc 2026.4
// Gradient of block attention in bf16 on cooperative matrices: dv = Pᵀ dOut
// (VALUES) or dk = dSᵀ q/√hd, each a pass of its own, since both sums do not fit in
// registers. The tile is of keys of one key head: of one sequence's context
// (CONTEXT), or of the blocks as they come. The packed query rows of the blocks
// that see them pass. The blocks of a sequence are sorted by anchor, so these are
// a run of the list; where few tiles would keep a device idle the run is cut in
// `parts`, whose sums gemm_reduce adds in order.
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
VECTOR_BUFFER(0, Q)
VECTOR_BUFFER(1, DO)
I32_LIST(2, RECORDS)
VECTOR_BUFFER(3, K)
VECTOR_BUFFER(4, V)
VECTOR_BUFFER(5, D)
layout(set = 0, binding = 5) buffer D_floats { vec4 D4[]; };
I32_LIST(6, RANGES) // of a sequence: first block, the one after the last, first context row, context rows
layout(push_constant) uniform Push {
	uint q0, do0, records0, k0, v0, d0, ranges0, lists, blockSize, heads, kvHeads, headDim, longest, window; // lists of keys: sequences, or 1 of the blocks
	float scale; // log2(e)/√hd
	uint table, blocks, parts, partStride;
};
#include "attention_matrix_gradient.glsl"
layout(constant_id = 6) const bool VALUES = false;
layout(constant_id = 7) const bool CONTEXT = false;
#define SUMMED_X !VALUES
#include "attention_matrix.glsl"

LEFT keys[DEPTH], values[VALUES ? 1u : DEPTH];
SUM d[SPAN];                       // dv, or dk·√hd
uint base, first, length;          // rows of the list: where they start, the tile's first, how many
uint part_of;                      // the run
shared vec4 lse[COLS / 4u];        // of query rows, in powers of two
shared vec4 delta[COLS / 4u];      // and rowsum(dOut·out), as scaled as dOut·vᵀ
shared ivec2 sees[COLS];           // keys of the list that they see: from .x on, before .y
float unscaleQ, unscaleK, scaleV, scaleG, unscale;

int anchor_of(uint block) { return BLOCK(2u * block + 1u); }

// The first block from low on, before high, whose anchor is above position j.
uint after(uint low, uint high, uint j) {
	while (low < high) {
		const uint middle = (low + high) / 2u;
		if (anchor_of(middle) > int(j)) high = middle;
		else low = middle + 1u;
	}
	return low;
}

uint held_row(uint r) { return (base + min(first + r, length - 1u)) * kvHeads + kv; }
uvec4 load_k(uint r, uint i) { return K8[(k0 + held_row(r) * HD) / 8u + i]; }
uvec4 load_v(uint r, uint i) { return V8[(v0 + held_row(r) * HD) / 8u + i]; }

// Nothing is seen by rows of blocks that are not valid.
uvec4 load_x(uint j, uint i) { return Q8[(q0 + block_row(j) * HD) / 8u + i]; }
uvec4 load_y(uint j, uint i) { return DO8[(do0 + block_row(j) * HD) / 8u + i]; }

const uint NOTES = (COLS + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
ivec3 notes[NOTES]; // of a query row: the bits of lse and rowsum(dOut·out), the anchor

void note(uint j, uint end) {
	[[unroll]] for (uint n = 0u; n < NOTES; n++) {
		const uint row = min(j + n * gl_WorkGroupSize.x + gl_LocalInvocationIndex, end - 1u), at = records0 + 2u * block_row(row);
		notes[n] = ivec3(RECORDS[at], RECORDS[at + 1u], anchor_of(row / packed_rows()));
	}
}

void describe(uint j, uint end) {
	[[unroll]] for (uint n = 0u; n < NOTES; n++) {
		const uint i = n * gl_WorkGroupSize.x + gl_LocalInvocationIndex, row = j + i;
		const int anchor = notes[n].z, block = int(row / packed_rows());
		if (i >= COLS) return;
		lse[i / 4u][i % 4u] = intBitsToFloat(notes[n].x) * LOG2_E;
		delta[i / 4u][i % 4u] = intBitsToFloat(notes[n].y) * scaleG * scaleV;
		if (row >= end || anchor < 0) sees[i] = ivec2(0x7fffffff, 0);
		else if (CONTEXT) sees[i] = ivec2(window_start(anchor, row % packed_rows() / share()), anchor);
		else sees[i] = block * int(blockSize) + ivec2(0, int(blockSize));
	}
}

bool seen(int key, ivec2 range) { return key >= range.x && key < range.y; }

void visit(uint j) {
	const int low = int(first + gl_SubgroupID * TM), high = low + int(TM); // the subgroup's keys
	ivec2 least = sees[gl_SubgroupInvocationID % COLS], most = least;
	for (uint i = gl_SubgroupInvocationID + LANES; i < COLS; i += LANES) least = min(least, sees[i]), most = max(most, sees[i]);
	least = subgroupMin(least), most = subgroupMax(most);
	if (most.y <= low || least.x >= high) return;
	const bool all = most.x <= low && least.y >= high;
	PRODUCT(keys, X_AT)
	[[unroll]] for (uint t = 0u; t < TURNS; t++)
		[[unroll]] for (uint i = 0u; i < QUADS; i++) {
			vec4 p = exp2(score(t, i) * unscaleQ * unscaleK * scale - lse[column(i) / 4u]);
			if (!all) [[unroll]] for (uint e = 0u; e < 4u; e++) p[e] = seen(low + int(lane_row(t)), sees[column(i) + e]) ? p[e] : 0.0;
			w[t * QUADS + i] = VALUES ? p * WEIGHT : p;
		}
	if (!VALUES) {
		meet();
		PRODUCT(values, Y_AT)
		[[unroll]] for (uint t = 0u; t < TURNS; t++)
			[[unroll]] for (uint i = 0u; i < QUADS; i++) {
				const vec4 p = w[t * QUADS + i];
				w[t * QUADS + i] = mix(p * (score(t, i) - delta[column(i) / 4u]) * SLOPE, vec4(0), equal(p, vec4(0)));
			}
	}
	put_weights();
	ACCUMULATE(d, VALUES ? Y_AT : X_AT)
}

void store8(uint t, uint e, vec4 a, vec4 b) {
	const uint key = first + tile_row(t), at = d0 + part_of * partStride + ((base + key) * kvHeads + kv) * HD + e;
	if (key >= length) return;
	if (parts > 1u) D4[at / 4u] = a * unscale, D4[at / 4u + 1u] = b * unscale;
	else D8[at / 8u] = f32_to_bf16x8(a * unscale, b * unscale);
}

// Chooses the tile of this workgroup, those of early keys first, and the run of blocks that see it.
bool choose(out uint start, out uint end) {
	const uint tiles = (longest + TILE - 1u) / TILE, index = workgroup_index();
	if (index >= tiles * lists * kvHeads * parts) return false;
	part_of = index % parts;
	kv = index / parts % kvHeads;
	const uint list = index / parts / kvHeads % lists;
	first = index / parts / kvHeads / lists * TILE;
	if (!CONTEXT) {
		base = 0u, length = longest;
		start = first / blockSize, end = (min(first + TILE, length) - 1u) / blockSize + 1u;
		return true;
	}
	const uint range = ranges0 + 4u * list;
	base = uint(RANGES[range + 2u]), length = uint(RANGES[range + 3u]);
	if (first >= length) return false;
	end = uint(RANGES[range + 1u]);
	start = after(uint(RANGES[range]), end, first);
	if (window != 0u) end = after(start, end, first + TILE - 2u + window);
	const uint each = (end - start + parts - 1u) / parts;
	start = min(start + part_of * each, end);
	end = min(start + each, end);
	return true;
}

void main() {
	uint start, end;
	if (!choose(start, end)) return;
	const float scaleQ = SCALE(0), scaleK = SCALE(1);
	scaleV = SCALE(2), scaleG = SCALE(3);
	unscaleQ = 1.0 / scaleQ, unscaleK = 1.0 / scaleK;
	unscale = VALUES ? 1.0 / WEIGHT / scaleG : scale * LN_2 / SLOPE / scaleQ / scaleV / scaleG;
	HOLD(keys, load_k, scaleK)
	if (!VALUES) HOLD(values, load_v, scaleV)
	[[unroll]] for (uint n = 0u; n < SPAN; n++) d[n] = SUM(0.0);
	if (start < end) pass(start * packed_rows(), end * packed_rows(), scaleQ, scaleG);
	STORE_SUMS(d)
}
