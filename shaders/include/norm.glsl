// Kernels of norms over rows. With PARTS > 1 rows are shorter than a subgroup, which is
// the workgroup: each PARTS-th part of it has a row of its own.
#include "row.glsl"
#include "eight.glsl"
#include "from_lane.glsl"
layout(constant_id = 4) const uint PARTS = 1;
layout(constant_id = 5) const bool BROADCAST = false; // CPU drivers: constant lanes alone are cheap to ask

const uint LANES = GROUP / PARTS; // of a row
uint part() { return local_index() / LANES; }
uint lane() { return local_index() % LANES; }

// The first column in the lane's t-th turn.
uint turn(uint t) { return (t * LANES + lane()) * WIDTH; }

// The sum over the lanes of a row.
float row_add(float v) {
	if (PARTS == 1u) return workgroup_add(v);
	if (BROADCAST) {
		float all = 0.0;
		[[unroll]] for (uint p = 0u; p < PARTS; p++) {
			float sum = 0.0;
			[[unroll]] for (uint i = 0u; i < LANES; i++) sum += from_lane(v, p * LANES + i);
			if (part() == p) all = sum;
		}
		return all;
	}
	[[unroll]] for (uint d = 1u; d < LANES; d *= 2u) v += subgroupShuffleXor(v, d);
	return v;
}
