// Sums over rows. LANES > 1, on GPUs, says that a workgroup shares the rows of a sum: LANES side by side take
// every LANES-th row each, ACROSS invocations have neighbouring columns, and lane 0 adds what the others have, in
// order. Include it after flat.glsl; FOURS is the number of vec4s of a sum.
layout(constant_id = 3) const uint LANES = 1;
const uint ACROSS = GROUP / LANES;
shared vec4 lane_sums[LANES > 1u ? FOURS * GROUP : 1u];

uint lane() { return gl_LocalInvocationIndex / ACROSS; }

// The workgroups beside one another over cols columns, and the invocation's first column.
uint across(uint cols) { return (cols + ACROSS * WIDTH - 1u) / (ACROSS * WIDTH); }
uint lane_column(uint cols) { return (workgroup_index() % across(cols) * ACROSS + gl_LocalInvocationIndex % ACROSS) * WIDTH; }

// For the whole workgroup at once; the result is lane 0's.
void add_lanes(inout vec4 sum[FOURS]) {
	if (LANES == 1u) return;
	[[unroll]] for (uint f = 0u; f < FOURS; f++) lane_sums[f * GROUP + gl_LocalInvocationIndex] = sum[f];
	barrier();
	if (lane() > 0u) return;
	for (uint l = 1u; l < LANES; l++)
		[[unroll]] for (uint f = 0u; f < FOURS; f++) sum[f] += lane_sums[f * GROUP + l * ACROSS + gl_LocalInvocationIndex];
}
