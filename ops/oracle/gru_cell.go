package oracle

import "math"

// GRUCell is one step of GRU on n rows from the states h: it returns the next ones.
// x is [n, H], h and the result are [n, G]; wih is [3G, H] and whh [3G, G], gates in the
// order r, z, n. Source: spec.md §6.1.
func GRUCell(x, h, wih, whh []float64, n, g int) []float64 {
	in := len(x) / max(n, 1)
	next := make([]float64, n*g)
	for row := range n {
		xs, hs := x[row*in:(row+1)*in], h[row*g:(row+1)*g]
		gate := func(w, v []float64, k int) float64 { return dot(w[k*len(v):(k+1)*len(v)], v) }
		for i := range g {
			r := sigmoid(gate(wih, xs, i) + gate(whh, hs, i))
			z := sigmoid(gate(wih, xs, g+i) + gate(whh, hs, g+i))
			c := math.Tanh(gate(wih, xs, 2*g+i) + r*gate(whh, hs, 2*g+i))
			next[row*g+i] = (1-z)*c + z*hs[i]
		}
	}
	return next
}
