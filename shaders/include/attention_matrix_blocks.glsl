// Queries of draft blocks against the keys of block attention: the context keys
// pass once for all blocks of a sequence in the tile, up to the last anchor, and
// then the keys of the blocks. A kernel defines BLOCK(i), word i of the list of blocks.
#include "attention_matrix_rows.glsl"

bool own;  // the stream is of the blocks' keys
uint base; // the stream's first row

bool valid(uint row) { return row < last && BLOCK(2u * (row / packed_rows()) + 1u) >= 0; }
uint row_of(uint row) { return block_row(row); }
uint held_row(uint row) { return block_row(min(row, last - 1u)); }

// Keys and values. Nothing sees those of blocks that are not valid.
uint stream_at(uint j, uint v) { return ((base + j) * kvHeads + kv) * HD / 8u + v; }
uvec4 load_x(uint j, uint v) {
	if (own) return K8[k0 / 8u + stream_at(j, v)];
	return CK8[ck0 / 8u + stream_at(j, v)];
}
uvec4 load_y(uint j, uint v) {
	if (own) return V8[v0 / 8u + stream_at(j, v)];
	return CV8[cv0 / 8u + stream_at(j, v)];
}

// What the tile's row sees of the stream.
ivec2 sees_of(uint row, uint b0) {
	if (!valid(row)) return NOTHING;
	const uint block = row / packed_rows();
	if (own) return int((block - b0) * blockSize) + ivec2(0, int(blockSize));
	if (uint(BLOCK(2u * block)) != base) return NOTHING;
	const int anchor = BLOCK(2u * block + 1u);
	return ivec2(window_start(anchor, row % packed_rows() / share()), anchor);
}

// Lets all keys of the tile's blocks pass: the context of each sequence, then the blocks' own.
void pass_keys(float scaleK, float scaleV) {
	const uint b0 = first / packed_rows(), b1 = (last - 1u) / packed_rows();
	for (uint b = b0; b <= b1 + 1u;) {
		int start = 0x7fffffff, end = 0;
		own = b > b1;
		if (own) {
			base = b0 * blockSize;
			start = 0, end = int((b1 + 1u - b0) * blockSize);
			b++;
		} else {
			base = uint(BLOCK(2u * b));
			for (; b <= b1 && uint(BLOCK(2u * b)) == base; b++) {
				const int anchor = BLOCK(2u * b + 1u);
				if (anchor > 0) start = min(start, window_start(anchor, 0u)), end = max(end, anchor);
			}
			start = start / int(COLS) * int(COLS); // so that the order of a row's sums does not depend on other rows
		}
		[[unroll]] for (uint t = 0u; t < TURNS; t++) sees[t] = sees_of(first + tile_row(t), b0);
		pass_seen(start, end, scaleK, scaleV);
	}
}
