#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// First stage of dWeight: partial[z] = sum of dOut * x * rstd over the z-th range of rows.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "eight.glsl"
F32_WRITE_BUFFER(0, Partial)
READ_BUFFER(1, DOut)
READ_BUFFER(2, In)
F32_READ_BUFFER(3, Rstd)
layout(push_constant) uniform Push { uint partial0, dOut0, in0, rstd0, rows, cols, rowsPerGroup; };

void main() {
	const uint i = flat_index(), first = i / cols * rowsPerGroup, last = min(rows, first + rowsPerGroup);
	if (first >= rows) return;
	vec4 d[FOURS], x[FOURS], sum[FOURS];
	[[unroll]] for (uint f = 0u; f < FOURS; f++) sum[f] = vec4(0);
	for (uint row = first; row < last; row++) {
		uint at = row * cols + i % cols;
		float rstd = F32_FETCH(Rstd, rstd0 + row);
		READ(DOut, dOut0 + at, d)
		READ(In, in0 + at, x)
		[[unroll]] for (uint f = 0u; f < FOURS; f++) sum[f] += d[f] * x[f] * rstd;
	}
	F32_WRITE(Partial, partial0 + i, sum);
}
