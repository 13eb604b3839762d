package oracle

import "math"

// RMSNorm returns out = in * rstd * weight with rstd = (mean(in²)+eps)^(-1/2), row by row.
// in, out are [N, C]; weight is [C]; rstd is [N]. Per-head norms of queries and keys are the
// same with N = rows*heads and C = head_dim. The mean of an empty row is 0. Source: spec.md §5.2.
func RMSNorm(in, weight []float64, n, c int, eps float64) (out, rstd []float64) {
	out, rstd = make([]float64, n*c), make([]float64, n)
	for i := range n {
		sum := 0.0
		for j := range c {
			sum += in[i*c+j] * in[i*c+j]
		}
		rstd[i] = 1 / math.Sqrt(sum/float64(max(c, 1))+eps)
		for j := range c {
			out[i*c+j] = in[i*c+j] * rstd[i] * weight[j]
		}
	}
	return out, rstd
}

// RMSNormBackward returns, with u = dOut*weight,
//
//	dIn     = rstd * (u - in * rstd² * mean(u*in))
//	dWeight = Σ_rows dOut * in * rstd
//
// dOut, in, dIn are [N, C]; weight, dWeight are [C]; rstd is [N], from RMSNorm.
// Source: spec.md §9.6.
func RMSNormBackward(dOut, in, weight, rstd []float64, n, c int) (dIn, dWeight []float64) {
	dIn, dWeight = make([]float64, n*c), make([]float64, c)
	for i := range n {
		mean := 0.0
		for j := range c {
			mean += dOut[i*c+j] * weight[j] * in[i*c+j] / float64(c)
		}
		for j := range c {
			at := i*c + j
			u := dOut[at] * weight[j]
			dIn[at] = rstd[i] * (u - in[at]*rstd[i]*rstd[i]*mean)
			dWeight[j] += dOut[at] * in[at] * rstd[i]
		}
	}
	return dIn, dWeight
}
