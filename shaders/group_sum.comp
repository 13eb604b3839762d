#version 450
// variants: IN=f32,bf16 OUT=f32,bf16
// out[g] = the sum of the rows in list g, in order, in f32. A list names rows of
// IN through ROWS or, where its third word is not 0, partial sums. SPANS workgroups side by side have one list. STAGED
// is for GPUs, where they cover its columns in one turn: numbers of rows, which lie in the host's memory, go through shared
// memory, and some rows are on their way at a time.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
layout(constant_id = 2) const bool VECTOR = false;
layout(constant_id = 3) const uint SPANS = 1;
layout(constant_id = 4) const bool STAGED = false;
#ifdef IN_BF16
#define IN_LOAD BF16_LOAD
#define IN_LOAD4 BF16_LOAD4
BF16_BUFFER(1, IN)
#else
#define IN_LOAD F32_LOAD
#define IN_LOAD4 F32_LOAD4
F32_BUFFER(1, IN)
#endif
#ifdef OUT_BF16
#define OUT_STORE BF16_STORE
#define OUT_STORE4 BF16_STORE4
BF16_BUFFER(0, OUT)
#else
#define OUT_STORE F32_STORE
#define OUT_STORE4 F32_STORE4
F32_BUFFER(0, OUT)
#endif
F32_BUFFER(2, PARTIAL)
I32_BUFFER(3, ROWS)
I32_BUFFER(4, LISTS) // first entry, the one after the last, whether of partial sums
layout(push_constant) uniform Push { uint out0, in0, partial0, rows0, lists0, lists, cols; };

#define GET(name, op, i) (VECTOR ? op##4(name, i) : vec4(op(name, i)))

const uint AHEAD = 8u; // rows
shared uint staged[STAGED ? GROUP : 1u];

// sum += the rows that index names for i in [0, n), AHEAD at a time.
#define ADD_ROWS(row, index, n) { \
	uint i = 0u; \
	for (; i + AHEAD <= n; i += AHEAD) { \
		vec4 v[AHEAD]; \
		[[unroll]] for (uint j = 0u; j < AHEAD; j++) v[j] = row(index(i + j)); \
		[[unroll]] for (uint j = 0u; j < AHEAD; j++) sum += v[j]; \
	} \
	for (; i < n; i++) sum += row(index(i)); \
}
#define IN_ROW(i) GET(IN, IN_LOAD, in0 + (i) * cols + c)
#define PARTIAL_ROW(i) GET(PARTIAL, F32_LOAD, partial0 + (i) * cols + c)
#define NAMED(i) staged[i]
#define NEXT(i) (first + (i))

// The sum of a list's rows, for the whole workgroup at once.
vec4 staged_sum(uint first, uint last, bool partial, uint c) {
	vec4 sum = vec4(0);
	if (partial) {
		ADD_ROWS(PARTIAL_ROW, NEXT, last - first)
		return sum;
	}
	for (; first < last; first += GROUP) {
		const uint n = min(GROUP, last - first);
		barrier();
		if (gl_LocalInvocationIndex < n) staged[gl_LocalInvocationIndex] = uint(ROWS[rows0 + first + gl_LocalInvocationIndex]);
		barrier();
		ADD_ROWS(IN_ROW, NAMED, n)
	}
	return sum;
}

void store(uint list, uint c, vec4 sum) {
	if (VECTOR) OUT_STORE4(OUT, out0 + list * cols + c, sum);
	else OUT_STORE(OUT, out0 + list * cols + c, sum.x);
}

void main() {
	const uint list = workgroup_index() / SPANS;
	if (list >= lists) return;
	const uint first = uint(LISTS[lists0 + 3u * list]), last = uint(LISTS[lists0 + 3u * list + 1u]);
	const bool partial = LISTS[lists0 + 3u * list + 2u] != 0;
	const uint width = VECTOR ? 4u : 1u;
	uint c = (workgroup_index() % SPANS * GROUP + gl_LocalInvocationIndex) * width;
	if (STAGED) {
		const vec4 sum = staged_sum(first, last, partial, min(c, cols - width));
		if (c < cols) store(list, c, sum);
		return;
	}
	for (; c < cols; c += GROUP * width) {
		vec4 sum = vec4(0);
		if (partial)
			for (uint i = first; i < last; i++) sum += PARTIAL_ROW(i);
		else
			for (uint i = first; i < last; i++) sum += IN_ROW(uint(ROWS[rows0 + i]));
		store(list, c, sum);
	}
}
