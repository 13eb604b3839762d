// The gates of a GRU.
vec4 sigma(vec4 x) { return 1.0 / (1.0 + exp(-x)); }

// tanh to a few units in the last place at every size: near 0, where
// 1 - 2/(1 + exp(2x)) cancels, the continued fraction x/(1 + x²/(3 + x²/(5 + x²/(7 + x²/9)))).
vec4 tanh_exact(vec4 x) {
	vec4 z = x * x;
	vec4 small = x * (945.0 + z * (105.0 + z)) / (945.0 + z * (420.0 + 15.0 * z));
	vec4 large = sign(x) * (1.0 - 2.0 / (1.0 + exp(2.0 * abs(x))));
	return mix(large, small, lessThan(abs(x), vec4(0.7)));
}
