#version 450
// variants: IN=f32,bf16 OUT=f32,bf16
// out[g] = the sum of the rows in list g, in order, in f32. A list names rows of
// IN through ROWS or, where its third word is not 0, partial sums. A workgroup has one list.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
layout(constant_id = 2) const bool VECTOR = false;
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

void main() {
	const uint list = workgroup_index();
	if (list >= lists) return;
	const uint first = uint(LISTS[lists0 + 3u * list]), last = uint(LISTS[lists0 + 3u * list + 1u]);
	const bool partial = LISTS[lists0 + 3u * list + 2u] != 0;
	const uint width = VECTOR ? 4u : 1u;
	for (uint c = gl_LocalInvocationIndex * width; c < cols; c += GROUP * width) {
		vec4 sum = vec4(0);
		if (partial)
			for (uint i = first; i < last; i++) sum += GET(PARTIAL, F32_LOAD, partial0 + i * cols + c);
		else
			for (uint i = first; i < last; i++) sum += GET(IN, IN_LOAD, in0 + uint(ROWS[rows0 + i]) * cols + c);
		if (VECTOR) OUT_STORE4(OUT, out0 + list * cols + c, sum);
		else OUT_STORE(OUT, out0 + list * cols + c, sum.x);
	}
}
