package oracle

// Add returns out = a + b, the residual sum; all have the same shape.
func Add(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

// AddBackward returns dA = dB = dOut, as two slices that share nothing.
func AddBackward(dOut []float64) (dA, dB []float64) {
	return start(dOut, len(dOut)), start(dOut, len(dOut))
}
