package bench

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/testgpu"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// gpu is a device as far as counting goes.
var gpu = vk.Info{SubgroupSize: 32, MaxInvocations: 1024, SharedBytes: 48 << 10, MaxBindingBytes: 1<<32 - 1, HeapBytes: 80 << 30}

func preset(t *testing.T, name string) Preset {
	t.Helper()
	p, err := Find(name)
	require.NoError(t, err)
	return p
}

func TestSpread(t *testing.T) {
	require.Equal(t, Spread{}, NewSpread(nil))
	runs := []time.Duration{4 * time.Millisecond, 1 * time.Millisecond, 3 * time.Millisecond, 2 * time.Millisecond, 10 * time.Millisecond}
	require.Equal(t, Spread{Median: 3, Min: 1, P25: 2, P75: 4, Max: 10, Runs: 5}, NewSpread(runs))
	require.InDelta(t, 2.5, NewSpread(runs[:4]).Median, 1e-9)
}

// TestMinimumWorkOfQwen3x8B holds the count to the figures per sample that are known for these
// shapes, in TFLOP: 4096 draft rows and 768 context rows.
func TestMinimumWorkOfQwen3x8B(t *testing.T) {
	p := preset(t, "qwen3-8b")
	p.Batch = 1
	_, l, err := p.microBatch()
	require.NoError(t, err)
	require.Equal(t, 4096, l.DraftRows())
	want := map[string]float64{"fc": 0.258, "context keys, values": 0.193, "draft queries": 2.062, "draft keys, values": 1.031,
		"attention output": 2.062, "MLP gate, up": 12.370, "MLP down": 6.185, "attention": 0.469, "GRU input": 0.206, "GRU recurrence": 0.077,
		"correction in": 0.030, "correction out": 0.896, "LM head": 10.196}
	parts := MinimumWork(p, l, 4096, 4096*15/16)
	require.Len(t, parts, len(want))
	for _, part := range parts {
		// attention depends on the anchors drawn; the recurrence's first step has no product
		delta := map[string]float64{"attention": 0.03, "GRU recurrence": 0.07}[part.Name] + 1e-3
		require.InEpsilon(t, want[part.Name], part.Total()/1e12, delta+0.01, part.Name)
	}
	require.InEpsilon(t, 36.03, totalOf(parts)/1e12, 2e-3)
	require.InEpsilon(t, 10.2, TargetWork(p)/1e12, 1e-2)
}

// TestStepDoesTheMinimumWork counts what the recorded step asks of the matrix kernels.
func TestStepDoesTheMinimumWork(t *testing.T) {
	for _, name := range []string{"toy", "qwen3-8b", "specforge"} {
		t.Run(name, func(t *testing.T) {
			p := preset(t, name)
			parts, executed, _, err := CountStep(p, tensors.BF16, gpu)
			require.NoError(t, err)
			minimum := totalOf(parts)
			// The attention kernels compute some scores twice; equal rows may be computed once.
			require.Greater(t, executed, 0.95*minimum)
			require.Less(t, executed, 1.04*minimum)
		})
	}
}

// The draft's random weights have the deviations of initial values.
func TestDraftValues(t *testing.T) {
	for _, c := range []struct {
		init domino.Init
		mean float64
		want float64
	}{{domino.Init{Kind: domino.InitNormal, Scale: 0.02}, 0, 0.02}, {domino.Init{Kind: domino.InitUniform, Scale: 0.3}, 0, 0.3 / math.Sqrt(3)}, {domino.Init{Kind: domino.InitOnes}, 1, 0}} {
		v := draftValues(domino.ParamSpec{Name: "w", Shape: []int{300, 1000}, Init: c.init})
		require.Len(t, v, 300_000)
		sum, squares := 0.0, 0.0
		for _, x := range v {
			sum += float64(x)
			squares += (float64(x) - c.mean) * (float64(x) - c.mean)
		}
		require.InDelta(t, c.mean, sum/3e5, 0.01*c.want+1e-9)
		require.InDelta(t, c.want, math.Sqrt(squares/3e5), 0.01*c.want+1e-9)
	}
}

func TestStepOnTheDevice(t *testing.T) {
	c := testgpu.Context(t)
	p := small(t)
	for _, how := range []struct{ optimizer, target bool }{{true, false}, {false, false}, {true, true}} {
		p.Optimizer = how.optimizer
		var early StepReport
		r, err := Step(c, p, StepOptions{Precision: tensors.F32, Runs: 2, Table: true, Target: how.target, Timed: func(r *StepReport) error { early = *r; return nil }})
		require.NoError(t, err)
		require.Equal(t, r.Total, early.Total)
		require.Empty(t, early.Table)
		require.Equal(t, 2, r.Total.Runs)
		require.NotEmpty(t, r.Table)
		require.InDelta(t, 4.85, r.Loss, 0.5, "near ln 128 with random weights")
		require.Positive(t, r.GradNorm, "%v", how)
		require.GreaterOrEqual(t, r.Memory.Allocated, r.Memory.Planned)
		require.InEpsilon(t, r.Memory.Planned, r.Memory.Allocated, 0.05)
		if usesClock(c.Device) {
			want := []string{"forward", "backward", "optimizer"}
			if how.target {
				want = append([]string{"target"}, want...)
			}
			require.Equal(t, want, r.PhaseNames())
			require.LessOrEqual(t, r.OnDevice.Min, r.Total.Max)
		}
	}
}
