#version 450
// variants: STORAGE=f32,bf16
// dUp = dOut * silu(gate), dGate = dOut * up * s * (1 + gate*(1-s)) with s = sigmoid(gate).
// dGate may be gate, dUp may be up: every element is read before it is written.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "silu.glsl"
BUFFER(0, DGate)
BUFFER(1, DUp)
BUFFER(2, DOut)
BUFFER(3, Gate)
BUFFER(4, Up)
layout(push_constant) uniform Push { uint dGate0, dUp0, dOut0, gate0, up0, n; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
	vec4 d = GET(DOut, dOut0 + i), g = GET(Gate, gate0 + i), u = GET(Up, up0 + i);
	vec4 dGate = d * u * silu_slope(g), dUp = d * silu(g);
	PUT(DGate, dGate0 + i, dGate);
	PUT(DUp, dUp0 + i, dUp);
}
