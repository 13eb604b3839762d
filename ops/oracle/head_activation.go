package oracle

// HeadActivation returns SiLU(W1 [z ; s]) of n rows: z is [n, H], s is [n, G], w1 is
// [E, H+G], the result [n, E]. Source: spec.md §6.1.
func HeadActivation(z, s, w1 []float64, n, e int) []float64 {
	h, g := len(z)/max(n, 1), len(s)/max(n, 1)
	pre := make([]float64, 0, n*e)
	for row := range n {
		f := append(append([]float64{}, z[row*h:(row+1)*h]...), s[row*g:(row+1)*g]...)
		for k := range e {
			pre = append(pre, dot(w1[k*(h+g):(k+1)*(h+g)], f))
		}
	}
	return SiLU(pre)
}
