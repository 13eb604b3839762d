// Query rows against streams of keys: the forward passes and dq. The tile is of
// packed query rows of one key head, as they come: those of neighbouring blocks or
// segments share a stream of keys.
#include "attention_matrix.glsl"

uint first, last;                    // the tile's first packed row of all blocks, and the one after its last
ivec2 sees[TURNS];                   // rows of the stream that the lane's rows see: from .x on, before .y
const ivec2 NOTHING = ivec2(0x7fffffff, 0);
int lowest, lowestEnd, highest, highestEnd; // of the subgroup's rows

bool valid(uint row);                // whether the tile's row is there and has something to see
uint row_of(uint row);               // its row, counted per head

uint held_row(uint row);             // the same, or for a row that sees nothing any

uvec4 load_q(uint r, uint v) { return Q8[(q0 + held_row(first + r) * HD) / 8u + v]; }
void note(uint j, uint end) {}
void describe(uint j, uint end) {}

// Chooses the tile of this workgroup; tiles with late anchors come first.
bool choose() {
	const uint rows = blocks * packed_rows(), tiles = (rows + TILE - 1u) / TILE, index = workgroup_index();
	if (index >= tiles * kvHeads) return false;
	kv = index % kvHeads;
	first = (tiles - 1u - index / kvHeads) * TILE;
	last = min(first + TILE, rows);
	return true;
}

// Lets rows start to end - 1 of a stream pass whose rows sees tells.
void pass_seen(int start, int end, float scaleX, float scaleY) {
	lowest = highest = sees[0].x, lowestEnd = highestEnd = sees[0].y;
	[[unroll]] for (uint t = 1u; t < TURNS; t++) {
		lowest = min(lowest, sees[t].x), highest = max(highest, sees[t].x);
		lowestEnd = min(lowestEnd, sees[t].y), highestEnd = max(highestEnd, sees[t].y);
	}
	lowest = subgroupMin(lowest), highest = subgroupMax(highest);
	lowestEnd = subgroupMin(lowestEnd), highestEnd = subgroupMax(highestEnd);
	if (start < end) pass(uint(start), uint(end), scaleX, scaleY);
}

bool passed_over(uint j) { return int(j) >= highestEnd || int(j + COLS) <= lowest; }
bool all_seen(uint j) { return int(j) >= highest && int(j + COLS) <= lowestEnd; }
bool seen(uint t, uint j) { return int(j) >= sees[t].x && int(j) < sees[t].y; }
