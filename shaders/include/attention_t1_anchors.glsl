// Which query rows see a tile of keys: the rows of their own block, or those of a
// sequence's blocks with later anchors, which are a run of the list.
int anchor_of(uint block) { return RECORDS[records0 / 4u + block * blockSize * heads].w; }

#ifdef PART_CONTEXT
#define MOST longest

// The first block from low on, before high, whose anchor is above position j.
uint after(uint low, uint high, uint j) {
	while (low < high) {
		uint middle = (low + high) / 2u;
		if (anchor_of(middle) > int(j)) high = middle;
		else low = middle + 1u;
	}
	return low;
}

// Chooses a list of keys; returns the first block whose rows see the tile and the one after the last.
uvec2 choose(uint list) {
	const uint range = ranges0 + 4u * list;
	base = uint(RANGES[range + 2u]), length = uint(RANGES[range + 3u]);
	uint end = uint(RANGES[range + 1u]);
	const uint block = after(uint(RANGES[range]), end, first);
	if (window != 0u) end = after(block, end, first + ROWS - 2u + window);
	return uvec2(block, end);
}

// Which keys j packed query row n sees, whose block has the anchor.
bvec4 seen(uint n, int anchor, uvec4 j) {
	bvec4 before = lessThan(j, uvec4(anchor));
	if (WINDOW) before = bvec4(uvec4(before) & uvec4(greaterThan(j + window, uvec4(uint(anchor) + n / SHARE % blockSize))));
	return before;
}

// Whether some key of the tile is not seen by one of the query rows from n on.
bool hidden(uint n) { return WINDOW || uint(anchor_of(n / (blockSize * SHARE))) < first + ROWS; }
#else
#define MOST blockSize

uvec2 choose(uint list) {
	base = list * blockSize, length = blockSize;
	return uvec2(list, anchor_of(list) < 0 ? list : list + 1u);
}

bvec4 seen(uint n, int anchor, uvec4 j) { return bvec4(true); }
bool hidden(uint n) { return false; }
#endif
