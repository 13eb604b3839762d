#version 450
// Second stage of a sum over rows: out[c] += sum over z of partial[z, c], in a fixed order.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
const uint FOURS = 1u;
#include "lanes.glsl"
F32_BUFFER(0, Out)
F32_BUFFER(1, Partial)
layout(push_constant) uniform Push { uint out0, partial0, cols, count; };

const uint AHEAD = 8u; // rows on their way at a time

void main() {
	const uint c = LANES == 1u ? flat_index() : lane_column(cols);
	if (LANES == 1u && c >= cols) return;
	vec4 sum[1] = {vec4(0)};
	uint z = LANES == 1u ? 0u : c < cols ? lane() : count;
	if (LANES > 1u)
		for (; z + (AHEAD - 1u) * LANES < count; z += AHEAD * LANES) {
			vec4 v[AHEAD];
			[[unroll]] for (uint j = 0u; j < AHEAD; j++) v[j] = F32_GET(Partial, partial0 + (z + j * LANES) * cols + c);
			[[unroll]] for (uint j = 0u; j < AHEAD; j++) sum[0] += v[j];
		}
	for (; z < count; z += LANES) sum[0] += F32_GET(Partial, partial0 + z * cols + c);
	add_lanes(sum);
	if (LANES > 1u && (lane() > 0u || c >= cols)) return;
	sum[0] += F32_GET(Out, out0 + c);
	F32_PUT(Out, out0 + c, sum[0]);
}
