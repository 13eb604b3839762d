#version 450
// Speculative rejection sampling of one slot a workgroup. Draft d of step j, drawn
// from q_j, is accepted where u q_j[d] < p_j[d]. The first that is not accepted
// is replaced by a draw from max(p_j - q_j, 0); where all are, the token after
// them is a draw from p of the last row.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
I32_BUFFER(0, Out)    // [slots, 2]: accepted drafts, the token after them
F32_BUFFER(1, P)      // [slots*(steps+1), cols], by slot
F32_BUFFER(2, Q)      // [steps*slots, cols], by step
I32_BUFFER(3, Drafts) // [steps*slots], by step
F32_BUFFER(4, U)      // [slots*(steps+1), 2], by slot: of the acceptance, of the draw
layout(push_constant) uniform Push { uint out0, p0, q0, drafts0, u0, slots, steps, cols; };
#include "draw.glsl"

uint target, draft; // elements where the rows of p and q start
bool residual;
float weight(uint c) {
	float p = F32_LOAD(P, target + c);
	return residual ? max(p - F32_LOAD(Q, draft + c), 0.0) : p;
}

void main() {
	const uint slot = workgroup_index();
	if (slot >= slots) return;
	uint j = 0u;
	for (; j < steps; j++) {
		uint d = uint(Drafts[drafts0 + j * slots + slot]);
		target = p0 + (slot * (steps + 1u) + j) * cols;
		draft = q0 + (j * slots + slot) * cols;
		float u = F32_LOAD(U, u0 + 2u * (slot * (steps + 1u) + j));
		if (!(u * F32_LOAD(Q, draft + d) < F32_LOAD(P, target + d))) break;
	}
	target = p0 + (slot * (steps + 1u) + j) * cols;
	residual = j < steps;
	float u = F32_LOAD(U, u0 + 2u * (slot * (steps + 1u) + j) + 1u);
	int token = draw(u);
	if (token < 0) { // p equals q but for rounding
		residual = false;
		token = draw(u);
	}
	if (gl_LocalInvocationIndex == 0u) {
		Out[out0 + 2u * slot] = int(j);
		Out[out0 + 2u * slot + 1u] = token;
	}
}
