#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// dIn = rstd * (u - x * rstd² * mean(u*x)) with u = dOut * w, (+= with ACCUMULATE).
// dIn may be dOut: an invocation reads its columns before it writes them.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "norm.glsl"
WRITE_BUFFER(0, DIn)
READ_BUFFER(1, DOut)
READ_BUFFER(2, In)
F32_READ_BUFFER(3, Rstd)
READ_BUFFER(4, Weight)
layout(push_constant) uniform Push { uint dIn0, dOut0, in0, rstd0, weight0, rows, cols, rowsPerGroup; };
layout(constant_id = 6) const bool ACCUMULATE = false;

// Writes columns of dIn from u, x and k = rstd² * mean(u*x).
void write(uint i, vec4 u[FOURS], vec4 x[FOURS], float k, float rstd) {
	vec4 d[FOURS], old[FOURS];
	[[unroll]] for (uint f = 0u; f < FOURS; f++) d[f] = rstd * (u[f] - x[f] * k);
	if (ACCUMULATE) {
		READ_BACK(DIn, i, old)
		[[unroll]] for (uint f = 0u; f < FOURS; f++) d[f] += old[f];
	}
	WRITE(DIn, i, d);
}

void main() {
	const uint first = workgroup_index() * rowsPerGroup, last = min(rows, first + rowsPerGroup);
	if (first >= rows) return;
	vec4 w[HELD][FOURS];
	[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (turn(t) < cols) READ(Weight, weight0 + turn(t), w[t])
	for (uint row = first + part(); row < last; row += PARTS) {
		uint at = row * cols;
		vec4 x[HELD][FOURS], u[HELD][FOURS], sum = vec4(0);
		[[unroll]] for (uint t = 0u; t < ITEMS; t++) if (turn(t) < cols) {
			READ(In, in0 + at + turn(t), x[t])
			READ(DOut, dOut0 + at + turn(t), u[t])
			[[unroll]] for (uint f = 0u; f < FOURS; f++) {
				u[t][f] *= w[t][f];
				sum += u[t][f] * x[t][f];
			}
		}
		if (ITEMS == 0u) for (uint c = turn(0u); c < cols; c += LANES * WIDTH) {
			READ(DOut, dOut0 + at + c, u[0])
			READ(Weight, weight0 + c, w[0])
			READ(In, in0 + at + c, x[0])
			[[unroll]] for (uint f = 0u; f < FOURS; f++) sum += u[0][f] * w[0][f] * x[0][f];
		}
		float rstd = F32_FETCH(Rstd, rstd0 + row);
		float k = rstd * rstd * row_add(total(sum)) / float(cols);
		[[unroll]] for (uint t = 0u; t < ITEMS; t++)
			if (turn(t) < cols) write(dIn0 + at + turn(t), u[t], x[t], k, rstd);
		if (ITEMS == 0u) for (uint c = turn(0u); c < cols; c += LANES * WIDTH) {
			READ(DOut, dOut0 + at + c, u[0])
			READ(Weight, weight0 + c, w[0])
			READ(In, in0 + at + c, x[0])
			[[unroll]] for (uint f = 0u; f < FOURS; f++) u[0][f] *= w[0][f];
			write(dIn0 + at + c, u[0], x[0], k, rstd);
		}
	}
}
