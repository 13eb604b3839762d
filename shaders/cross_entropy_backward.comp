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
BUFFER(5, GFINAL)
BUFFER(6, GSUM)
layout(push_constant) uniform Push { uint base0, fin0, teach0, coef0, stats0, gfinal0, gsum0, rows, cols, vocabStart; float kBase, kFinal, a; };
QUAD_READER(read_base, F32_FETCH, BASE)
QUAD_READER(read_fin, F32_FETCH, FIN)
QUAD_READER(read_teach, F32_FETCH, TEACH)
QUAD_WRITER(write_gfinal, STORE, GFINAL)
QUAD_WRITER(write_gsum, STORE, GSUM)

void main() {
	const uint row = workgroup_index();
	if (row >= rows) return;
	const uint stats = stats0 + row * STATS_COLS, at = row * cols;
	const vec4 base = F32_LOAD4(STATS, stats), fin = F32_LOAD4(STATS, stats + 4u);
	const vec4 teacher = F32_LOAD4(STATS, stats + 8u), target = F32_LOAD4(STATS, stats + 12u);
	const float c = F32_LOAD(COEF, coef0 + row);
	const float perBase = 1.0 / base.y, perFinal = 1.0 / fin.y, perTeacher = a / teacher.y;
	const uint y = uint(int(target.x)) - vocabStart, t = teach0 + uint(target.y) * cols;
	for (uint col = 4u * gl_LocalInvocationIndex; col < cols; col += 4u * GROUP) {
		const uint left = cols - col;
		vec4 soft = mix(vec4(0), vec4(1.0 - a), equal(uvec4(col) + uvec4(0, 1, 2, 3), uvec4(y)));
		if (TEACHER) soft += exp_below(read_teach(t + col, left, 0.0), teacher.x) * perTeacher;
		vec4 g = vec4(0);
		if (FINAL_STREAM == 1u) {
			g = kFinal * c * (exp_below(read_fin(fin0 + at + col, left, 0.0), fin.x) * perFinal - soft);
		}
		if (FINAL_STREAM != 0u) write_gfinal(gfinal0 + at + col, left, g);
		if (BASE_STREAM) g += kBase * c * (exp_below(read_base(base0 + at + col, left, 0.0), base.x) * perBase - soft);
		write_gsum(gsum0 + at + col, left, g);
	}
}
