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

// A step behind its products: r, z and n arrive as the sums that go into their functions, n without r q; h becomes the state behind the step.
void gru_gates(inout vec4 r, inout vec4 z, inout vec4 n, vec4 q, inout vec4 h) {
	r = sigma(r);
	z = sigma(z);
	n = tanh_exact(n + r * q);
	h = (1.0 - z) * n + z * h;
}

// The gradients of what goes into sigma, sigma and tanh, from that of the state behind the step; h is the state before.
void gru_gradients(vec4 dh, vec4 r, vec4 z, vec4 n, vec4 q, vec4 h, out vec4 dr, out vec4 dz, out vec4 dn) {
	dz = dh * (h - n) * z * (1.0 - z);
	dn = dh * (1.0 - z) * (1.0 - n * n);
	dr = dn * q * r * (1.0 - r);
}
