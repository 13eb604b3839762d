// What the attention kernels on cooperative matrices share. A workgroup holds a
// tile of TILE rows of one side (packed query rows, or keys), TM for each
// subgroup, in registers, and lets a stream of rows of the other side pass
// through shared memory, COLS at a time, which all subgroups read:
//
//	PRODUCT     scores = tile · streamᵀ       TM x COLS of a subgroup, to shared memory
//	            weights from scores            by lanes that know their rows and columns
//	ACCUMULATE  sums += weights · stream       TM x HD of a subgroup, in registers
//
// While a part of the stream is multiplied, the next is on its way to registers.
// Subgroups meet at the parts of the stream alone; a subgroup whose rows see none
// of a part passes it over. The order of sums follows from the shape alone.
//
// Include it after the buffers and the push constants, which end in GEOMETRY (see
// attention.glsl). A kernel defines the functions that are only declared here, and
// SUMMED_X: whether ACCUMULATE takes the stream's first tensor or its second.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint SUBGROUPS = 4;
layout(constant_id = 2) const uint LANES = 32; // of a subgroup
layout(constant_id = 3) const uint HD = 64;    // elements of a head
layout(constant_id = 4) const uint COLS = 32;
layout(constant_id = 5) const bool CPU = false; // see meet

const uint TILE = SUBGROUPS * TM;
const float UNSEEN = -3.0e38; // score of a key that the row does not see
const float LOG2_E = 1.44269504088896341, LN_2 = 0.693147180559945309;

// Shared memory in vectors of eight elements or four scores, with one of padding to a row against
// bank conflicts: the stream's two tensors, then the scores, whose place the weights take. At the
// start the tile's rows pass through it.
const uint VECTORS = HD / 8u, PITCH = VECTORS + 1u;
const uint WIDTH = COLS / 4u > COLS / 8u + TN / 4u ? COLS / 4u : COLS / 8u + TN / 4u;
const uint SCORE_PITCH = WIDTH + 1u;
const uint X_AT = 0u, Y_AT = COLS * PITCH, SCORES_AT = 2u * COLS * PITCH;
const uint STREAMED = SCORES_AT + TILE * SCORE_PITCH;
shared uvec4 pool[STREAMED > TILE * PITCH ? STREAMED : TILE * PITCH];

// Rows of the stream's part with an element that is not finite. As matrices would carry it to rows that
// do not see it, zeros take its place, and in put_weights NaN that of the weights.
uint turn = 0u; // parts so far
shared uint spoiled[2][COLS], any_spoiled[2];

// Lanes and scores: a lane has TURNS rows of its subgroup, and of each QUADS vectors of columns.
const uint TURNS = LANES < TM ? TM / LANES : 1u, PARTS = LANES > TM ? LANES / TM : 1u, QUADS = COLS / PARTS / 4u;
vec4 w[TURNS * QUADS];

const uint DEPTH = HD / TK, SPAN = HD / TN;
const uint LOADS = (COLS * VECTORS + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
uvec4 nextX[LOADS], nextY[LOADS];

uvec4 load_x(uint j, uint v);           // vector v of row j of the stream's first tensor
uvec4 load_y(uint j, uint v);           // and of its second
void note(uint j, uint end);            // reads what else is to know of rows j.. of the stream into registers
void describe(uint j, uint end);        // and puts it in shared memory
void visit(uint j);                     // multiplies rows j.. of the stream
void store8(uint t, uint d, vec4 a, vec4 b); // writes elements d.. of the row of turn t

// Makes what the lanes of a subgroup put in shared memory seen by the others. CPU drivers run them in step, and
// take a barrier of a subgroup for one of the workgroup, of which every subgroup has to come by the same number.
void meet() {
	if (CPU) subgroupMemoryBarrierShared();
	else subgroupBarrier();
}

uint workgroup_index() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }
uint share() { return heads / kvHeads; }

uint packed_rows() { return blockSize * share(); } // of a block

// The row of packed query row p of all blocks, at the key head kv.
uint kv;
uint block_row(uint p) { return p / share() * heads + kv * share() + p % share(); }

// The first context key that offset o of a block sees.
int window_start(int anchor, uint o) { return window == 0u ? 0 : max(0, anchor + int(o) + 1 - int(window)); }

uint mine() { return SCORES_AT + gl_SubgroupID * TM * SCORE_PITCH; }
uint lane_row(uint t) { return (gl_SubgroupInvocationID + t * LANES) % TM; }        // of the subgroup
uint part() { return PARTS > 1u ? gl_SubgroupInvocationID / TM : 0u; }
uint tile_row(uint t) { return gl_SubgroupID * TM + lane_row(t); }
uint lane_at(uint t) { return mine() + lane_row(t) * SCORE_PITCH; }
uint column(uint i) { return (part() * QUADS + i) * 4u; }                            // of the first element of w[t*QUADS + i]

// Loads the tile's rows into held, DEPTH matrices: row r, vector v by LOAD(r, v), all before the first is waited for.
const uint HELD = (TILE * VECTORS + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
uvec4 heldRows[HELD];
uint held_at(uint n) { return min(n * gl_WorkGroupSize.x + gl_LocalInvocationIndex, TILE * VECTORS - 1u); }
#define HOLD(held, LOAD, factor) { \
	clear_spoiled(0u); \
	[[unroll]] for (uint n = 0u; n < HELD; n++) heldRows[n] = LOAD(held_at(n) / VECTORS, held_at(n) % VECTORS); \
	[[unroll]] for (uint n = 0u; n < HELD; n++) pool[held_at(n) / VECTORS * PITCH + held_at(n) % VECTORS] = convert(heldRows[n], factor); \
	barrier(); \
	[[unroll]] for (uint k = 0u; k < DEPTH; k++) \
		coopMatLoad(held[k], pool, gl_SubgroupID * TM * PITCH + k * TK / 8u, PITCH, gl_CooperativeMatrixLayoutRowMajor); \
	barrier(); \
}

// Reads rows j.. of the stream into registers, without a branch, so that nothing waits for them before they are used.
// From `end` on it is the last row, which no row of the tile sees there.
void fetch(uint j, uint end) {
	[[unroll]] for (uint r = 0u; r < LOADS; r++) {
		const uint i = r * gl_WorkGroupSize.x + gl_LocalInvocationIndex, row = min(j + i / VECTORS, end - 1u);
		nextX[r] = load_x(row, i % VECTORS);
		nextY[r] = load_y(row, i % VECTORS);
	}
	note(j, end);
}

bool finite(uvec4 v) {
	return !any(equal(v & 0x7f80u, uvec4(0x7f80u))) && !any(equal(v & 0x7f800000u, uvec4(0x7f800000u)));
}

// A vector of row i of a part, on its way to shared memory.
uvec4 guarded(uvec4 v, uint i) {
	if (finite(v)) return v;
	atomicOr(spoiled[turn % 2u][i], 1u);
	atomicOr(any_spoiled[turn % 2u], 1u);
	return uvec4(0);
}

void clear_spoiled(uint of) {
	for (uint i = gl_LocalInvocationIndex; i < COLS; i += gl_WorkGroupSize.x) spoiled[of][i] = 0u;
	if (gl_LocalInvocationIndex == 0u) any_spoiled[of] = 0u;
}

// Lets rows start to end - 1 of the stream pass, at least one; its tensors are multiplied by powers of two.
void pass(uint start, uint end, float scaleX, float scaleY) {
	fetch(start, end);
	for (uint j = start; j < end; j += COLS) {
		barrier();
		[[unroll]] for (uint r = 0u; r < LOADS; r++) {
			const uint i = r * gl_WorkGroupSize.x + gl_LocalInvocationIndex, at = i / VECTORS * PITCH + i % VECTORS;
			if (COLS * VECTORS % gl_WorkGroupSize.x == 0u || i < COLS * VECTORS) {
				pool[X_AT + at] = convert(SUMMED_X ? guarded(nextX[r], i / VECTORS) : nextX[r], scaleX);
				pool[Y_AT + at] = convert(SUMMED_X ? nextY[r] : guarded(nextY[r], i / VECTORS), scaleY);
			}
		}
		clear_spoiled((turn + 1u) % 2u);
		describe(j, end);
		barrier();
		if (j + COLS < end) fetch(j + COLS, end);
		visit(j);
		turn++;
	}
}

// The subgroup's scores of the held rows and the stream's tensor at AT.
#define PRODUCT(held, AT) { \
	[[unroll]] for (uint c = 0u; c < COLS / TN; c++) { \
		SUM s = SUM(0.0); \
		[[unroll]] for (uint k = 0u; k < DEPTH; k++) { \
			RIGHT b; \
			coopMatLoad(b, pool, (AT) + c * TN * PITCH + k * TK / 8u, PITCH, gl_CooperativeMatrixLayoutColumnMajor); \
			s = coopMatMulAdd(held[k], b, s); \
		} \
		coopMatStore(s, pool, mine() + c * TN / 4u, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor); \
	} \
	meet(); \
}

// sums, SPAN matrices, += the subgroup's weights times the stream's tensor at AT.
#define ACCUMULATE(sums, AT) \
	[[unroll]] for (uint k = 0u; k < COLS / TK; k++) { \
		LEFT a; \
		coopMatLoad(a, pool, mine() + k * TK / 8u, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor); \
		[[unroll]] for (uint n = 0u; n < SPAN; n++) { \
			RIGHT b; \
			coopMatLoad(b, pool, (AT) + k * TK * PITCH + n * TN / 8u, PITCH, gl_CooperativeMatrixLayoutRowMajor); \
			sums[n] = coopMatMulAdd(a, b, sums[n]); \
		} \
	}

vec4 score(uint t, uint i) { return uintBitsToFloat(pool[lane_at(t) + part() * QUADS + i]); }

// Puts w in the place of the scores, as elements of a matrix.
void put_weights() {
	if (any_spoiled[turn % 2u] != 0u)
		[[unroll]] for (uint i = 0u; i < TURNS * QUADS; i++)
			[[unroll]] for (uint e = 0u; e < 4u; e++)
				if (spoiled[turn % 2u][column(i % QUADS) + e] != 0u && w[i][e] != 0.0) w[i][e] = uintBitsToFloat(0x7fc00000u);
	meet();
	[[unroll]] for (uint t = 0u; t < TURNS; t++)
		[[unroll]] for (uint i = 0u; i < QUADS; i += 2u)
			pool[lane_at(t) + (part() * QUADS + i) / 2u] = pack(w[t * QUADS + i], w[t * QUADS + i + 1u]);
	meet();
}

// Hands sums, SPAN matrices, to store8.
#define STORE_SUMS(sums) \
	[[unroll]] for (uint n = 0u; n < SPAN; n += COLS / TN) { \
		meet(); \
		[[unroll]] for (uint c = 0u; c < COLS / TN; c++) \
			if (n + c < SPAN) coopMatStore(sums[min(n + c, SPAN - 1u)], pool, mine() + c * TN / 4u, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor); \
		meet(); \
		[[unroll]] for (uint t = 0u; t < TURNS; t++) \
			[[unroll]] for (uint i = 0u; i < QUADS; i += 2u) \
				if (n * TN + column(i) < HD) store8(t, n * TN + column(i), score(t, i), score(t, i + 1u)); \
	}
