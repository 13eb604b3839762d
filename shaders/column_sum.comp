#version 450
// Second stage of a sum over rows: out[c] += sum over z of partial[z, c], in a fixed order.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
F32_BUFFER(0, Out)
F32_BUFFER(1, Partial)
layout(push_constant) uniform Push { uint out0, partial0, cols, count; };

void main() {
	uint c = flat_index();
	if (c >= cols) return;
	vec4 sum = vec4(0);
	for (uint z = 0u; z < count; z++) sum += F32_GET(Partial, partial0 + z * cols + c);
	sum += F32_GET(Out, out0 + c);
	F32_PUT(Out, out0 + c, sum);
}
