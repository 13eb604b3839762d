// Rotates the pairs (i, i+half) of every head of x by the angle of the row's
// position, times direction. An invocation handles one pair, or four next to
// each other, of all heads of a row: the tables are read once.
#include "storage.glsl"
#include "flat.glsl"
BUFFER(0, X)
F32_BUFFER(1, Cos)
F32_BUFFER(2, Sin)
I32_BUFFER(3, Pos)
layout(push_constant) uniform Push { uint x0, cos0, sin0, pos0, rows, heads, pairs; };

void rotate(float direction) {
	uint at = flat_index();
	if (at >= rows * pairs) return;
	uint row = at / pairs, i = at % pairs;
	uint angle = uint(Pos[pos0 + row]) * pairs + i;
	vec4 c = F32_GET(Cos, cos0 + angle), s = direction * F32_GET(Sin, sin0 + angle);
	uint lo = x0 + row * heads * 2u * pairs + i;
	for (uint h = 0u; h < heads; h++) {
		vec4 a = GET(X, lo), b = GET(X, lo + pairs);
		PUT(X, lo, a * c - b * s);
		PUT(X, lo + pairs, b * c + a * s);
		lo += 2u * pairs;
	}
}
