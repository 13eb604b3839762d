#version 450
// variants: STORAGE=f32,bf16
// All steps of back-propagation through a GRU, the last first, with h the state
// before a step and dh = dstate + carry, carry = 0 behind the last:
//
//	dz = dh (h - n) z (1 - z)   dn = dh (1 - z) (1 - n²)   dr = dn q r (1 - r)
//	dgi = [dr dz dn]            dgh = [dr dz dn·r]         carry = dh z + dgh W_hh
//
// CARRY holds dh z; the product is added when the next step has been to all of its units. It reads
// dgh as it is stored, and its sums go over k in order, as those of a GEMM.
#extension GL_GOOGLE_include_directive : require
#include "gru_scan.glsl"
F32_READ_BUFFER(0, DSTATE)
F32_BUFFER(1, CARRY)
READ_BUFFER(2, GATES) // r, z, n, q
READ_BUFFER(3, STATES)
READ_BUFFER(4, WHH)
BUFFER(5, DGI)
SHARED(6, DGH)
layout(push_constant) uniform Push { uint dstate0, carry0, gates0, states0, whh0, dgi0, dgh0, rows, G, steps; };

// Columns u to u+3 of dgh W_hh for all rows, with dgh of the lane's row from element `behind` of DGH on.
void product(bool last, uint behind, uint u, out vec4 sum[ROWS]) {
	[[unroll]] for (uint m = 0u; m < ROWS; m++) sum[m] = vec4(0);
	const uint end = last ? 0u : 3u * G;
	uint k = 0u;
	do { // a CPU driver runs a loop's body once whatever its test says
		vec4 d[FOURS], b[8];
		READ_BACK(DGH, behind + k, d);
		[[unroll]] for (uint e = 0u; e < 8u; e++) b[e] = FETCH4(WHH, whh0 + (k + e) * G + u);
		[[unroll]] for (uint m = 0u; m < ROWS; m++) {
			vec4 x[FOURS];
			[[unroll]] for (uint f = 0u; f < FOURS; f++) x[f] = from_lane(d[f], m);
			[[unroll]] for (uint e = 0u; e < 8u; e++) sum[m] += x[e / 4u][e % 4u] * b[e];
		}
		k += 8u;
	} while (k < end);
}

// The gradients of units u to u+3 of a row of step j.
void row_gradients(uint j, bool last, uint row, uint u, bool kept, vec4 sum) {
	const uint own = carry0 + row * G + u, at = j * rows + row, gates = gates0 + at * 4u * G + u, d = at * 3u * G + u;
	const vec4 r = FETCH4(GATES, gates), z = FETCH4(GATES, gates + G), n = FETCH4(GATES, gates + 2u * G), q = FETCH4(GATES, gates + 3u * G);
	vec4 h = FETCH4(STATES, states0 + (at - (j == 0u ? 0u : rows)) * G + u), carry = F32_LOAD4(CARRY, own) + sum, dr, dz, dn;
	h = j == 0u ? vec4(0) : h;
	carry = last ? vec4(0) : carry;
	const vec4 dh = F32_FETCH4(DSTATE, dstate0 + at * G + u) + carry;
	gru_gradients(dh, r, z, n, q, h, dr, dz, dn);
	if (!kept) return;
	STORE4(DGI, dgi0 + d, dr);
	STORE4(DGI, dgi0 + d + G, dz);
	STORE4(DGI, dgi0 + d + 2u * G, dn);
	STORE4(DGH, dgh0 + d, dr);
	STORE4(DGH, dgh0 + d + G, dz);
	STORE4(DGH, dgh0 + d + 2u * G, dn * r);
	F32_STORE4(CARRY, own, dh * z);
}

void main() {
	const uint mine = lane_row(rows);
	uint j = steps;
	do {
		j--;
		const bool last = j == steps - 1u;
		const uint behind = dgh0 + ((last ? j : j + 1u) * rows + mine) * 3u * G;
		uint tile = 0u;
		do {
			const uint unit = tile + 4u * gl_SubgroupInvocationID, u = min(unit, G - 4u);
			vec4 sum[ROWS];
			product(last, behind, u, sum);
			[[dont_unroll]] for (uint m = 0u; m < ROWS; m++) // its stores, unrolled, compile for half a minute
				row_gradients(j, last, min(first_row() + m, rows - 1u), u, first_row() + m < rows && unit < G, sum[m]);
			tile += 4u * GROUP;
		} while (tile < G);
		subgroupBarrier();
	} while (j > 0u);
}
