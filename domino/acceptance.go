package domino

import "slices"

// AcceptedPrefix is the number of drafted tokens that verification accepts by equality: the
// longest prefix with drafts[j] == posterior[j], where posterior[j] is the target's token
// after j drafts. Source: spec.md §14.2.
func AcceptedPrefix(drafts, posterior []int32) int {
	n := 0
	for n < len(drafts) && drafts[n] == posterior[n] {
		n++
	}
	return n
}

// CutTokens returns how many generated tokens count: up to the first stop token, that one
// included, and at most maxNew; stopped says whether there is one. Source: spec.md §14.2.
func CutTokens(generated, stops []int32, maxNew int) (n int, stopped bool) {
	at := slices.IndexFunc(generated, func(id int32) bool { return slices.Contains(stops, id) })
	if at < 0 {
		return min(len(generated), maxNew), false
	}
	return min(at+1, maxNew), true
}

// MeanLength is the mean of a prompt's acceptance lengths, 0 without a cycle: its τ.
func MeanLength(lengths []int) float64 {
	if len(lengths) == 0 {
		return 0
	}
	sum := 0
	for _, n := range lengths {
		sum += n
	}
	return float64(sum) / float64(len(lengths))
}

// Tau is the acceptance length of several prompts: the mean over those with a cycle of the
// means over all their cycles; 0 without one. Source: spec.md §14.4.
func Tau(generations []Generation) float64 {
	sum, n := 0.0, 0
	for _, g := range generations {
		if len(g.AcceptanceLengths) > 0 {
			sum += MeanLength(g.AcceptanceLengths)
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// AcceptedByPosition counts, for each of k drafted positions, the cycles that accepted it.
func AcceptedByPosition(lengths []int, k int) []int {
	counts := make([]int, k)
	for _, n := range lengths {
		for p := range min(n-1, k) {
			counts[p]++
		}
	}
	return counts
}
