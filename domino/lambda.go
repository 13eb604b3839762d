package domino

import "vkdomino/internal/fail"

// LambdaSchedule is the curriculum of lambda_base, the weight of the base loss: a pure
// function of the number of completed optimizer steps, never stored.
type LambdaSchedule struct {
	Start        float64 // dflash_lambda_base_start, in [0,1]
	Ratio        float64 // dflash_lambda_base_decay_ratio, in (0,1]
	Total        int     // T, optimizer steps of the whole run
	TotalUnknown bool    // T was not known: λ is Start at step 0 and 0 after it; warn once
}

// NewLambdaSchedule checks the bounds of start and ratio. total < 1 means that T is not
// known: an error, or with allowUnknown a schedule of one step with TotalUnknown set, as
// Model-Optimizer has it. Source: spec.md §8, §15.1.
func NewLambdaSchedule(start, ratio float64, total int, allowUnknown bool) (LambdaSchedule, error) {
	s := LambdaSchedule{Start: start, Ratio: ratio, Total: total}
	switch {
	case !(start >= 0 && start <= 1):
		return s, fail.New(fail.Usage, "set dflash_lambda_base_start within [0,1]", "domino: dflash_lambda_base_start: want 0 to 1, got %v", start)
	case !(ratio > 0 && ratio <= 1):
		return s, fail.New(fail.Usage, "set dflash_lambda_base_decay_ratio within (0,1]",
			"domino: dflash_lambda_base_decay_ratio: want above 0, at most 1, got %v", ratio)
	case total < 1 && !allowUnknown:
		return s, fail.New(fail.Usage, "set training.max_steps, or compat.allow_unknown_total_steps = true",
			"domino: lambda schedule: want a known number of training steps, got %d", total)
	case total < 1:
		s.Total, s.TotalUnknown = 1, true
	}
	return s, nil
}

// At returns lambda_base before the update that follows g completed optimizer steps:
//
//	decay_steps = max(1, trunc(T*ratio)),  λ = clamp(start * (1 - min(g/decay_steps, 1)), 0, 1)
//
// in float64. All micro-batches of a step share it. Source: spec.md §8.
func (s LambdaSchedule) At(g int) float64 {
	decaySteps := max(1, int(float64(s.Total)*s.Ratio))
	progress := min(float64(g)/float64(decaySteps), 1)
	return min(max(s.Start*(1-progress), 0), 1)
}
