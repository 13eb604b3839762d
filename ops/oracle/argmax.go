package oracle

// Argmax returns the index of the largest value, the smallest index where several are equal,
// and -1 for an empty slice. Source: spec.md §7.4.
func Argmax(x []float64) int {
	best := -1
	for i, v := range x {
		if best < 0 || v > x[best] {
			best = i
		}
	}
	return best
}
