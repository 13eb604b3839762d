// Rotates the pairs (i, i+half) of every head of a row by the angle of the row's
// position, times direction: OUT[row] from row INDEX[row] of X or, without
// INDEXED, the same row. An invocation handles one pair, or WIDTH next to each
// other, of all heads of a row: the tables are read once. OUT may be X.
#include "storage.glsl"
#include "flat.glsl"
#include "eight.glsl"
WRITE_BUFFER(0, OUT)
READ_BUFFER(1, X)
I32_READ_BUFFER(2, INDEX)
F32_READ_BUFFER(3, Cos)
F32_READ_BUFFER(4, Sin)
I32_READ_BUFFER(5, Pos)
layout(push_constant) uniform Push { uint out0, x0, index0, cos0, sin0, pos0, rows, heads, pairs; };
layout(constant_id = 3) const bool INDEXED = false;

void rotate(float direction) {
	uint at = flat_index();
	if (at >= rows * pairs) return;
	uint row = at / pairs, i = at % pairs, from = INDEXED ? uint(I32_FETCH(INDEX, index0 + row)) : row;
	uint angle = uint(I32_FETCH(Pos, pos0 + row)) * pairs + i;
	vec4 c[FOURS], s[FOURS], a[FOURS], b[FOURS], p[FOURS], q[FOURS];
	F32_READ(Cos, cos0 + angle, c)
	F32_READ(Sin, sin0 + angle, s)
	uint lo = x0 + from * heads * 2u * pairs + i, to = out0 + row * heads * 2u * pairs + i;
	for (uint h = 0u; h < heads; h++) {
		READ(X, lo, a)
		READ(X, lo + pairs, b)
		[[unroll]] for (uint f = 0u; f < FOURS; f++) {
			p[f] = a[f] * c[f] - b[f] * (direction * s[f]);
			q[f] = b[f] * c[f] + a[f] * (direction * s[f]);
		}
		WRITE(OUT, to, p);
		WRITE(OUT, to + pairs, q);
		lo += 2u * pairs;
		to += 2u * pairs;
	}
}
