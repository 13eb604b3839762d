package evaluate

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/testgpu"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
	"vkdomino/trainer/pair"
)

const (
	goldenTarget = "../../testdata/golden/gen-b8/target"
	goldenExport = "../../testdata/golden/gen-b8/export"
)

// loadGolden uploads the target of gen-b8 for contexts of so many positions.
func loadGolden(t *testing.T, positions int) (*ops.Context, *model.Target) {
	t.Helper()
	c := testgpu.Context(t)
	files, err := pair.OpenTarget(goldenTarget, "")
	require.NoError(t, err)
	defer files.Close()
	target, err := files.Load(t.Context(), c, positions, tensors.F32)
	require.NoError(t, err)
	return c, target
}

// A target agrees with every token that it has decoded itself, and with none of those that
// were replaced; how rows share passes makes no difference.
func TestAgreement(t *testing.T) {
	const answer = 24
	c, target := loadGolden(t, 64)
	d, err := domino.NewDecoder(c, domino.DecoderConfig{Target: target, Slots: 4, Context: 64})
	require.NoError(t, err)
	prompts := [][]int32{{536, 535, 395}, {273, 592, 198, 330, 470}, {7}, {198, 268}, {11, 306, 259}}
	out, err := d.Generate(context.Background(), prompts, domino.DecodeOptions{MaxNewTokens: answer}, nil)
	require.NoError(t, err)
	var rows []data.Row
	supervised, wrong := 0, 0
	for i, p := range prompts {
		row := data.Row{IDs: append(slices.Clone(p), out.Generations[i].Tokens...)}
		row.LossMask = make([]uint8, len(row.IDs))
		row.LossMask[0] = 1 // has no token before it: not counted
		for j := len(p); j < len(row.IDs); j++ {
			row.LossMask[j] = 1
			supervised++
		}
		if i%2 == 0 { // the last token, so that no other changes
			last := len(row.IDs) - 1
			row.IDs[last] = (row.IDs[last] + 1) % 1000
			wrong++
		}
		rows = append(rows, row)
	}
	for _, batch := range []int{1, 3, 16} {
		done := 0
		a, err := MeasureAgreement(context.Background(), c, target, rows, batch, func(n int) { done = n })
		require.NoError(t, err)
		require.Equal(t, Agreement{Tokens: supervised, Agree: supervised - wrong}, a)
		require.Equal(t, len(rows), done)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = MeasureAgreement(ended, c, target, rows, 2, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAgreementWithoutARow(t *testing.T) {
	c, target := loadGolden(t, 8)
	a, err := MeasureAgreement(context.Background(), c, target, nil, 4, nil)
	require.NoError(t, err)
	require.Zero(t, a.Share())
}
