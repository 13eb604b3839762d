#version 450
// variants: FROM=buffer,texel
// Statistics of one vocabulary chunk of logits, merged into those of the chunks
// before: running maximum, sum of exponentials, argmax and value at the label of
// the base and of the final stream, and with a teacher its softmax and the
// expectation of both streams under it. A workgroup has one row and loads each
// logit once. The state of the chunks before enters as that of invocation 0.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
layout(constant_id = 2) const bool VECTOR = false;
layout(constant_id = 3) const bool FINAL = false;
layout(constant_id = 4) const bool TEACHER = false;
#include "quad.glsl"
#include "eight.glsl"
#include "cross_entropy.glsl"
F32_READ_BUFFER(0, BASE)
F32_READ_BUFFER(1, FIN)
F32_READ_BUFFER(2, TEACH)
I32_BUFFER(3, LABEL)
I32_BUFFER(4, TROW)
F32_BUFFER(5, STATS)
layout(push_constant) uniform Push { uint base0, fin0, teach0, label0, trow0, stats0, rows, cols, teacherRows, vocabStart, first; };
QUAD_READER(read_base, F32_FETCH, BASE)
QUAD_READER(read_fin, F32_FETCH, FIN)
QUAD_READER(read_teach, F32_FETCH, TEACH)

struct Stream {
	float top, sum, argmax; // maximum, Σ exp(x - top), first index of the maximum
	float below;            // Σ w (top - x)
	uint magnitude;         // largest bits without sign: beyond those of infinity there was a NaN
};

struct Teacher {
	float top, sum;    // maximum, Σ w
	float before;      // Σ w of the quads before, in the old scale
	float shrink;      // from the old scale to the new
	uint magnitude;
	vec4 w;
};

float top4(vec4 v) { return max(max(v.x, v.y), max(v.z, v.w)); }
uint magnitude4(vec4 v) {
	uvec4 u = floatBitsToUint(v) & 0x7fffffffu;
	return max(max(u.x, u.y), max(u.z, u.w));
}
float nan_if(uint magnitude, float sum) { return magnitude > 0x7f800000u ? NAN : sum; }

// w·gap, where gap may be infinite if nothing weighs.
float weigh(float w, float gap) { return w == 0.0 ? 0.0 : w * gap; }

void visit_teacher(inout Teacher t, vec4 v) {
	float top = max(t.top, top4(v));
	t.shrink = exp_below(t.top, top);
	t.before = t.sum;
	t.w = exp_below(v, top);
	t.sum = t.sum * t.shrink + dot(t.w, vec4(1));
	t.top = top;
	t.magnitude = max(t.magnitude, magnitude4(v));
}

void visit(inout Stream x, vec4 v, uint col, Teacher t) {
	float highest = top4(v), top = max(x.top, highest);
	uint at = v.x == highest ? 0u : v.y == highest ? 1u : v.z == highest ? 2u : 3u;
	if (highest > x.top) x.argmax = float(vocabStart + col + at);
	x.sum = x.sum * exp_below(x.top, top) + dot(exp_below(v, top), vec4(1));
	if (TEACHER) {
		vec4 gaps = mix(t.w * (top - v), vec4(0), equal(t.w, vec4(0)));
		x.below = (x.below + weigh(t.before, top - x.top)) * t.shrink + dot(gaps, vec4(1));
	}
	x.top = top;
	x.magnitude = max(x.magnitude, magnitude4(v));
}

// Joins the invocations' statistics; t.shrink is from each one's scale to the common one.
void join_all(inout Stream x, Teacher t) {
	float top = workgroup_max(x.top);
	x.argmax = -workgroup_max(x.top == top ? -x.argmax : -NO_INDEX);
	x.sum = workgroup_add(nan_if(x.magnitude, x.sum) * exp_below(x.top, top));
	if (TEACHER) x.below = workgroup_add((x.below + weigh(t.sum, top - x.top)) * t.shrink);
	x.top = top;
}

void main() {
	const uint row = workgroup_index(), lane = local_index();
	if (row >= rows) return;
	const uint stats = stats0 + row * STATS_COLS;
	Stream base = Stream(LEAST, 0.0, NO_INDEX, 0.0, 0u), fin = base;
	Teacher teacher = Teacher(LEAST, 0.0, 0.0, 1.0, 0u, vec4(0));
	vec4 old = vec4(LEAST, 0.0, NO_INDEX, NAN), oldFin = old;
	if (first == 0u) {
		old = F32_LOAD4(STATS, stats);
		if (FINAL) oldFin = F32_LOAD4(STATS, stats + 4u);
	}
	if (first == 0u && lane == 0u) {
		vec4 t = TEACHER ? F32_LOAD4(STATS, stats + 8u) : vec4(0);
		base = Stream(old.x, old.y, old.z, t.z, 0u);
		fin = Stream(oldFin.x, oldFin.y, oldFin.z, t.w, 0u);
		teacher.top = t.x;
		teacher.sum = t.y;
	}
	const uint b = base0 + row * cols, f = fin0 + row * cols;
	const uint wanted = TEACHER ? uint(TROW[trow0 + row]) : 0u, teacherRow = TEACHER ? min(wanted, teacherRows - 1u) : 0u;
	if (wanted != teacherRow) teacher.magnitude = 0xffffffffu; // there is no such row: NaN
	const uint t = teach0 + teacherRow * cols;
	for (uint col = 4u * lane; col < cols; col += 4u * GROUP) {
		const uint left = cols - col;
		if (TEACHER) visit_teacher(teacher, read_teach(t + col, left, MINUS_INF));
		visit(base, read_base(b + col, left, MINUS_INF), col, teacher);
		if (FINAL) visit(fin, read_fin(f + col, left, MINUS_INF), col, teacher);
	}
	float teacherTop = LEAST;
	if (TEACHER) {
		teacherTop = workgroup_max(teacher.top);
		teacher.shrink = exp_below(teacher.top, teacherTop);
	}
	join_all(base, teacher);
	if (FINAL) join_all(fin, teacher);
	if (TEACHER) teacher.sum = workgroup_add(nan_if(teacher.magnitude, teacher.sum) * teacher.shrink);

	const int label = LABEL[label0 + row];
	const uint y = uint(label) - vocabStart;
	if (y < cols) {
		old.w = F32_FETCH(BASE, b + y);
		if (FINAL) oldFin.w = F32_FETCH(FIN, f + y);
	}
	if (lane == 0u) {
		vec4 result = vec4(base.top, base.sum, base.argmax, old.w);
		F32_STORE4(STATS, stats, result);
		F32_STORE4(STATS, stats + 4u, FINAL ? vec4(fin.top, fin.sum, fin.argmax, oldFin.w) : result);
		F32_STORE4(STATS, stats + 8u, vec4(teacherTop, teacher.sum, base.below, FINAL ? fin.below : base.below));
		F32_STORE4(STATS, stats + 12u, vec4(float(label), float(teacherRow), 0.0, 0.0));
	}
}
