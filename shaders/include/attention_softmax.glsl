// Online softmax over tiles of keys: the forward pass of all attention kernels.
#include "attention.glsl"

vec4 held[HOLDS];        // the query rows
vec4 o[ROWS * PARTS];    // Σ weight · value so far, relative to top
float top[ROWS];         // the largest score so far, in powers of two
float sum[ROWS];         // the lane's part of Σ weight

void begin() {
	[[unroll]] for (uint i = 0u; i < ROWS * PARTS; i++) o[i] = vec4(0);
	[[unroll]] for (uint m = 0u; m < ROWS; m++) top[m] = UNSEEN;
	[[unroll]] for (uint m = 0u; m < ROWS; m++) sum[m] = 0.0;
}

// The largest of all lanes: to a CPU driver that is cheaper than a reduction.
float highest(float v) {
	float high = UNSEEN;
	[[unroll]] for (uint i = 0u; i < GROUP; i++) high = max(high, from_lane(v, i));
	return high;
}

// Turns the scores of a tile into weights, and brings what is summed so far to the new maximum.
void weigh() {
	[[unroll]] for (uint m = 0u; m < ROWS; m++) {
		float high = max(top[m], highest(s[m]));
		float fade = exp2(top[m] - high);
		top[m] = high;
		s[m] = s[m] == UNSEEN ? 0.0 : exp2(s[m] - high);
		sum[m] = sum[m] * fade + s[m];
		[[unroll]] for (uint v = 0u; v < PARTS; v++) o[m * PARTS + v] *= fade;
	}
}

// Adds keys j to j + GROUP - 1 of a list that starts at row base of K and V and
// ends before end, and moves j on. SEES(m, j) says whether row m sees key j < end;
// unless guarded it is always true.
#define ATTEND(K, k0, V, v0, base, j, end, SEES, guarded) { \
	uint key = j + gl_SubgroupInvocationID; \
	other = ((base + min(key, end - 1u)) * kvHeads + kv) * headDim; \
	SCORES(s, held, Q, q0, K, k0) \
	[[unroll]] for (uint m = 0u; m < ROWS; m++) s[m] = key < end && (!(guarded) || SEES(m, key)) ? s[m] * scale : UNSEEN; \
	weigh(); \
	ACCUMULATE(o, s, V, v0, guarded) \
	j += GROUP; \
}
