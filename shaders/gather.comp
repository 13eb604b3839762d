#version 450
// variants: IN=f32,bf16 OUT=f32,bf16
// out[i, outCol..] = src[index[i], srcCol..], one row a workgroup. The dispatch
// sees the source rows first to first+count-1 and writes only the rows that come
// from them; the one with OUTSIDE also writes zeros where index[i] is no row.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
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
OUT(BUFFER)(0, Out)
IN(BUFFER)(1, Src)
I32_BUFFER(2, Index)
layout(push_constant) uniform Push { uint out0, src0, index0, n, cols, outPitch, outCol, srcPitch, srcCol, first, count, rows; };
layout(constant_id = 2) const bool VECTOR = false;

void main() {
	uint i = workgroup_index();
	if (i >= n) return;
	uint from = uint(Index[index0 + i]); // a negative index is beyond all rows
	bool outside = from >= rows && first == 0u, here = from >= first && from < first + count;
	if (!outside && !here) return;
	uint to = out0 + i * outPitch + outCol, at = here ? src0 + (from - first) * srcPitch + srcCol : src0;
	const uint width = VECTOR ? 4u : 1u;
	for (uint c = gl_LocalInvocationIndex * width; c < cols; c += GROUP * width) {
		uint source = here ? at + c : src0;
		if (VECTOR) {
			vec4 v = IN(LOAD4)(Src, source);
			OUT(STORE4)(Out, to + c, here ? v : vec4(0));
		} else {
			float v = IN(LOAD)(Src, source);
			OUT(STORE)(Out, to + c, here ? v : 0.0);
		}
	}
}
