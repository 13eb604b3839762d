#version 450
// m += (1-b1)*(g-m), v += (1-b2)*(g²-v), p -= lr*wd*p + lr * (m*correct1) / (sqrt(v*correct2) + eps)
// with g = grad * clip coefficient and correct = 1/(1-b^step); compute = p rounded to bf16.
// Nothing is written where norm says that the gradients are not finite.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
F32_BUFFER(0, Master)
BF16_BUFFER(1, Compute)
F32_BUFFER(2, M)
F32_BUFFER(3, V)
F32_BUFFER(4, Grad)
F32_BUFFER(5, Norm)
layout(push_constant) uniform Push {
	uint master0, compute0, m0, v0, grad0, norm0, n;
	float lr, decay, rate1, rate2, correct1, correct2, eps; // decay = lr*wd, rate = 1-b
};
layout(constant_id = 3) const bool COMPUTE = false;

void main() {
	uint i = flat_index();
	if (i >= n || F32_LOAD(Norm, norm0 + 2u) == 0.0) return;
	vec4 g = F32_GET(Grad, grad0 + i) * F32_LOAD(Norm, norm0 + 1u);
	vec4 p = F32_GET(Master, master0 + i), m = F32_GET(M, m0 + i), v = F32_GET(V, v0 + i);
	m += rate1 * (g - m);
	v += rate2 * (g * g - v);
	p -= decay * p;
	p -= lr * (m * correct1) / (sqrt(v * correct2) + eps);
	F32_PUT(M, m0 + i, m);
	F32_PUT(V, v0 + i, v);
	F32_PUT(Master, master0 + i, p);
	if (COMPUTE) BF16_PUT(Compute, compute0 + i, p);
}
