#version 450
// variants: STORAGE=f32,bf16
// All steps of a GRU scan, h = 0 before the first:
//
//	r = sigma(gi_r + W_hr h)   z = sigma(gi_z + W_hz h)   q = W_hn h
//	n = tanh(gi_n + r q)       h' = (1 - z) n + z h
//
// The recurrence keeps h in f32, in H; products read it as it is stored. Their sums go over k in order, as those of a GEMM.
#extension GL_GOOGLE_include_directive : require
#include "gru_scan.glsl"
layout(constant_id = 2) const bool INDEXED = false; // a row's gi is row INDEX[row], else the same row
F32_READ_BUFFER(0, GI)
READ_BUFFER(1, WHH)
I32_LIST(2, INDEX)
SHARED(3, STATES)
BUFFER(4, GATES) // r, z, n, q
F32_BUFFER(5, H)
layout(push_constant) uniform Push { uint gi0, whh0, index0, states0, gates0, h0, rows, G, steps; };

// Sums of W_hr h, W_hz h and W_hn h for units u to u+3 of all rows, with h of the lane's row from element `before` of STATES on;
// zero where there is no step before.
void product(bool first, uint before, uint u, out vec4 sum[ROWS][3]) {
	[[unroll]] for (uint m = 0u; m < ROWS; m++) [[unroll]] for (uint g = 0u; g < 3u; g++) sum[m][g] = vec4(0);
	const uint w = whh0 + u * G, end = first ? 0u : G;
	uint k = 0u;
	do { // a CPU driver runs a loop's body once whatever its test says
		vec4 h[FOURS], b[12][FOURS];
		READ_BACK(STATES, before + k, h);
		[[unroll]] for (uint t = 0u; t < 12u; t++) READ(WHH, w + (t / 4u * G + t % 4u) * G + k, b[t])
		[[unroll]] for (uint m = 0u; m < ROWS; m++) {
			vec4 x[FOURS];
			[[unroll]] for (uint f = 0u; f < FOURS; f++) x[f] = from_lane(h[f], m);
			[[unroll]] for (uint t = 0u; t < 12u; t++) {
				float s = sum[m][t / 4u][t % 4u];
				[[unroll]] for (uint e = 0u; e < 8u; e++) s += x[e / 4u][e % 4u] * b[t][e / 4u][e % 4u];
				sum[m][t / 4u][t % 4u] = s;
			}
		}
		k += 8u;
	} while (k < end);
	[[unroll]] for (uint m = 0u; m < ROWS; m++) [[unroll]] for (uint g = 0u; g < 3u; g++) sum[m][g] = first ? vec4(0) : sum[m][g];
}

// The gates of units u to u+3 of a row of the step whose first row is row0, from their products and the row of gi.
void row_gates(bool first, uint row0, uint row, uint u, bool kept, vec4 sum[3]) {
	const uint own = h0 + row * G + u, at = row0 + row, gates = gates0 + at * 4u * G + u;
	const uint gi = gi0 + (INDEXED ? uint(INDEX[index0 + at]) : at) * 3u * G;
	vec4 r = F32_FETCH4(GI, gi + u) + sum[0], z = F32_FETCH4(GI, gi + G + u) + sum[1], n = F32_FETCH4(GI, gi + 2u * G + u);
	vec4 h = F32_LOAD4(H, own);
	h = first ? vec4(0) : h;
	gru_gates(r, z, n, sum[2], h);
	if (!kept) return;
	STORE4(GATES, gates, r);
	STORE4(GATES, gates + G, z);
	STORE4(GATES, gates + 2u * G, n);
	STORE4(GATES, gates + 3u * G, sum[2]);
	STORE4(STATES, states0 + at * G + u, h);
	F32_STORE4(H, own, h);
}

void main() {
	const uint mine = lane_row(rows);
	uint j = 0u;
	do {
		const bool first = j == 0u;
		const uint row0 = j * rows, before = states0 + ((first ? 0u : row0 - rows) + mine) * G;
		uint tile = 0u;
		do {
			const uint unit = tile + 4u * gl_SubgroupInvocationID, u = min(unit, G - 4u);
			vec4 sum[ROWS][3];
			product(first, before, u, sum);
			[[dont_unroll]] for (uint m = 0u; m < ROWS; m++) // its stores, unrolled, compile for half a minute
				row_gates(first, row0, min(first_row() + m, rows - 1u), u, first_row() + m < rows && unit < G, sum[m]);
			tile += 4u * GROUP;
		} while (tile < G);
		subgroupBarrier();
		j++;
	} while (j < steps);
}
