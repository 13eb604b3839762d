#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// dUp = dOut * silu(gate), dGate = dOut * up * s * (1 + gate*(1-s)) with s = sigmoid(gate).
// dGate may be gate, dUp may be up: every element is read before it is written.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "eight.glsl"
#include "silu.glsl"
WRITE_BUFFER(0, DGate)
WRITE_BUFFER(1, DUp)
READ_BUFFER(2, DOut)
READ_BUFFER(3, Gate)
READ_BUFFER(4, Up)
layout(push_constant) uniform Push { uint dGate0, dUp0, dOut0, gate0, up0, n; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
	vec4 d[FOURS], g[FOURS], u[FOURS], dGate[FOURS], dUp[FOURS];
	READ(DOut, dOut0 + i, d)
	READ(Gate, gate0 + i, g)
	READ(Up, up0 + i, u)
	[[unroll]] for (uint f = 0u; f < FOURS; f++) {
		dGate[f] = d[f] * u[f] * silu_slope(g[f]);
		dUp[f] = d[f] * silu(g[f]);
	}
	WRITE(DGate, dGate0 + i, dGate);
	WRITE(DUp, dUp0 + i, dUp);
}
