package oracle

// SwiGLU returns out = SiLU(gate) * up, element by element; all have the same shape.
// Source: spec.md §5.1, step 7.
func SwiGLU(gate, up []float64) []float64 {
	out := make([]float64, len(gate))
	for i, g := range gate {
		out[i] = g * sigmoid(g) * up[i]
	}
	return out
}

// SwiGLUBackward returns dUp = dOut * SiLU(gate) and
// dGate = dOut * up * sigma(gate) * (1 + gate*(1-sigma(gate))); all have the same shape.
// Source: spec.md §9.6.
func SwiGLUBackward(dOut, gate, up []float64) (dGate, dUp []float64) {
	dGate, dUp = make([]float64, len(gate)), make([]float64, len(gate))
	for i, g := range gate {
		dUp[i] = dOut[i] * g * sigmoid(g)
		dGate[i] = dOut[i] * up[i] * siluSlope(g)
	}
	return dGate, dUp
}
