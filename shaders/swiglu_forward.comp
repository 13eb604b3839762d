#version 450
// variants: STORAGE=f32,bf16
// out = silu(gate) * up. out may be gate or up.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "silu.glsl"
BUFFER(0, Out)
BUFFER(1, Gate)
BUFFER(2, Up)
layout(push_constant) uniform Push { uint out0, gate0, up0, n; };

void main() {
	uint i = flat_index();
	if (i >= n) return;
	vec4 v = silu(GET(Gate, gate0 + i)) * GET(Up, up0 + i);
	PUT(Out, out0 + i, v);
}
