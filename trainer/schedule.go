package trainer

import (
	"math"

	"vkdomino/internal/fail"
)

// ScheduleKind is a learning-rate schedule, training.lr_scheduler_type.
type ScheduleKind string

// The schedules. Source: spec.md §10.
const (
	ScheduleLinear   ScheduleKind = "linear"   // Model-Optimizer: warm-up from 0, then linearly to 0
	ScheduleCosine   ScheduleKind = "cosine"   // SpecForge: warm-up from peak/W, then half a cosine to 0
	ScheduleConstant ScheduleKind = "constant" // warm-up from peak/W, then the peak
)

// Schedule is a learning rate as a pure function of the number of completed optimizer steps.
type Schedule struct {
	Kind   ScheduleKind
	Peak   float64 // training.learning_rate
	Total  int     // T, optimizer steps of the whole run
	Warmup int     // W, warm-up steps
}

// NewSchedule resolves the warm-up: warmupSteps where it is above 0, otherwise
// W = ceil(T*warmupRatio) for linear and trunc(T*warmupRatio) for the others, in float64.
// Values out of range and an unknown kind are usage errors. Source: spec.md §10, §15.3.
func NewSchedule(kind ScheduleKind, peak float64, total int, warmupRatio float64, warmupSteps int) (Schedule, error) {
	s := Schedule{Kind: kind, Peak: peak, Total: total, Warmup: warmupSteps}
	switch {
	case kind != ScheduleLinear && kind != ScheduleCosine && kind != ScheduleConstant:
		return s, scheduleError("lr_scheduler_type", "want linear, cosine or constant, got %q", kind)
	case !(peak > 0) || math.IsInf(peak, 0):
		return s, scheduleError("learning_rate", "want above 0, got %v", peak)
	case total < 1:
		return s, scheduleError("max_steps", "want at least 1 step, got %d", total)
	case !(warmupRatio >= 0 && warmupRatio <= 1):
		return s, scheduleError("warmup_ratio", "want 0 to 1, got %v", warmupRatio)
	case warmupSteps < 0:
		return s, scheduleError("warmup_steps", "want 0 or more, got %d", warmupSteps)
	}
	if warmupSteps == 0 {
		exact := float64(total) * warmupRatio
		s.Warmup = int(exact)
		if kind == ScheduleLinear {
			s.Warmup = int(math.Ceil(exact))
		}
	}
	return s, nil
}

func scheduleError(key, format string, args ...any) error {
	return fail.New(fail.Usage, "change training."+key, "trainer: training."+key+": "+format, args...)
}

// LR returns the learning rate of the update that follows s completed steps:
//
//	linear    s < W: peak*s/W        then peak * max(0, (T-s)/max(1, T-W))
//	cosine    s < W: peak*(s+1)/W    then peak * (1 + cos(π (s-W)/(T-W)))/2
//	constant  s < W: peak*(s+1)/W    then peak
//
// and 0 from step T on, but for constant. Source: spec.md §10.
func (c Schedule) LR(s int) float64 {
	T, W := float64(c.Total), float64(c.Warmup)
	step := float64(s)
	switch {
	case s < c.Warmup && c.Kind == ScheduleLinear:
		return c.Peak * step / W
	case s < c.Warmup:
		return c.Peak * (step + 1) / W
	case c.Kind == ScheduleConstant || s == c.Warmup && c.Kind == ScheduleCosine:
		return c.Peak
	case c.Kind == ScheduleLinear:
		return c.Peak * max(0, (T-step)/max(1, T-W))
	case s >= c.Total:
		return 0
	default:
		return c.Peak * (1 + math.Cos(math.Pi*(step-W)/(T-W))) / 2
	}
}

// RunLength is what the number of optimizer steps follows from.
type RunLength struct {
	Samples  int     // usable rows of the data set
	Batch    int     // per_device_train_batch_size
	Accum    int     // gradient_accumulation_steps
	World    int     // ranks that share the data; 1 for one device
	Epochs   float64 // num_train_epochs
	MaxSteps int     // max_steps where above 0; it overrides Epochs
}

// BatchesPerEpoch is nb = floor(n/(batch*world)): an incomplete batch is dropped.
func (r RunLength) BatchesPerEpoch() int { return r.Samples / (r.Batch * r.World) }

// StepsPerEpoch is u = max(1, ceil(nb/accum)): the last step of an epoch may have fewer
// micro-batches than the others.
func (r RunLength) StepsPerEpoch() int {
	return max(1, (r.BatchesPerEpoch()+r.Accum-1)/r.Accum)
}

// Steps returns T: max_steps if above 0, else ceil(epochs*u). Sizes below 1, no epochs and
// fewer samples than one batch are errors; the last has exit code 1. Source: spec.md §10.
func (r RunLength) Steps() (int, error) {
	if r.Batch < 1 || r.Accum < 1 || r.World < 1 {
		return 0, scheduleError("per_device_train_batch_size", "want batch, accumulation and ranks of at least 1, got %d, %d, %d", r.Batch, r.Accum, r.World)
	}
	if r.BatchesPerEpoch() < 1 {
		return 0, fail.New(fail.Other, "add data or lower training.per_device_train_batch_size",
			"trainer: data: want at least %d usable rows for one batch, got %d", r.Batch*r.World, r.Samples)
	}
	if r.MaxSteps > 0 {
		return r.MaxSteps, nil
	}
	steps := math.Ceil(r.Epochs * float64(r.StepsPerEpoch()))
	if !(steps >= 1 && steps <= math.MaxInt32) {
		return 0, scheduleError("num_train_epochs", "want above 0 and at most %d steps, got %v epochs", math.MaxInt32, r.Epochs)
	}
	return int(steps), nil
}

// Locate returns where optimizer step g (completed steps before it) reads: its epoch, the
// first micro-batch within that epoch, and how many micro-batches it takes.
func (r RunLength) Locate(g int) (epoch, firstBatch, batches int) {
	perEpoch := r.StepsPerEpoch()
	epoch, firstBatch = g/perEpoch, g%perEpoch*r.Accum
	return epoch, firstBatch, min(r.Accum, r.BatchesPerEpoch()-firstBatch)
}
