package oracle

import "math"

// SiLU returns out = in * sigma(in), element by element: the activation of the correction
// bottleneck. in and out have the same shape. Source: spec.md §6.1.
func SiLU(in []float64) []float64 {
	out := make([]float64, len(in))
	for i, x := range in {
		out[i] = x * sigmoid(x)
	}
	return out
}

// SiLUBackward returns dIn = dOut * sigma(in) * (1 + in*(1-sigma(in))).
// dOut, in and dIn have the same shape. Source: spec.md §9.3.
func SiLUBackward(dOut, in []float64) []float64 {
	dIn := make([]float64, len(in))
	for i, x := range in {
		dIn[i] = dOut[i] * siluSlope(x)
	}
	return dIn
}

// siluSlope is the derivative of x*sigma(x).
func siluSlope(x float64) float64 {
	s := sigmoid(x)
	return s * (1 + x*(1-s))
}

// sigmoid is the logistic function.
func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
