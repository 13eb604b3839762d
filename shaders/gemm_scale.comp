#version 450
// The largest magnitude of a bf16 matrix of rows x cols, as the bits of an f32, into a word that was
// zero before. A maximum has no order: the atomic gives the same bits every time. NaN counts as the largest;
// with FINITE, what is not finite counts as 0.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
BF16_BUFFER(0, X)
layout(set = 0, binding = 1) buffer MOST_words { uint MOST[]; };
layout(push_constant) uniform Push { uint x0, most0, rows, cols, pitch; };
layout(constant_id = 2) const bool VECTOR = false;
layout(constant_id = 3) const bool FINITE = false;
const uint EACH = 16; // vectors of an invocation

// The magnitude of the bf16 in the upper half of a word.
uint magnitude(uint word) {
	const uint m = word & 0x7fff0000u;
	return FINITE && m >= 0x7f800000u ? 0u : m;
}

void main() {
	const uint across = (cols + 3u) / 4u, start = workgroup_index() * GROUP * EACH + gl_LocalInvocationIndex;
	uint most = 0u;
	for (uint e = 0u; e < EACH; e++) {
		const uint v = start + e * GROUP, row = v / across, col = v % across * 4u;
		if (row >= rows) break;
		const uint at = x0 + row * pitch + col;
		if (VECTOR) {
			const uvec2 u = X4[at >> 2];
			most = max(most, max(magnitude(u.x << 16), magnitude(u.y << 16)));
			most = max(most, max(magnitude(u.x), magnitude(u.y)));
		} else {
			for (uint i = 0u; i < 4u && col + i < cols; i++) most = max(most, magnitude(uint(X1[at + i]) << 16));
		}
	}
	most = subgroupMax(most);
	if (subgroupElect()) atomicMax(MOST[most0], most);
}
