package trainer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/tensors"
)

// TestSharedRowsMatchThePlainPath compares work that is done once for equal rows with the same
// done for every row: losses, activations and all gradients.
func TestSharedRowsMatchThePlainPath(t *testing.T) {
	for _, c := range []struct {
		dtype             tensors.DType
		values, gradients float64 // bf16: gradients of equal rows are added before they are rounded
	}{{tensors.F32, 1e-6, 1e-5}, {tensors.BF16, 1e-6, 2e-2}} {
		t.Run(c.dtype.String(), func(t *testing.T) {
			plain, _ := newSmall(t, smallConfig(func(cfg *EngineConfig) { cfg.Precision, cfg.EveryRow = c.dtype, true }))
			want, wantGrads := gradientsOf(t, plain, 0.4, smallBatch())
			wantView := inspect(t, plain, smallBatch())
			shared, _ := newSmall(t, smallConfig(func(cfg *EngineConfig) { cfg.Precision = c.dtype }))
			got, grads := gradientsOf(t, shared, 0.4, smallBatch())
			view := inspect(t, shared, smallBatch())

			require.InEpsilon(t, want.Metrics.Loss, got.Metrics.Loss, c.values)
			require.Less(t, distance(view.Hidden, wantView.Hidden), c.values)
			require.Less(t, distance(view.FinalLogits, wantView.FinalLogits), c.values)
			for name, g := range wantGrads {
				require.Less(t, distance(grads[name], g), c.gradients, name)
			}
		})
	}
}
