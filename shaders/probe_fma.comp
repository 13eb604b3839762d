#version 450
// How many multiplications and additions a device does on registers alone: every
// invocation keeps 8 sums, and each step adds a product to each of them.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
F32_BUFFER(0, Out)
layout(push_constant) uniform Push { uint out0, n, steps; float factor; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
	float seed = float(i & 15u) * factor; // factor < 1 keeps the sums finite
	vec4 a = vec4(seed), b = a + 0.5, x = vec4(factor);
	for (uint step = 0u; step < steps; step++)
		[[unroll]] for (uint k = 0u; k < 16u; k++) {
			a = fma(a, x, x);
			b = fma(b, x, x);
		}
	vec4 sum = a + b;
	Out1[out0 + i] = sum.x + sum.y + sum.z + sum.w;
}
