package trainer

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// C41 of spec.md §19.A: the values of §10.
func TestScheduleLR(t *testing.T) {
	const peak = 6e-4
	for _, tc := range []struct {
		kind  ScheduleKind
		total int
		want  map[int]float64
	}{
		{ScheduleLinear, 1000, map[int]float64{0: 0, 1: 1.5e-5, 20: 3e-4, 40: 6e-4, 520: 3e-4, 999: 6.25e-7, 1000: 0, 2000: 0}},
		{ScheduleLinear, 2000, map[int]float64{1: 7.5e-6, 80: 6e-4, 1040: 3e-4}},
		{ScheduleCosine, 1000, map[int]float64{0: 1.5e-5, 39: 6e-4, 40: 6e-4, 41: 5.999984e-4, 520: 3e-4, 999: 1.6064e-9, 1000: 0, 2000: 0}},
		{ScheduleConstant, 1000, map[int]float64{0: 1.5e-5, 39: 6e-4, 40: 6e-4, 999: 6e-4, 5000: 6e-4}},
	} {
		s, err := NewSchedule(tc.kind, peak, tc.total, 0.04, 0)
		require.NoError(t, err)
		for step, want := range tc.want {
			require.InDelta(t, want, s.LR(step), max(1e-6*want, 5e-14), "%s T=%d step %d", tc.kind, tc.total, step)
		}
	}
}

func TestScheduleWarmup(t *testing.T) {
	for _, tc := range []struct {
		kind  ScheduleKind
		total int
		ratio float64
		steps int
		want  int
	}{
		{ScheduleLinear, 2000, 0.04, 0, 80},
		{ScheduleLinear, 100, 0.07, 0, 8}, // C43: 100*.07 is above 7 in float64
		{ScheduleCosine, 100, 0.07, 0, 7},
		{ScheduleCosine, 100, 0.29, 0, 28}, // C43
		{ScheduleConstant, 100, 0, 0, 0},
		{ScheduleLinear, 100, 0.5, 3, 3}, // warmup_steps wins
		{ScheduleLinear, 10, 1, 0, 10},
	} {
		s, err := NewSchedule(tc.kind, 1, tc.total, tc.ratio, tc.steps)
		require.NoError(t, err)
		require.Equal(t, tc.want, s.Warmup, "%+v", tc)
	}
}

func TestScheduleWithoutWarmup(t *testing.T) {
	for _, kind := range []ScheduleKind{ScheduleLinear, ScheduleCosine, ScheduleConstant} {
		s, err := NewSchedule(kind, 2, 10, 0, 0)
		require.NoError(t, err)
		require.Equal(t, 2.0, s.LR(0), kind)
	}
}

// Neither a warm-up as long as the run nor one longer than it may give NaN or exceed the peak.
func TestScheduleLongWarmup(t *testing.T) {
	for _, kind := range []ScheduleKind{ScheduleLinear, ScheduleCosine, ScheduleConstant} {
		for _, warmup := range []int{10, 25} {
			s, err := NewSchedule(kind, 1, 10, 0, warmup)
			require.NoError(t, err)
			for step := range 12 {
				lr := s.LR(step)
				require.True(t, lr >= 0 && lr <= 1, "%s warm-up %d step %d: %v", kind, warmup, step, lr)
			}
		}
	}
}

func TestNewScheduleErrors(t *testing.T) {
	for want, call := range map[string]func() (Schedule, error){
		`lr_scheduler_type: want linear, cosine or constant, got "step"`: func() (Schedule, error) { return NewSchedule("step", 1, 10, 0, 0) },
		"learning_rate: want above 0, got 0":                             func() (Schedule, error) { return NewSchedule(ScheduleLinear, 0, 10, 0, 0) },
		"learning_rate: want above 0, got NaN":                           func() (Schedule, error) { return NewSchedule(ScheduleLinear, math.NaN(), 10, 0, 0) },
		"max_steps: want at least 1 step, got 0":                         func() (Schedule, error) { return NewSchedule(ScheduleLinear, 1, 0, 0, 0) },
		"warmup_ratio: want 0 to 1, got 1.5":                             func() (Schedule, error) { return NewSchedule(ScheduleLinear, 1, 10, 1.5, 0) },
		"warmup_steps: want 0 or more, got -1":                           func() (Schedule, error) { return NewSchedule(ScheduleLinear, 1, 10, 0, -1) },
	} {
		_, err := call()
		require.ErrorContains(t, err, want)
		require.Equal(t, fail.Usage, fail.CodeOf(err))
	}
}

// C42.
func TestRunLengthSteps(t *testing.T) {
	for _, tc := range []struct {
		run  RunLength
		want int
	}{
		{RunLength{Samples: 50000, Batch: 1, Accum: 1, World: 8, Epochs: 1}, 6250},
		{RunLength{Samples: 1420000, Batch: 2, Accum: 1, World: 8, Epochs: 3}, 266250},
		{RunLength{Samples: 50000, Batch: 1, Accum: 4, World: 8, Epochs: 6}, 9378},
		{RunLength{Samples: 50000, Batch: 1, Accum: 1, World: 8, Epochs: 6, MaxSteps: 2000}, 2000},
		{RunLength{Samples: 10, Batch: 4, Accum: 8, World: 1, Epochs: 1}, 1},
		{RunLength{Samples: 10, Batch: 1, Accum: 1, World: 1, Epochs: 0.25}, 3},
	} {
		got, err := tc.run.Steps()
		require.NoError(t, err)
		require.Equal(t, tc.want, got, "%+v", tc.run)
	}
}

func TestRunLengthErrors(t *testing.T) {
	_, err := RunLength{Samples: 3, Batch: 4, Accum: 1, World: 1, MaxSteps: 5}.Steps()
	require.ErrorContains(t, err, "want at least 4 usable rows for one batch, got 3")
	require.Equal(t, fail.Other, fail.CodeOf(err))
	_, err = RunLength{Samples: 3, Accum: 1, World: 1}.Steps()
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	for _, epochs := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		_, err = RunLength{Samples: 3, Batch: 1, Accum: 1, World: 1, Epochs: epochs}.Steps()
		require.ErrorContains(t, err, "num_train_epochs")
	}
}

// Every micro-batch of an epoch is read exactly once, in order.
func TestRunLengthLocate(t *testing.T) {
	run := RunLength{Samples: 23, Batch: 2, Accum: 4, World: 1, Epochs: 2}
	steps, err := run.Steps()
	require.NoError(t, err)
	require.Equal(t, 6, steps)
	next := map[int]int{}
	for g := range steps {
		epoch, first, batches := run.Locate(g)
		require.Equal(t, next[epoch], first)
		next[epoch] += batches
	}
	require.Equal(t, map[int]int{0: 11, 1: 11}, next)
}
