// How all plain attention kernels count rows and load them. Rows are counted per
// head: query row i of head g is i*heads + g, key row j of key head h is
// j*kvHeads + h; times headDim that is the element they start at. The query heads
// that share a key head are packed: packed row p of a block is its query p/share
// at head kv*share + p%share. Include it after the push constants.
layout(constant_id = 4) const bool VECTOR = false;   // every tensor may be loaded four elements at a time
layout(constant_id = 7) const uint SHARE = 1;        // query heads that use one key head; constant, since CPUs divide lane by lane
layout(constant_id = 5) const bool WINDOW = false;   // there is a sliding window

const float UNSEEN = -3.0e38;                        // score of a key that the row does not see
const float LOG2_E = 1.44269504088896341, LN_2 = 0.693147180559945309;


// The row of packed query row p of the queries that start at first.
uint query_row(uint first, uint p, uint kv) { return (first + p / SHARE) * heads + kv * SHARE + p % SHARE; }

// Elements d to d + 3 of the row that starts at element at, zero beyond the head.
#define HEAD1(name, at, d) ((d) < headDim ? LOAD(name, (at) + (d)) : 0.0)
#define HEAD4(name, at, d) (VECTOR ? LOAD4(name, (at) + (d)) \
	: vec4(HEAD1(name, at, d), HEAD1(name, at, (d) + 1u), HEAD1(name, at, (d) + 2u), HEAD1(name, at, (d) + 3u)))
