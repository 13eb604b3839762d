// Reductions over a workgroup of any subgroup size, in an order fixed by the
// workgroup's shape. GROUP is the number of invocations; SUBGROUPS > 1 says
// that a workgroup holds several subgroups, which then meet in shared memory.
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 8;
layout(constant_id = 1) const uint SUBGROUPS = 1;

shared float workgroup_partial[SUBGROUPS];

// The linear index of this workgroup in a grid folded into two dimensions.
uint workgroup_index() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }

// Which invocation of the workgroup this is: CPU drivers find gl_LocalInvocationIndex by dividing, lane by lane.
uint local_index() {
#ifdef FROM_TEXEL
	return gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID; // CPU drivers alone
#else
	return SUBGROUPS == 1u ? gl_SubgroupInvocationID : gl_LocalInvocationIndex;
#endif
}

float workgroup_add(float v) {
	v = subgroupAdd(v);
	if (SUBGROUPS > 1u) {
		if (subgroupElect()) workgroup_partial[gl_SubgroupID] = v;
		barrier();
		v = 0.0;
		for (uint i = 0u; i < SUBGROUPS; i++) v += workgroup_partial[i];
		barrier();
	}
	return v;
}

float workgroup_max(float v) {
	v = subgroupMax(v);
	if (SUBGROUPS > 1u) {
		if (subgroupElect()) workgroup_partial[gl_SubgroupID] = v;
		barrier();
		v = workgroup_partial[0];
		for (uint i = 1u; i < SUBGROUPS; i++) v = max(v, workgroup_partial[i]);
		barrier();
	}
	return v;
}
