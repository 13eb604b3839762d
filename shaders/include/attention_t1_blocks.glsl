// Packed query rows of one block and key head against the context keys before the
// block's anchor, as far as the window reaches, and then the keys of the block:
// what passes in block attention's forward pass and for dq. A kernel defines visit.
uint kv, block, first, packed; // the tile: its first row, and the rows of the block
uint base, anchor;             // row where the stream starts; keys of the context
bool own;                      // the stream is of the block's keys
uvec4 reach;                   // a row sees key j of the context where j + window is above

void visit(uint j, uint end); // keys j to j + KEYS - 1, of those before end

// Chooses the tile of this workgroup; blocks with late anchors, which see more, come first.
bool choose() {
	packed = blockSize * SHARE;
	const uint tiles = (packed + ROWS - 1u) / ROWS, index = workgroup_index();
	if (index >= tiles * blocks * kvHeads) return false;
	const uint each = tiles * blocks - 1u - index / kvHeads;
	kv = index % kvHeads, block = each / tiles, first = each % tiles * ROWS;
	return true;
}

// The element where a row of the tile starts, and one of the stream.
uint query_at(uint m) { return query_row(block * blockSize, min(first + m, packed - 1u), kv) * headDim; }
uint key_at(uint j) { return ((base + j) * kvHeads + kv) * headDim; }

vec4 query(uint at, uint d) { return HEAD4(Q, q0 + at, d); }
vec4 key(uint at, uint d) {
	if (own) return HEAD4(K, k0 + at, d);
	return HEAD4(CK, ck0 + at, d);
}
vec4 value(uint at, uint d) {
	if (own) return HEAD4(V, v0 + at, d);
	return HEAD4(CV, cv0 + at, d);
}

// Which of rows 4*quad() on see key j < end, and whether some row does not see one of those from j on.
bvec4 seen(uint j) {
	if (!WINDOW || own) return bvec4(true);
	return greaterThan(uvec4(j + window), reach);
}
bool hidden(uint j) { return WINDOW && !own && j + window <= anchor + (first + ROWS - 1u) / SHARE; }

// Lets all keys pass that the tile sees, those of a context that starts at row start if the anchor is not below zero.
void pass_keys(uint start, int last) {
	anchor = uint(max(last, 0));
	tile_at = query_at(staged());
	reach = anchor + (first + 4u * quad() + uvec4(0, 1, 2, 3)) / SHARE;
	const uint low = anchor + first / SHARE + 1u;
	[[dont_unroll]] for (uint stream = 0u; stream < 2u; stream++) {
		own = stream == 1u;
		base = own ? block * blockSize : start;
		const uint end = !own ? anchor : last < 0 ? 0u : blockSize;
		// whole parts, so that the order of a row's sums does not depend on the tile
		for (uint j = own || window == 0u || low < window ? 0u : (low - window) / KEYS * KEYS; j < end; j += KEYS) {
			STREAM(key_at, j, end)
			visit(j, end);
		}
	}
}
