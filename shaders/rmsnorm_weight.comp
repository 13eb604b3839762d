#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// First stage of dWeight: partial[z] = sum of dOut * x * rstd over the z-th range of rows.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "eight.glsl"
#include "lanes.glsl"
F32_WRITE_BUFFER(0, Partial)
READ_BUFFER(1, DOut)
READ_BUFFER(2, In)
F32_READ_BUFFER(3, Rstd)
layout(push_constant) uniform Push { uint partial0, dOut0, in0, rstd0, rows, cols, rowsPerGroup; };

const uint AHEAD = 4u; // rows on their way at a time

void main() {
	const uint i = flat_index(), z = LANES == 1u ? i / cols : workgroup_index() / across(cols), first = z * rowsPerGroup;
	if (first >= rows) return;
	const uint c = LANES == 1u ? i % cols : lane_column(cols), last = min(rows, first + rowsPerGroup);
	vec4 sum[FOURS];
	[[unroll]] for (uint f = 0u; f < FOURS; f++) sum[f] = vec4(0);
	uint row = LANES == 1u ? first : c < cols ? first + lane() : last;
	if (LANES > 1u)
		for (; row + (AHEAD - 1u) * LANES < last; row += AHEAD * LANES) {
			vec4 d[AHEAD][FOURS], x[AHEAD][FOURS];
			float rstd[AHEAD];
			[[unroll]] for (uint j = 0u; j < AHEAD; j++) {
				const uint r = row + j * LANES;
				rstd[j] = F32_FETCH(Rstd, rstd0 + r);
				READ(DOut, dOut0 + r * cols + c, d[j])
				READ(In, in0 + r * cols + c, x[j])
			}
			[[unroll]] for (uint j = 0u; j < AHEAD; j++)
				[[unroll]] for (uint f = 0u; f < FOURS; f++) sum[f] += d[j][f] * x[j][f] * rstd[j];
		}
	vec4 d[FOURS], x[FOURS];
	for (; row < last; row += LANES) {
		uint at = row * cols + c;
		float rstd = F32_FETCH(Rstd, rstd0 + row);
		READ(DOut, dOut0 + at, d)
		READ(In, in0 + at, x)
		[[unroll]] for (uint f = 0u; f < FOURS; f++) sum[f] += d[f] * x[f] * rstd;
	}
	add_lanes(sum);
	if (LANES > 1u && (lane() > 0u || c >= cols)) return;
	F32_WRITE(Partial, partial0 + (LANES == 1u ? i : z * cols + c), sum);
}
