#version 450
// variants: STORAGE=f32,bf16
// One step of a GRU on rows that go on for themselves, in one visit of the weights:
//
//	r = sigma(W_ir x + W_hr h)   z = sigma(W_iz x + W_hz h)   q = W_hn h
//	n = tanh(W_in x + r q)       h' = (1 - z) n + z h
//
// A workgroup has one unit of ROWS rows; its invocations share the sums over x and h.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
#include "gru.glsl"
layout(constant_id = 4) const bool FIRST = false; // h is zero and not read
layout(constant_id = 5) const uint ROWS = 1;
F32_BUFFER(0, NEXT)
BUFFER(1, X)
F32_BUFFER(2, H)
BUFFER(3, WIH)
BUFFER(4, WHH)
layout(push_constant) uniform Push { uint next0, x0, h0, wih0, whh0, rows, inputs, G; };

void main() {
	const uint unit = workgroup_index() % G, first = workgroup_index() / G * ROWS;
	if (first >= rows) return;
	vec4 sum[ROWS]; // of r, z, n and q
	[[unroll]] for (uint m = 0u; m < ROWS; m++) sum[m] = vec4(0);
	for (uint c = column(0u); c < inputs; c += STEP) {
		vec4 r = GET(WIH, wih0 + unit * inputs + c), z = GET(WIH, wih0 + (G + unit) * inputs + c), n = GET(WIH, wih0 + (2u * G + unit) * inputs + c);
		[[unroll]] for (uint m = 0u; m < ROWS; m++) {
			vec4 x = GET(X, x0 + min(first + m, rows - 1u) * inputs + c);
			sum[m].xyz += vec3(total(r * x), total(z * x), total(n * x));
		}
	}
	if (!FIRST) for (uint c = column(0u); c < G; c += STEP) {
		vec4 r = GET(WHH, whh0 + unit * G + c), z = GET(WHH, whh0 + (G + unit) * G + c), q = GET(WHH, whh0 + (2u * G + unit) * G + c);
		[[unroll]] for (uint m = 0u; m < ROWS; m++) {
			vec4 h = round4(F32_GET(H, h0 + min(first + m, rows - 1u) * G + c));
			sum[m].xyw += vec3(total(r * h), total(z * h), total(q * h));
		}
	}
	[[unroll]] for (uint m = 0u; m < ROWS; m++) {
		vec4 s = vec4(workgroup_add(sum[m].x), workgroup_add(sum[m].y), workgroup_add(sum[m].z), workgroup_add(sum[m].w));
		vec4 gate = sigma(s);
		float n = tanh_exact(vec4(s.z + gate.x * s.w)).x;
		if (gl_LocalInvocationIndex == 0u && first + m < rows) {
			uint at = (first + m) * G + unit;
			float h = FIRST ? 0.0 : F32_LOAD(H, h0 + at);
			F32_STORE(NEXT, next0 + at, (1.0 - gate.y) * n + gate.y * h);
		}
	}
}
