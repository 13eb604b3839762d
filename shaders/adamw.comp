#version 450
// variants: FROM=buffer,texel
// m += (1-b1)*(g-m), v += (1-b2)*(g²-v), p -= lr*wd*p + lr * (m*correct1) / (sqrt(v*correct2) + eps)
// with g = grad * clip coefficient and correct = 1/(1-b^step); compute = p rounded to bf16.
// Nothing is written where norm says that the gradients are not finite. Master and m are
// bound twice, for reading and for writing.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "eight.glsl"
F32_WRITE_BUFFER(0, Master)
BF16_WRITE_BUFFER(1, Compute)
F32_WRITE_BUFFER(2, M)
F32_WRITE_BUFFER(3, V)
F32_READ_BUFFER(4, OldMaster)
F32_READ_BUFFER(5, OldM)
F32_READ_BUFFER(6, Grad)
F32_READ_BUFFER(7, Norm)
layout(push_constant) uniform Push {
	uint master0, compute0, m0, v0, oldMaster0, oldM0, grad0, norm0, n;
	float lr, decay, rate1, rate2, correct1, correct2, eps; // decay = lr*wd, rate = 1-b
};
layout(constant_id = 3) const bool COMPUTE = false;

void main() {
	uint i = flat_index();
	if (i >= n || F32_FETCH(Norm, norm0 + 2u) == 0.0) return;
	const float coefficient = F32_FETCH(Norm, norm0 + 1u);
	vec4 g[FOURS], p[FOURS], m[FOURS], v[FOURS];
	F32_READ(Grad, grad0 + i, g)
	F32_READ(OldMaster, oldMaster0 + i, p)
	F32_READ(OldM, oldM0 + i, m)
	F32_READ_BACK(V, v0 + i, v)
	[[unroll]] for (uint f = 0u; f < FOURS; f++) {
		g[f] *= coefficient;
		m[f] += rate1 * (g[f] - m[f]);
		v[f] += rate2 * (g[f] * g[f] - v[f]);
		p[f] -= decay * p[f];
		p[f] -= lr * (m[f] * correct1) / (sqrt(v[f] * correct2) + eps);
	}
	F32_WRITE(M, m0 + i, m);
	F32_WRITE(V, v0 + i, v);
	F32_WRITE(Master, master0 + i, p);
	if (COMPUTE) BF16_WRITE(Compute, compute0 + i, p);
}
