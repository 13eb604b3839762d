package oracle

// Embedding returns out[i] = table[ids[i]], the target's token embeddings, unscaled.
// table is [V, H], ids is [N] with 0 <= id < V, out is [N, H]. There is no gradient: the table
// is frozen (spec.md §1.3). Source: spec.md §4.1.
func Embedding(table []float64, ids []int, h int) []float64 {
	out := make([]float64, 0, len(ids)*h)
	for _, id := range ids {
		out = append(out, table[id*h:(id+1)*h]...)
	}
	return out
}
