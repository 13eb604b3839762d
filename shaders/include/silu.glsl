// silu(x) = x * sigmoid(x), and its derivative.
vec4 sigmoid(vec4 x) { return 1.0 / (1.0 + exp(-x)); }
vec4 silu(vec4 x) { return x / (1.0 + exp(-x)); }
vec4 silu_slope(vec4 x) { vec4 s = sigmoid(x); return s * (1.0 + x * (1.0 - s)); }
