#version 450
// partial[g] = sum of x² (or of x, without SQUARE) over the g-th block of elements.
// Within an invocation sums are made in runs of RUN, and then of runs: so the
// longest chain of roundings stays short.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
F32_BUFFER(0, Partial)
F32_BUFFER(1, X)
layout(push_constant) uniform Push { uint partial0, x0, n, block; };
layout(constant_id = 3) const bool SQUARE = true;

const uint RUN = 8;

void main() {
	const uint width = VECTOR ? 4u : 1u, step = GROUP * width;
	const uint first = workgroup_index() * block, last = min(n, first + block);
	if (first >= n) return;
	vec4 sum = vec4(0);
	for (uint i = first + local_index() * width; i < last; i += RUN * step) {
		vec4 run = vec4(0);
		[[unroll]] for (uint r = 0u; r < RUN; r++)
			if (i + r * step < last) {
				vec4 v = F32_GET(X, x0 + i + r * step);
				run += SQUARE ? v * v : v;
			}
		sum += run;
	}
	float all = workgroup_add(VECTOR ? (sum.x + sum.y) + (sum.z + sum.w) : sum.x);
	if (local_index() == 0u) F32_STORE(Partial, partial0 + workgroup_index(), all);
}
