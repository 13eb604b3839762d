#version 450
// norm = (L2 norm, min(1, maxNorm/(norm+1e-6)), 1 if the norm and the losses are finite else 0, 0)
// from the sums of the squares and of the losses. Where they are not finite the coefficient is 0.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
layout(local_size_x_id = 0) in; // one subgroup, of which one invocation works
F32_BUFFER(0, Norm)
F32_BUFFER(1, Sum)
F32_BUFFER(2, Losses)
layout(push_constant) uniform Push { uint norm0, sum0, losses0; float maxNorm; };

bool is_finite(float x) { return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u; }

void main() {
	if (gl_LocalInvocationIndex > 0u) return;
	float sum = F32_LOAD(Sum, sum0);
	bool finite = is_finite(sum) && is_finite(F32_LOAD(Losses, losses0));
	float norm = sqrt(sum);
	F32_STORE(Norm, norm0, norm);
	F32_STORE(Norm, norm0 + 1u, finite ? min(1.0, maxNorm / (norm + 1e-6)) : 0.0);
	F32_STORE(Norm, norm0 + 2u, finite ? 1.0 : 0.0);
	F32_STORE(Norm, norm0 + 3u, 0.0);
}
