package trainer

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/metrics"
)

// A weight that is not finite, in each tensor in turn: the update is skipped, and neither
// weights nor optimizer state change by a bit.
func TestNonFiniteWeightSkipsTheUpdate(t *testing.T) {
	for _, dtype := range []tensors.DType{tensors.F32, tensors.BF16} {
		t.Run(dtype.String(), func(t *testing.T) {
			e, weights := newSmall(t, smallConfig(func(c *EngineConfig) { c.Precision = dtype }))
			_, err := e.Step([]MicroBatch{smallBatch()}, 0.5, 1e-2) // moments that are not zero
			require.NoError(t, err)
			for _, p := range domino.Params(e.Config.Draft) {
				good := weights[p.Name][p.Size()/2]
				weights[p.Name][p.Size()/2] = float32(math.NaN()) // an infinite gate weight would only saturate its gate
				require.NoError(t, e.Draft.Params.Set(e.Context, p.Name, weights[p.Name]))
				before, updates := optimizerState(t, e), e.Updates
				out, err := e.Step([]MicroBatch{smallBatch()}, 0.5, 1e-2)
				require.NoError(t, err)
				require.False(t, out.Applied, p.Name)
				require.Equal(t, updates, e.Updates)
				requireSameBits(t, before, optimizerState(t, e))
				weights[p.Name][p.Size()/2] = good
				require.NoError(t, e.Draft.Params.Set(e.Context, p.Name, weights[p.Name]))
			}
			out, err := e.Step([]MicroBatch{smallBatch()}, 0.5, 1e-2)
			require.NoError(t, err)
			require.True(t, out.Applied, "with finite weights the run goes on")
		})
	}
}

// A loss that is finite with a gradient that is not.
func TestNonFiniteGradientSkipsTheUpdate(t *testing.T) {
	e, weights := newSmall(t, smallConfig())
	// The head's pre-activations are large and its output is nothing, so that the loss is as without a
	// head, and the squared norm of the gradient of W2 overflows.
	big := make([]float32, len(weights["embed_proj.0.weight"]))
	for i := range big {
		big[i] = 1e25
	}
	require.NoError(t, e.SetDraft("embed_proj.0.weight", big))
	require.NoError(t, e.SetDraft("embed_proj.2.weight", make([]float32, len(weights["embed_proj.2.weight"]))))
	before := optimizerState(t, e)
	out, err := e.Step([]MicroBatch{smallBatch()}, 0.5, 1e-2)
	require.NoError(t, err)
	require.Empty(t, out.NonFinite, "the loss is finite")
	require.False(t, math.IsNaN(out.Metrics.Loss) || math.IsInf(out.Metrics.Loss, 0))
	require.False(t, out.Applied)
	requireSameBits(t, before, optimizerState(t, e))
}

// poison puts a NaN into a checkpoint's weights.
func poison(t *testing.T, dir string, step int) {
	t.Helper()
	rewrite(t, dir, step, func(_ *checkpoint.State, params []checkpoint.Param) []checkpoint.Param {
		for i, p := range params {
			if p.Name == "fc.weight" {
				values, err := p.Master()
				require.NoError(t, err)
				values[3] = float32(math.NaN())
				params[i].Master = func() ([]float32, error) { return values, nil }
			}
		}
		return params
	})
}

// A run whose gradients stay non-finite skips eight updates and then ends with code 6; its
// checkpoints say what was skipped, and hold the optimizer state of before.
func TestRunEndsAfterTooManySkippedUpdates(t *testing.T) {
	dir, long := t.TempDir(), "training.max_steps=40"
	_, err := train(t, dir, 2, Options{}, long)
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	poison(t, dir, 2)
	text, err := train(t, dir, toTheEnd, Options{}, long, "training.save_steps=1")
	require.ErrorIs(t, err, ErrNonFinite)
	require.ErrorContains(t, err, "step 9: 8 updates skipped in a row")
	require.Equal(t, fail.NonFinite, fail.CodeOf(err))
	require.NotEmpty(t, fail.HintOf(err))
	require.Contains(t, text, "warning: step 2: update skipped: not finite: micro-batch 0, head row 0")

	rows := readRows(t, dir)
	require.Len(t, rows, 9, "steps 0 to 8; the run ended in step 9")
	skipped, _ := rows[8].Value(metrics.SkippedUpdates)
	require.Equal(t, 7.0, skipped)
	st := load(t, checkpoint.Dir(dir, 9)).State
	require.Equal(t, [3]int{9, 2, 7}, [3]int{st.Step, st.UpdatesApplied, st.SkippedUpdates})
	for _, name := range []string{checkpoint.ModelFile, checkpoint.OptimizerFile} {
		requireSameBytes(t, filepath.Join(checkpoint.Dir(dir, 2), name), filepath.Join(checkpoint.Dir(dir, 9), name))
	}

	// The count of skips in a row goes on in the next process.
	_, err = train(t, dir, toTheEnd, Options{}, long)
	require.ErrorContains(t, err, "step 9: 8 updates skipped in a row")
}

// Skips that are not in a row end the run when they are more than 1 % of the last 1000 steps.
func TestSkippedUpdatesAreCountedOverAWindow(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	skip, fine := &StepResult{GradNorm: math.Inf(1)}, &StepResult{Applied: true}
	lastStep := func(every int) int {
		r := &run{progress: metrics.NewProgress(null, 5000, 0, 1000, false)}
		for g := range 5000 {
			out := fine
			if g%every == 0 {
				out = skip
			}
			if err := r.judge(g, out); err != nil {
				require.Equal(t, fail.NonFinite, fail.CodeOf(err))
				require.ErrorContains(t, err, "gradient norm +Inf")
				return g
			}
		}
		return 5000
	}
	require.Equal(t, 5000, lastStep(100), "10 in 1000 steps are 1 %")
	require.Equal(t, 10*99, lastStep(99), "the 11th within 1000 steps is more")
	require.Equal(t, 7, lastStep(1))
}
