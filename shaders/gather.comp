#version 450
// variants: IN=f32,bf16 OUT=f32,bf16 FROM=buffer,texel
// out[i, outCol..] = src[index[i], srcCol..]; a workgroup handles rowsPerGroup rows, one after
// the other. The dispatch sees the source rows first to first+count-1 and writes only the rows
// that come from them; the one that sees row 0 also writes zeros where index[i] is no row.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "flat.glsl"
#include "eight.glsl"
#ifdef IN_BF16
#define IN(op) BF16_##op
#else
#define IN(op) F32_##op
#endif
#ifdef OUT_BF16
#define OUT(op) BF16_##op
#else
#define OUT(op) F32_##op
#endif
OUT(WRITE_BUFFER)(0, Out)
IN(READ_BUFFER)(1, Src)
I32_READ_BUFFER(2, Index)
layout(push_constant) uniform Push { uint out0, src0, index0, n, cols, outPitch, outCol, srcPitch, srcCol, first, count, rows, rowsPerGroup; };

void main() {
	const uint begin = workgroup_index() * rowsPerGroup, end = min(n, begin + rowsPerGroup);
	for (uint i = begin; i < end; i++) {
		const uint from = uint(I32_FETCH(Index, index0 + i)); // a negative index is beyond all rows
		const bool outside = from >= rows && first == 0u, here = from >= first && from < first + count;
		const uint at = here ? src0 + (from - first) * srcPitch + srcCol : src0, to = out0 + i * outPitch + outCol;
		if (outside || here) for (uint c = local_index() * WIDTH; c < cols; c += GROUP * WIDTH) {
			vec4 v[FOURS];
			IN(READ)(Src, here ? at + c : src0, v)
			[[unroll]] for (uint f = 0u; f < FOURS; f++) if (!here) v[f] = vec4(0);
			OUT(WRITE)(Out, to + c, v);
		}
	}
}
