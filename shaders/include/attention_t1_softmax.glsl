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
	if (column(0u) == 0u) of_rows[quad()] = fade;
	PUT_WEIGHTS(s)
	[[unroll]] for (uint i = 0u; i < TALL; i++) o[i] *= of_rows[tall() + i / 4u][i % 4u];
}

vec4 total[QUADS]; // Σ weight of rows 4*tall() on

// Brings the parts of the sums together, and leaves top in of_rows.
void finish() {
	barrier();
	pool[gl_LocalInvocationIndex] = sum;
	if (column(0u) == 0u) of_rows[quad()] = top;
	barrier();
	[[unroll]] for (uint v = 0u; v < QUADS; v++) {
		total[v] = vec4(0);
		for (uint i = 0u; i < ACROSS; i++) total[v] += pool[(tall() + v) * ACROSS + i];
	}
}

// What row m of the sums is multiplied by in the end.
float unit(uint m) { return total[m / 4u][m % 4u] == 0.0 ? 0.0 : 1.0 / total[m / 4u][m % 4u]; }
