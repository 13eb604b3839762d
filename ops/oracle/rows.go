package oracle

// GatherRows returns out[i] = in[index[i]], and a row of zeros where index[i] is negative.
// in is [rows, C], index is [N], out is [N, C]. Used to compact the rows that carry weight
// (spec.md §9.1).
func GatherRows(in []float64, index []int, c int) []float64 {
	out := make([]float64, len(index)*c)
	for i, from := range index {
		if from < 0 {
			continue
		}
		copy(out[i*c:(i+1)*c], in[from*c:(from+1)*c])
	}
	return out
}

// ScatterAddRows returns out with out[index[i]] += in[i], leaving negative indices out.
// in is [N, C], index is [N], out is [rows, C] and starts at 0. It is the gradient of GatherRows.
func ScatterAddRows(in []float64, index []int, rows, c int) []float64 {
	out := make([]float64, rows*c)
	for i, to := range index {
		if to < 0 {
			continue
		}
		for j := range c {
			out[to*c+j] += in[i*c+j]
		}
	}
	return out
}

// GatherIDs returns out[i] = src[index[i]] of token ids. Source: spec.md §14.2.
func GatherIDs(src, index []int) []int {
	out := make([]int, len(index))
	for i, from := range index {
		out[i] = src[from]
	}
	return out
}
