// Drawing a column of a row by its weight. Include it after row.glsl; a kernel
// defines weight(c), the weight of column c, and the number of columns cols.
float weight(uint c);

const float NO_COLUMN = 16777216.0; // rows are shorter, so a float holds every column

// The first column at which the running sum of weights exceeds u times the sum of
// all; the last one with a weight where rounding leaves the sum below it, and
// negative where no weight is above 0. Each invocation sums a part of the row.
int draw(float u) {
	const uint part = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
	const uint size = (cols + GROUP - 1u) / GROUP, begin = min(cols, part * size), end = min(cols, begin + size);
	float own = 0.0;
	for (uint c = begin; c < end; c++) own += weight(c);
	float before = subgroupExclusiveAdd(own), all = subgroupAdd(own);
	if (SUBGROUPS > 1u) {
		if (subgroupElect()) workgroup_partial[gl_SubgroupID] = all;
		barrier();
		all = 0.0;
		for (uint i = 0u; i < SUBGROUPS; i++) {
			if (i == gl_SubgroupID) before += all;
			all += workgroup_partial[i];
		}
		barrier();
	}
	const float bound = u * all;
	// The first part whose end exceeds the bound, or the last one with a weight.
	float reaching = -workgroup_max(own > 0.0 && before + own > bound ? -float(part) : -NO_COLUMN);
	float last = workgroup_max(own > 0.0 ? float(part) : -1.0);
	float owner = reaching < NO_COLUMN ? reaching : last;
	float column = -1.0;
	if (float(part) == owner) {
		float sum = before;
		for (uint c = begin; c < end; c++) {
			float w = weight(c);
			if (w <= 0.0) continue;
			column = float(c);
			sum += w;
			if (sum > bound) break;
		}
	}
	return int(workgroup_max(column));
}
