package oracle

// RejectionSample verifies the drafts of one slot: p has a row of probabilities for each
// draft and one more, q a row for each draft, accept and draw a uniform number for each row
// of p. Draft j is accepted where accept[j] * q[j][draft] < p[j][draft]. It returns the
// number of accepted drafts and the token after them: of the first that is not accepted a
// draw from max(p[j]-q[j], 0), normalised, and where all are a draw from the last row.
// Source: spec.md §14.3.
func RejectionSample(p, q [][]float64, drafts []int, accept, draw []float64) (accepted, token int) {
	for j, d := range drafts {
		if accept[j]*q[j][d] < p[j][d] {
			continue
		}
		residual, sum := make([]float64, len(p[j])), 0.0
		for i := range residual {
			residual[i] = max(p[j][i]-q[j][i], 0)
			sum += residual[i]
		}
		for i := range residual {
			residual[i] /= sum
		}
		return j, SampleIndex(residual, draw[j])
	}
	return len(drafts), SampleIndex(p[len(drafts)], draw[len(drafts)])
}
