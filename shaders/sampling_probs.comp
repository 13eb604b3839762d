#version 450
// softmax(x/temperature) of a row, of the topK largest elements alone where topK
// is not 0, and of these of the fewest that sum to topP where that is below 1.
// A workgroup has one row; the result may be the input.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "row.glsl"
F32_BUFFER(0, Out)
F32_BUFFER(1, In)
layout(push_constant) uniform Push { uint out0, in0, rows, cols, topK; float perTemperature, topP; };
#include "choice.glsl"

uint first; // element where the row starts
vec4 value(uint c) { return F32_GET(In, first + c); }

void main() {
	const uint row = workgroup_index();
	if (row >= rows) return;
	first = in0 + row * cols;
	float top = uintBitsToFloat(0xff800000u);
	for (uint c = column(0u); c < cols; c += STEP) {
		vec4 x = value(c);
		top = max(top, max(max(x.x, x.y), max(x.z, x.w)));
	}
	top = workgroup_max(top);
	const Weights counts = Weights(true, 0.0, 0.0), masses = Weights(false, top, perTemperature);
	Choice kept = EVERY;
	if (topK > 0u) kept = choose(EVERY, float(topK), counts);
	float sum = weight_of(kept, EVERY, masses);
	if (topP < 1.0) {
		Choice all = kept;
		kept = choose(all, topP * sum, masses);
		// What both choose: kept lies within all.
		sum = weight_of(kept, all, masses);
		if (all.least > kept.least || (all.least == kept.least && all.end < kept.end)) kept = all;
	}
	const float scale = 1.0 / sum;
	for (uint c = column(0u); c < cols; c += STEP) {
		vec4 x = value(c), p = vec4(0);
		[[unroll]] for (uint i = 0u; i < 4u; i++)
			if (i < WIDTH && chosen(kept, key(x[i]), c + i)) p[i] = weigh(masses, x[i]) * scale;
		F32_PUT(Out, out0 + row * cols + c, p);
	}
}
