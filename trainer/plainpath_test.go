package trainer

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/tensors"
)

// TestSharedRowsMatchThePlainPath compares a step that leaves out rows which nothing reads, and
// does once what equal rows have in common, with one that computes every row: losses,
// activations and all gradients.
func TestSharedRowsMatchThePlainPath(t *testing.T) {
	for _, c := range []struct {
		name              string
		edit              func(*EngineConfig)
		values, gradients float64 // bf16: gradients of equal rows are added before they are rounded
	}{
		{"f32", func(*EngineConfig) {}, 1e-6, 1e-5},
		{"bf16", func(c *EngineConfig) { c.Precision = tensors.BF16 }, 1e-6, 2e-2},
		{"window", func(c *EngineConfig) { c.Draft.SWAWindow = 5 }, 1e-6, 1e-5},
		{"distillation", func(c *EngineConfig) { c.Distill, c.Loss.Distill = 0.5, true }, 1e-6, 1e-5},
		{"plain DFlash", plainDFlash, 1e-6, 1e-5},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain, _ := newSmall(t, smallConfig(c.edit, func(cfg *EngineConfig) { cfg.EveryRow = true }))
			plain.Context.InOrder = true
			want, wantGrads := gradientsOf(t, plain, 0.4, smallBatch())
			wantView := inspect(t, plain, smallBatch())
			plain.Context.InOrder = false
			shared, _ := newSmall(t, smallConfig(c.edit))
			got, grads := gradientsOf(t, shared, 0.4, smallBatch())
			view := inspect(t, shared, smallBatch())

			require.InEpsilon(t, want.Metrics.Loss, got.Metrics.Loss, c.values)
			require.Less(t, distance(view.Hidden, wantView.Hidden), c.values)
			require.Less(t, distance(view.BaseLogits, wantView.BaseLogits), c.values)
			for name, g := range wantGrads {
				require.Less(t, distance(grads[name], g), c.gradients, name)
			}
		})
	}
}

// TestChainsBesideChangeNoBit compares steps whose GRU runs beside the layers with steps in order.
func TestChainsBesideChangeNoBit(t *testing.T) {
	run := func(inOrder bool) map[string][]float32 {
		e, _ := newSmall(t, smallConfig())
		e.Context.InOrder = inOrder
		defer func() { e.Context.InOrder = false }()
		for range 3 {
			_, err := e.Step([]MicroBatch{smallBatch(), row(smallBatch(), 1)}, 0.5, 1e-2)
			require.NoError(t, err)
		}
		return optimizerState(t, e)
	}
	requireSameBits(t, run(true), run(false))
}

// TestPreparingAheadChangesNoBit compares steps that are prepared while the one before runs, in one micro-batch and in
// two, with steps one by one. The update of one of them is skipped: the next must know it. One has no anchor. Passes over
// other rows between two steps change nothing of the one that is prepared.
func TestPreparingAheadChangesNoBit(t *testing.T) {
	inputs := func() (list []StepInput) {
		for i := range 5 {
			b := smallBatch()
			b.IDs = append(b.IDs[i:], b.IDs[:i]...)
			in := StepInput{Batches: []MicroBatch{b}, Lambda: 1 - float64(i)/5, LR: 1e-2}
			if i%2 == 1 {
				in.Batches = append(in.Batches, row(b, 1))
			}
			if i == 4 {
				in.Batches[0].Anchors.Keep = make([]bool, 6)
			}
			list = append(list, in)
		}
		return list
	}
	spoil := func(e *Engine, i int) { // the third step is not finite
		p := domino.Params(e.Config.Draft)[0]
		value, ok := map[int]float64{2: math.NaN(), 3: 0.01}[i]
		if ok {
			require.NoError(t, e.Draft.Params.Set(e.Context, p.Name, slices.Repeat([]float32{float32(value)}, p.Size())))
		}
	}
	run := func(ahead bool, edit func(*EngineConfig)) (map[string][]float32, []float64) {
		e, _ := newSmall(t, smallConfig(edit))
		list := inputs()
		var losses []float64
		next, err := e.Prepare(list[0])
		require.NoError(t, err)
		for i := range list {
			spoil(e, i)
			prepare := func() {
				if i+1 < len(list) {
					next, err = e.Prepare(list[i+1])
				}
			}
			meanwhile, after := func() {}, prepare
			if ahead {
				meanwhile, after = prepare, meanwhile
			}
			out, runErr := e.Run(next, meanwhile)
			require.NoError(t, runErr)
			after()
			require.NoError(t, err)
			require.Equal(t, i != 2, out.Applied)
			if ahead {
				_, err := e.Inspect(row(smallBatch(), 0), 1, false, false)
				require.NoError(t, err)
			}
			if out.Applied {
				losses = append(losses, out.Metrics.Loss)
			}
		}
		return optimizerState(t, e), losses
	}
	for name, edit := range map[string]func(*EngineConfig){
		"domino": func(*EngineConfig) {},
		"dpace": func(c *EngineConfig) { // which decides between its commands
			plainDFlash(c)
			c.Labels.Objective = domino.ObjectiveDPACE
		},
	} {
		t.Run(name, func(t *testing.T) {
			state, losses := run(false, edit)
			gotState, gotLosses := run(true, edit)
			require.Equal(t, losses, gotLosses)
			requireSameBits(t, state, gotState)
		})
	}
}

// TestStepsThatAreGivenUpLeaveNothing: a step that was prepared and dropped, before another one or while it runs, or that cannot
// be prepared, changes no bit of those that run.
func TestStepsThatAreGivenUpLeaveNothing(t *testing.T) {
	good := func(i int) StepInput {
		return StepInput{Batches: []MicroBatch{smallBatch(), row(smallBatch(), i%2)}, Lambda: 0.5, LR: 1e-2}
	}
	other, bad := good(0), good(0)
	other.Batches, other.Lambda = []MicroBatch{row(smallBatch(), 1)}, 1
	bad.Batches[1].Anchors.Anchor = []int32{5, 9, 100}
	run := func(disturb bool) map[string][]float32 {
		e, _ := newSmall(t, smallConfig())
		giveUp := func() {
			if !disturb {
				return
			}
			p, err := e.Prepare(other)
			require.NoError(t, err)
			p.Drop()
			p, err = e.Prepare(bad)
			require.Error(t, err)
			require.Nil(t, p)
			p.Drop()
		}
		for i := range 3 {
			giveUp()
			p, err := e.Prepare(good(i))
			require.NoError(t, err)
			out, err := e.Run(p, giveUp)
			require.NoError(t, err)
			require.True(t, out.Applied)
		}
		return optimizerState(t, e)
	}
	requireSameBits(t, run(false), run(true))
}
