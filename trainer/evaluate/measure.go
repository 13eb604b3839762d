package evaluate

import (
	"math"
	"math/bits"
	"slices"

	"vkdomino/domino"
)

const (
	confidence    = 0.95
	bootstrapSeed = 1
)

// NewMeasure makes numbers of what Generate returned with k drafted tokens, 0 for the target
// alone. alone is what the target alone got for the same prompts. Source: spec.md §14.4.
func NewMeasure(out, alone *domino.Decoding, k, resamples int) Measure {
	m := Measure{Tau: domino.Tau(out.Generations), Histogram: make([]int, k+1), Accepted: make([]float64, k),
		DecodeSeconds: out.Stats.Decode.Seconds(), Lossless: compare(out.Generations, alone.Generations)}
	var means []float64
	given := 0
	for _, g := range out.Generations {
		mean := domino.MeanLength(g.AcceptanceLengths)
		m.Samples = append(m.Samples, mean)
		if len(g.AcceptanceLengths) > 0 {
			means = append(means, mean)
		}
		m.Cycles += len(g.AcceptanceLengths)
		m.Tokens += len(g.Tokens)
		for _, n := range g.AcceptanceLengths {
			m.Histogram[n-1]++
			given += n
		}
		for p, n := range domino.AcceptedByPosition(g.AcceptanceLengths, k) {
			m.Accepted[p] += float64(n)
		}
	}
	for p := range m.Accepted {
		m.Accepted[p] = ratio(m.Accepted[p], float64(m.Cycles))
	}
	m.Low, m.High = Bootstrap(means, resamples, bootstrapSeed)
	cycles := 0
	for _, g := range alone.Generations {
		cycles += len(g.AcceptanceLengths)
	}
	m.CallsPerToken = ratio(float64(m.Cycles), float64(given))
	m.CallSpeedUp = ratio(float64(cycles), float64(m.Cycles))
	m.CycleMillis = 1000 * ratio(m.DecodeSeconds, float64(out.Stats.Cycles))
	m.WallSpeedUp = ratio(alone.Stats.Decode.Seconds(), m.DecodeSeconds)
	return m
}

// ratio is a/b, 0 where b is 0.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// compare counts the answers that are the target's own, token for token.
func compare(got, want []domino.Generation) Lossless {
	l := Lossless{Of: len(want)}
	for i := range want {
		a, b := got[i].Tokens, want[i].Tokens
		if slices.Equal(a, b) {
			l.Equal++
			continue
		}
		if l.Prompt == nil {
			at := 0
			for at < len(a) && at < len(b) && a[at] == b[at] {
				at++
			}
			l.Prompt, l.Position = &i, &at
		}
	}
	return l
}

// Bootstrap is the 95 % percentile interval of the mean of values, over resamples samples
// drawn with replacement by a counter-based generator: the same call gives the same interval.
// Without a value it is 0 to 0.
func Bootstrap(values []float64, resamples int, seed uint64) (low, high float64) {
	if len(values) == 0 || resamples < 1 {
		return 0, 0
	}
	means := make([]float64, resamples)
	for r := range means {
		key := domino.Mix(domino.Mix(seed) ^ uint64(r))
		sum := 0.0
		for i := range values {
			at, _ := bits.Mul64(domino.Mix(key^uint64(i)), uint64(len(values)))
			sum += values[at]
		}
		means[r] = sum / float64(len(values))
	}
	slices.Sort(means)
	return quantile(means, (1-confidence)/2), quantile(means, (1+confidence)/2)
}

// quantile interpolates between the two nearest of sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}
