package oracle

import "math"

// LogSumExp is a streaming ln Σ exp(x) that never overflows. The zero value has seen nothing.
// Source: spec.md §9.5, pass 1.
type LogSumExp struct {
	Max float64 // largest x seen, m
	Sum float64 // Σ exp(x - m), s; 0 where no x above -Inf has been seen
}

// Add takes in more values: m' = max(m, x), s = s*exp(m-m') + exp(x-m').
func (l *LogSumExp) Add(xs ...float64) {
	for _, x := range xs {
		if !math.IsInf(x, -1) {
			l.Merge(LogSumExp{Max: x, Sum: 1})
		}
	}
}

// Merge takes in all that other has seen: s = s*exp(m-m') + s_other*exp(m_other-m'), where
// m' is the larger maximum. +Inf gives +Inf, NaN gives NaN.
func (l *LogSumExp) Merge(other LogSumExp) {
	switch {
	case other.Sum == 0:
	case l.Sum == 0:
		*l = other
	case l.Max == other.Max: // also where both are +Inf
		l.Sum += other.Sum
	case l.Max < other.Max:
		l.Sum = l.Sum*math.Exp(l.Max-other.Max) + other.Sum
		l.Max = other.Max
	default:
		l.Sum += other.Sum * math.Exp(other.Max-l.Max)
	}
}

// Value returns m + ln s, and -Inf where nothing has been seen.
func (l LogSumExp) Value() float64 {
	if l.Sum == 0 {
		return math.Inf(-1)
	}
	return l.Max + math.Log(l.Sum)
}
