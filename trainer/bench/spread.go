package bench

import (
	"slices"
	"time"
)

// Spread is the distribution of a time over several runs, in milliseconds.
type Spread struct {
	Median float64 `json:"median_ms"`
	Min    float64 `json:"min_ms"`
	P25    float64 `json:"p25_ms"`
	P75    float64 `json:"p75_ms"`
	Max    float64 `json:"max_ms"`
	Runs   int     `json:"runs"`
}

// NewSpread sorts the times of runs; none gives the zero Spread.
func NewSpread(runs []time.Duration) Spread {
	if len(runs) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(runs))
	at := func(q float64) float64 { // between the two nearest runs
		x := q * float64(len(s)-1)
		i := int(x)
		lo, hi := ms(s[i]), ms(s[min(i+1, len(s)-1)])
		return lo + (hi-lo)*(x-float64(i))
	}
	return Spread{Median: at(0.5), Min: at(0), P25: at(0.25), P75: at(0.75), Max: at(1), Runs: len(s)}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
