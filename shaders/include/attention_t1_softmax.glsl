// Online softmax over a stream of keys: the forward passes of GPUs without
// cooperative matrices.
#include "attention_t1.glsl"

vec4 s[SPAN];   // scores in powers of two, then weights
vec4 o[TALL];   // Σ weight · value so far, relative to top
vec4 top, sum;  // of rows 4*quad() on: the largest score so far, and the invocation's part of Σ weight

void begin() {
	[[unroll]] for (uint i = 0u; i < TALL; i++) o[i] = vec4(0);
	top = vec4(UNSEEN), sum = vec4(0);
}

void set_rows(vec4 x) {
	[[unroll]] for (uint m = 0u; m < 4u; m++) of_rows[4u * quad() + m] = x[m];
}

// Turns the scores into weights, puts them where ACCUMULATE finds them, and
// brings what is summed so far to the new maximum.
void weigh() {
	vec4 high = s[0];
	[[unroll]] for (uint i = 1u; i < SPAN; i++) high = max(high, s[i]);
	pool[SLICES + gl_LocalInvocationIndex] = high;
	barrier();
	high = top;
	for (uint i = 0u; i < ACROSS; i++) high = max(high, pool[SLICES + quad() * ACROSS + i]);
	const vec4 fade = exp2(top - high);
	top = high;
	sum *= fade;
	[[unroll]] for (uint i = 0u; i < SPAN; i++) {
		s[i] = mix(exp2(s[i] - high), vec4(0), equal(s[i], vec4(UNSEEN)));
		sum += s[i];
	}
	if (column(0u) == 0u) set_rows(fade);
	PUT_WEIGHTS(s)
	[[unroll]] for (uint i = 0u; i < TALL; i++) o[i] *= of_rows[4u * tall() + i];
}

// Brings the parts of Σ weight together: leaves in of_rows what rows of o are multiplied by in the end. Returns
// the logarithm of Σ exp for the row of the invocation's number, if there is one.
float finish() {
	const uint m = gl_LocalInvocationIndex;
	float all = 0.0, lse = 0.0;
	barrier();
	pool[m] = sum;
	if (column(0u) == 0u) set_rows(top);
	barrier();
	if (m < ROWS) {
		for (uint i = 0u; i < ACROSS; i++) all += pool[m / 4u * ACROSS + i][m % 4u];
		if (all != 0.0) lse = (of_rows[m] + log2(all)) * LN_2;
		of_rows[m] = all == 0.0 ? 0.0 : 1.0 / all;
	}
	barrier();
	return lse;
}
