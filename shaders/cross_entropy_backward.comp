#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// Gradients by the logits of one vocabulary chunk, with t = (1-a) onehot(y) + a softmax(teacher):
//
//	gFinal = kFinal c (softmax(final) - t)    kFinal = 1 - lambda
//	gBase  = kBase  c (softmax(base)  - t)    kBase  = lambda
//	gSum   = gFinal + gBase
//
// A workgroup has one row; a stream whose factor is 0 is not read.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
layout(constant_id = 2) const bool VECTOR = false;
layout(constant_id = 3) const bool BASE_STREAM = false;
layout(constant_id = 4) const uint FINAL_STREAM = 0; // 0: there is none, 1: gFinal, 2: gFinal = 0
layout(constant_id = 5) const bool TEACHER = false;
#include "quad.glsl"
#include "eight.glsl"
#include "cross_entropy.glsl"
F32_READ_BUFFER(0, BASE)
F32_READ_BUFFER(1, FIN)
F32_READ_BUFFER(2, TEACH)
F32_BUFFER(3, COEF)
F32_BUFFER(4, STATS)
WRITE_BUFFER(5, GFINAL)
WRITE_BUFFER(6, GSUM)
layout(push_constant) uniform Push { uint base0, fin0, teach0, coef0, stats0, gfinal0, gsum0, rows, cols, vocabStart; float kBase, kFinal, a; };
QUAD_READER(read_base, F32_FETCH, BASE)
QUAD_READER(read_fin, F32_FETCH, FIN)
QUAD_READER(read_teach, F32_FETCH, TEACH)
#ifdef FROM_TEXEL
#define WRITER(name, BUFFER_NAME) void name(uint at, uint n, vec4 v[FOURS]) { WRITE(BUFFER_NAME, at, v); }
#else
#define WRITER(name, BUFFER_NAME) QUAD_WRITER(name##4, STORE, BUFFER_NAME) \
	void name(uint at, uint n, vec4 v[FOURS]) { name##4(at, n, v[0]); }
#endif
WRITER(write_gfinal, GFINAL)
WRITER(write_gsum, GSUM)

void main() {
	const uint row = workgroup_index();
	if (row >= rows) return;
	const uint stats = stats0 + row * STATS_COLS, at = row * cols;
	const vec4 base = F32_LOAD4(STATS, stats), fin = F32_LOAD4(STATS, stats + 4u);
	const vec4 teacher = F32_LOAD4(STATS, stats + 8u), target = F32_LOAD4(STATS, stats + 12u);
	const float c = F32_LOAD(COEF, coef0 + row);
	const float perBase = 1.0 / base.y, perFinal = 1.0 / fin.y, perTeacher = a / teacher.y;
	const uint y = uint(int(target.x)) - vocabStart, t = teach0 + uint(target.y) * cols;
	for (uint col = 4u * FOURS * local_index(); col < cols; col += 4u * FOURS * GROUP) {
		vec4 gFinal[FOURS], gSum[FOURS];
		[[unroll]] for (uint f = 0u; f < FOURS; f++) {
			const uint i = col + 4u * f, left = cols - i;
			vec4 soft = mix(vec4(0), vec4(1.0 - a), equal(uvec4(i) + uvec4(0, 1, 2, 3), uvec4(y)));
			if (TEACHER) soft += exp_below(read_teach(t + i, left, 0.0), teacher.x) * perTeacher;
			gFinal[f] = vec4(0);
			if (FINAL_STREAM == 1u) gFinal[f] = kFinal * c * (exp_below(read_fin(fin0 + at + i, left, 0.0), fin.x) * perFinal - soft);
			gSum[f] = gFinal[f];
			if (BASE_STREAM) gSum[f] += kBase * c * (exp_below(read_base(base0 + at + i, left, 0.0), base.x) * perBase - soft);
		}
		if (FINAL_STREAM != 0u) write_gfinal(gfinal0 + at + col, cols - col, gFinal);
		write_gsum(gsum0 + at + col, cols - col, gSum);
	}
}
