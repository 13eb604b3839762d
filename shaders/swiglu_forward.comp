#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// out = silu(gate) * up. out may be gate or up.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "eight.glsl"
#include "silu.glsl"
WRITE_BUFFER(0, Out)
READ_BUFFER(1, Gate)
READ_BUFFER(2, Up)
layout(push_constant) uniform Push { uint out0, gate0, up0, n; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
	vec4 g[FOURS], u[FOURS], v[FOURS];
	READ(Gate, gate0 + i, g)
	READ(Up, up0 + i, u)
	[[unroll]] for (uint f = 0u; f < FOURS; f++) v[f] = silu(g[f]) * u[f];
	WRITE(Out, out0 + i, v);
}
