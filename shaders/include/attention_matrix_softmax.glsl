// Online softmax over streams of keys, in f32: the forward passes on cooperative
// matrices. Weights are rounded to the elements of the matrices. Include it behind
// what says which keys pass (pass_keys).

bool stored(uint row);                // whether the tile's row has a place in the result
void store_lse(uint row, float lse);

LEFT q[DEPTH];
SUM o[SPAN];
float top[TURNS];  // the largest score so far, in powers of two
float sum[TURNS];  // the lane's part of Σ weight, then what the sums are multiplied by
float fade[TURNS]; // of what is summed so far, by the last part of the stream
float unscaleQ, unscaleK;

// Turns the scores into weights, and brings what is summed so far to the new maximum.
void weigh(uint j) {
	const bool all = all_seen(j);
	[[unroll]] for (uint t = 0u; t < TURNS; t++) {
		float high = UNSEEN;
		[[unroll]] for (uint i = 0u; i < QUADS; i++) {
			vec4 s = score(t, i) * unscaleQ * unscaleK * scale;
			if (!all) [[unroll]] for (uint e = 0u; e < 4u; e++) s[e] = seen(t, j + column(i) + e) ? s[e] : UNSEEN;
			high = max(high, max(max(s.x, s.y), max(s.z, s.w)));
			w[t * QUADS + i] = s;
		}
		[[unroll]] for (uint m = TM; m < LANES; m *= 2u) high = max(high, subgroupShuffleXor(high, m));
		high = max(high, top[t]);
		fade[t] = exp2(top[t] - high);
		top[t] = high;
		sum[t] *= fade[t];
		[[unroll]] for (uint i = 0u; i < QUADS; i++) {
			const vec4 s = w[t * QUADS + i];
			const vec4 p = mix(exp2(s - high), vec4(0), equal(s, vec4(UNSEEN)));
			sum[t] += (p.x + p.y) + (p.z + p.w);
			w[t * QUADS + i] = p * WEIGHT;
		}
	}
	put_weights();
}

// Multiplies what is summed so far by the rows' fades, beside the weights in shared memory.
void fade_sums() {
	float most = fade[0];
	[[unroll]] for (uint t = 1u; t < TURNS; t++) most = min(most, fade[t]);
	if (subgroupMin(most) == 1.0) return;
	[[unroll]] for (uint t = 0u; t < TURNS; t++)
		for (uint i = part(); i < TN / 4u; i += PARTS) pool[lane_at(t) + COLS / 8u + i] = floatBitsToUint(vec4(fade[t]));
	meet();
	SUM f;
	coopMatLoad(f, pool, mine() + COLS / 8u, SCORE_PITCH, gl_CooperativeMatrixLayoutRowMajor);
	[[unroll]] for (uint n = 0u; n < SPAN; n++) o[n] = o[n] * f;
}

void visit(uint j) {
	if (passed_over(j)) return;
	PRODUCT(q, X_AT)
	weigh(j);
	fade_sums();
	ACCUMULATE(o, Y_AT)
}

void store8(uint t, uint d, vec4 a, vec4 b) {
	const uint row = first + tile_row(t);
	if (stored(row)) O8[(o0 + row_of(row) * HD + d) / 8u] = f32_to_bf16x8(a * sum[t], b * sum[t]);
}

// Computes the tile.
void attend(float scaleQ, float scaleK, float scaleV) {
	unscaleQ = 1.0 / scaleQ, unscaleK = 1.0 / scaleK;
	HOLD(q, load_q, scaleQ)
	[[unroll]] for (uint n = 0u; n < SPAN; n++) o[n] = SUM(0.0);
	[[unroll]] for (uint t = 0u; t < TURNS; t++) top[t] = UNSEEN, sum[t] = 0.0;
	pass_keys(scaleK, scaleV);
	[[unroll]] for (uint t = 0u; t < TURNS; t++) {
		[[unroll]] for (uint m = TM; m < LANES; m *= 2u) sum[t] += subgroupShuffleXor(sum[t], m);
		const uint row = first + tile_row(t);
		if (part() == 0u && stored(row)) store_lse(row_of(row), sum[t] == 0.0 ? 0.0 : (top[t] + log2(sum[t])) * LN_2);
		sum[t] = sum[t] == 0.0 ? 0.0 : 1.0 / sum[t] / WEIGHT / scaleV;
	}
	STORE_SUMS(o)
}
