#version 450
// variants: STORAGE=f32,bf16
// The correction of a row's candidates: logits[i, c] = base[i, c] + W2[c]·act[i]
// for the columns c of index[i]. An invocation has one candidate. The dispatch
// sees the rows of W2 from first on, and leaves out the candidates of other rows.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
layout(constant_id = 2) const bool VECTOR = false;
#include "quad.glsl"
F32_BUFFER(0, Logits)
F32_BUFFER(1, Base)
I32_BUFFER(2, Index)
BUFFER(3, Act)
BUFFER(4, W2)
layout(push_constant) uniform Push { uint logits0, base0, index0, act0, w20, rows, count, cols, E, first, have; };
QUAD_READER(read_act, LOAD, Act)
QUAD_READER(read_w2, LOAD, W2)

void main() {
	const uint i = workgroup_index() * GROUP + gl_LocalInvocationIndex;
	if (i >= rows * count) return;
	const uint row = i / count, c = uint(Index[index0 + i]), from = c - first;
	if (from >= have) return;
	float sum = 0.0;
	for (uint e = 0u; e < E; e += 4u) sum += dot(read_act(act0 + row * E + e, E - e, 0.0), read_w2(w20 + from * E + e, E - e, 0.0));
	F32_STORE(Logits, logits0 + row * cols + c, F32_LOAD(Base, base0 + row * cols + c) + sum);
}
