// The order in which GEMM kernels on GPUs go over the tiles of BM x BN.

// The tile of this workgroup: bands of eight rows of tiles, column by column, so that what of A
// and B is in use at one time stays in the cache.
uvec2 tile_origin() {
	const uint BAND = 8u;
	uint index = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
	uint first = index / (BAND * gl_NumWorkGroups.x) * BAND, rest = index % (BAND * gl_NumWorkGroups.x);
	uint rows = min(BAND, gl_NumWorkGroups.y - first);
	return uvec2((first + rest % rows) * BM, rest / rows * BN);
}
