// What the cross-entropy kernels share. A row of STATS, merged over the
// vocabulary chunks that were visited so far:
//
//	 0  base:  max m, Σ exp(x-m), argmax, x at the label (NaN until visited)
//	 4  final: the same; with one stream a copy of base
//	 8  teacher: max, Σ w with w = exp(t-max); Σ w (m-x) of base, of final
//	12  label, teacher row
//
// m - Σ p x = Σ w (m-x) / Σ w has no cancellation, however large the logits.
const uint STATS_COLS = 16u;
#define MINUS_INF uintBitsToFloat(0xff800000u)
#define NAN uintBitsToFloat(0x7fc00000u)
#define LEAST uintBitsToFloat(0xff7fffffu) // the least finite float: the maximum of nothing
const float NO_INDEX = 16777216.0; // the argmax of nothing; vocabularies are smaller

// exp(x-m) for x <= m: exactly 1 at m, also where both are infinite, and exactly 0 below the range of f32.
float exp_below(float x, float m) {
	float d = x - m;
	return x == m ? 1.0 : d < -104.0 ? 0.0 : exp(d);
}

vec4 exp_below(vec4 x, float m) {
	vec4 d = x - m;
	return mix(mix(exp(d), vec4(0), lessThan(d, vec4(-104.0))), vec4(1), equal(x, vec4(m)));
}
