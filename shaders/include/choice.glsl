// Choosing elements of a row by size: the fewest that reach a wanted weight, the
// largest first and of equal ones the first. Include it after row.glsl; a kernel
// defines value(c), the elements from column c on as GET returns them, and cols.
vec4 value(uint c);

// The order of floats as an order of unsigned integers; NaN is the smallest, -0 equals 0.
uint key(float x) {
	uint u = floatBitsToUint(x == 0.0 ? 0.0 : x);
	if ((u & 0x7fffffffu) > 0x7f800000u) return 0u;
	return (u >> 31) != 0u ? ~u : u | 0x80000000u;
}

float of_key(uint k) { return uintBitsToFloat((k >> 31) != 0u ? k & 0x7fffffffu : ~k); }

// Elements with a key above least, and of those equal to it the ones in columns before end.
struct Choice { uint least, end; };
const Choice EVERY = Choice(0u, 0xffffffffu);

bool chosen(Choice a, uint k, uint c) { return k > a.least || (k == a.least && c < a.end); }

// What an element weighs: 1, or exp((x - top) / temperature).
struct Weights { bool counts; float top, perTemperature; };

float weigh(Weights w, float x) { return w.counts ? 1.0 : exp((x - w.top) * w.perTemperature); }

// The weight of what both a and b choose.
float weight_of(Choice a, Choice b, Weights w) {
	float sum = 0.0;
	for (uint c = column(0u); c < cols; c += STEP) {
		vec4 x = value(c);
		[[unroll]] for (uint i = 0u; i < 4u; i++) {
			uint k = key(x[i]);
			if (i < WIDTH && chosen(a, k, c + i) && chosen(b, k, c + i)) sum += weigh(w, x[i]);
		}
	}
	return workgroup_add(sum);
}

// The fewest elements of all that weigh need, which is above 0 and at most the
// weight of all. The least key is found four bits at a time.
Choice choose(Choice all, float need, Weights w) {
	Choice a = Choice(0u, cols);
	for (uint bits = 32u; bits > 0u;) {
		bits -= 4u;
		float sum[15]; // of the keys from least + ((i+1) << bits) on
		[[unroll]] for (uint i = 0u; i < 15u; i++) sum[i] = 0.0;
		for (uint c = column(0u); c < cols; c += STEP) {
			vec4 x = value(c);
			[[unroll]] for (uint q = 0u; q < 4u; q++) {
				uint k = key(x[q]);
				if (q >= WIDTH || k < a.least || !chosen(all, k, c + q)) continue;
				uint step = (k - a.least) >> bits;
				float one = weigh(w, x[q]);
				[[unroll]] for (uint i = 0u; i < 15u; i++) sum[i] += step > i ? one : 0.0;
			}
		}
		uint most = 0u;
		[[unroll]] for (uint i = 0u; i < 15u; i++) if (workgroup_add(sum[i]) >= need) most = i + 1u;
		a.least += most << bits;
	}
	// Where not all of the elements that equal the least are needed, the first ones are.
	if (weight_of(a, all, w) - weigh(w, of_key(a.least)) < need) return a;
	uint low = 0u; // too few columns, while a.end are enough
	while (a.end - low > 1u) {
		uint middle = (low + a.end) / 2u;
		if (weight_of(Choice(a.least, middle), all, w) >= need) a.end = middle;
		else low = middle;
	}
	return a;
}
