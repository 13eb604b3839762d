package trainer

import (
	"testing"

	"github.com/stretchr/testify/require"

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
