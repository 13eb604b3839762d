// Rotates the pairs (i, i+half) of every head of a row by the angle of the row's
// position, times direction: OUT[row] from row INDEX[row] of X or, without
// INDEXED, the same row. An invocation handles one pair, or four next to each
// other, of all heads of a row: the tables are read once.
#include "storage.glsl"
#include "flat.glsl"
BUFFER(0, OUT)
BUFFER(1, X)
I32_BUFFER(2, INDEX)
F32_BUFFER(3, Cos)
F32_BUFFER(4, Sin)
I32_BUFFER(5, Pos)
layout(push_constant) uniform Push { uint out0, x0, index0, cos0, sin0, pos0, rows, heads, pairs; };
layout(constant_id = 3) const bool INDEXED = false;

void rotate(float direction) {
	uint at = flat_index();
	if (at >= rows * pairs) return;
	uint row = at / pairs, i = at % pairs, from = INDEXED ? uint(INDEX[index0 + row]) : row;
	uint angle = uint(Pos[pos0 + row]) * pairs + i;
	vec4 c = F32_GET(Cos, cos0 + angle), s = direction * F32_GET(Sin, sin0 + angle);
	uint lo = x0 + from * heads * 2u * pairs + i, to = out0 + row * heads * 2u * pairs + i;
	for (uint h = 0u; h < heads; h++) {
		vec4 a = GET(X, lo), b = GET(X, lo + pairs);
		PUT(OUT, to, a * c - b * s);
		PUT(OUT, to + pairs, b * c + a * s);
		lo += 2u * pairs;
		to += 2u * pairs;
	}
}
