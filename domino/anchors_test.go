package domino

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"vkdomino/internal/fail"
)

// exampleMask is the loss mask of spec.md §3.6 (S=12, bs=4).
var exampleMask = []float32{0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1}

// C8 and C9.
func TestEligible(t *testing.T) {
	for _, tc := range []struct {
		rule AnchorRule
		mask []float32
		bs   int
		want []int32
	}{
		{AnchorModelOpt, exampleMask, 4, []int32{2, 3, 4, 7, 8}},
		{AnchorNeMo, exampleMask, 4, []int32{2, 3, 4, 7, 8}},
		{AnchorSpecForge, exampleMask, 4, []int32{2, 3, 7, 8, 9, 10}},
		{AnchorSpecForge, []float32{1, 1, 0, 1, 0, 1, 1}, 4, []int32{0, 5}},
		{AnchorModelOpt, []float32{1, 1}, 8, []int32{0}}, // S < bs: only position 0
		{AnchorSpecForge, []float32{1}, 4, nil},
		{AnchorModelOpt, nil, 4, nil},
		{AnchorSpecForge, []float32{0.5, 1, 0.6}, 4, []int32{1}}, // the threshold is exclusive
	} {
		got, err := Eligible(tc.rule, tc.mask, tc.bs)
		require.NoError(t, err)
		require.Equal(t, tc.want, got, "%s %v", tc.rule, tc.mask)
	}
}

func TestSampleAnchorsWidth(t *testing.T) {
	for _, tc := range []struct {
		rule       AnchorRule
		numAnchors int
		want       int
	}{
		{AnchorModelOpt, 8, 4}, {AnchorModelOpt, 3, 3}, {AnchorSpecForge, 8, 6}, {AnchorNeMo, 8, 5}, {AnchorSpecForge, 2, 2},
	} {
		a, err := SampleAnchors(tc.rule, exampleMask, 1, 12, 4, tc.numAnchors, 42, 0, 0)
		require.NoError(t, err)
		require.Equal(t, tc.want, a.N, "%s %d", tc.rule, tc.numAnchors)
	}
}

// C10: one eligible position gives nothing under the modelopt rule.
func TestSampleAnchorsOneEligible(t *testing.T) {
	mask := []float32{0, 1, 0, 0, 0, 0}
	for rule, want := range map[AnchorRule]int{AnchorModelOpt: 0, AnchorSpecForge: 0, AnchorNeMo: 1} {
		a, err := SampleAnchors(rule, mask, 1, 6, 4, 8, 42, 0, 0)
		require.NoError(t, err)
		require.Equal(t, want, a.N, rule)
	}
}

// C11: the keys and draws of spec.md §3.6.
func TestAnchorKeys(t *testing.T) {
	require.Equal(t, uint64(0xe220a8397b1dcdaf), Mix(0))
	require.Equal(t, uint64(0xbdd732262feb6e95), Mix(42))
	for a, want := range map[uint64]uint64{
		2: 0x5ae4f560bd26f9b6, 3: 0x5de40281539a4621, 4: 0xe83e6035a495efc6, 7: 0x41ebdb34bedb6dcd, 8: 0x312bfba9f8cbd9b1,
	} {
		require.Equal(t, want, anchorKeys(42, 0, 0)(a), a)
	}
}

func TestSampleAnchorsDraw(t *testing.T) {
	for _, tc := range []struct {
		step, row int
		want      []int32
	}{
		{0, 0, []int32{2, 7, 8}}, {1, 0, []int32{4, 7, 8}}, {0, 1, []int32{2, 7, 8}}, {1, 1, []int32{2, 4, 8}},
	} {
		a, err := SampleAnchors(AnchorNeMo, exampleMask, 1, 12, 4, 3, 42, tc.step, tc.row)
		require.NoError(t, err)
		require.Equal(t, Anchors{N: 3, Anchor: tc.want, Keep: []bool{true, true, true}}, a)
	}
}

// A row with fewer eligible positions than the widest keeps them all, left-packed.
func TestSampleAnchorsRagged(t *testing.T) {
	mask := append(append([]float32{}, exampleMask...), 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1)
	a, err := SampleAnchors(AnchorSpecForge, mask, 2, 12, 4, 4, 42, 0, 0)
	require.NoError(t, err)
	require.Equal(t, 4, a.N)
	require.Equal(t, []int32{5, 10, 0, 0}, a.Anchor[4:])
	require.Equal(t, []bool{true, true, true, true, true, true, false, false}, a.Keep)
}

// C53: a row's draw depends on its index in the step, not on how the step is cut.
func TestSampleAnchorsIndependentOfCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const B, S, bs, n = 4, 24, 4, 5
		mask := make([]float32, B*S)
		for i := range mask {
			mask[i] = float32(rapid.IntRange(0, 3).Draw(t, "m") / 3)
			if i%S < 2*n { // every row has at least n candidates, so the width is n everywhere
				mask[i] = 1
			}
		}
		seed, step := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 1000).Draw(t, "step")
		whole, err := SampleAnchors(AnchorSpecForge, mask, B, S, bs, n, seed, step, 0)
		require.NoError(t, err)
		for b := range B {
			one, err := SampleAnchors(AnchorSpecForge, mask[b*S:(b+1)*S], 1, S, bs, n, seed, step, b)
			require.NoError(t, err)
			require.Equal(t, one.Anchor, whole.Anchor[b*n:(b+1)*n])
			require.IsIncreasing(t, one.Anchor)
		}
	})
}

func TestSampleAnchorsErrors(t *testing.T) {
	_, err := SampleAnchors(AnchorSpecForge, exampleMask, 2, 12, 4, 3, 0, 0, 0)
	require.ErrorContains(t, err, "anchors: loss_mask: want [24], got [12]")
	_, err = SampleAnchors("eagle", exampleMask, 1, 12, 4, 3, 0, 0, 0)
	require.ErrorContains(t, err, `want specforge, modelopt or nemo, got "eagle"`)
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	_, err = SampleAnchors(AnchorSpecForge, exampleMask, 1, 12, 4, 0, 0, 0, 0)
	require.ErrorContains(t, err, "at least 1")
	a, err := SampleAnchors(AnchorSpecForge, nil, 0, 12, 4, 3, 0, 0, 0)
	require.NoError(t, err)
	require.Zero(t, a.N)
}
