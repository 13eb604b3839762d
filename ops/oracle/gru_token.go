package oracle

// GRUToken is GRUCell on tokens, where gi [V, 3G] is the input side W_ih·x of every token.
// h and the result are [n, G]. Source: spec.md §6.1.
func GRUToken(gi []float64, tokens []int, h, whh []float64, g int) []float64 {
	one := make([]float64, 3*g*3*g) // the input side as it is
	for i := range 3 * g {
		one[i*3*g+i] = 1
	}
	return GRUCell(GatherRows(gi, tokens, 3*g), h, one, whh, len(tokens), g)
}
