package model

import "math"

// RopeTables returns cos and sin of the rotary angles of positions 0..positions-1, each
// [positions, headDim/2] in row-major order:
//
//	angle[p][i] = float32(p) * inv_freq[i],  inv_freq[i] = theta^(-2i/headDim)
//
// inv_freq and the angle are rounded to float32, as the reference has them; cos and sin are
// taken in float64 and rounded once. The tables are made on the host because Vulkan leaves
// the error of a shader's sin and cos as large as 2^-11. Negative sizes give empty tables.
// Source: spec.md §5.3.
func RopeTables(positions, headDim int, theta float64) (cos, sin []float32) {
	half := max(headDim, 0) / 2
	invFreq := RopeInvFreq(headDim, theta)
	cos = make([]float32, max(positions, 0)*half)
	sin = make([]float32, len(cos))
	for i := range cos {
		angle := float32(i/half) * invFreq[i%half]
		s, c := math.Sincos(float64(angle))
		cos[i], sin[i] = float32(c), float32(s)
	}
	return cos, sin
}

// RopeInvFreq returns inv_freq[i] = theta^(-2i/headDim), i = 0..headDim/2-1, rounded to float32.
func RopeInvFreq(headDim int, theta float64) []float32 {
	invFreq := make([]float32, max(headDim, 0)/2)
	for i := range invFreq {
		invFreq[i] = float32(1 / math.Pow(theta, float64(2*i)/float64(headDim)))
	}
	return invFreq
}
