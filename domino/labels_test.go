package domino

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"vkdomino/internal/fail"
)

// oneRow is a layout of one batch row with the given kept anchors.
func oneRow(t require.TestingT, ids []int32, bs int, anchors ...int32) *Layout {
	keep := make([]bool, len(anchors))
	for i := range keep {
		keep[i] = true
	}
	l, err := NewLayout(Anchors{N: len(anchors), Anchor: anchors, Keep: keep}, ids, 1, len(ids), bs, 0)
	require.NoError(t, err)
	return l
}

func targets(t require.TestingT, l *Layout, ids []int32, mask []float32, opt LabelOptions) *Targets {
	if opt.Objective == "" {
		opt.Objective = ObjectiveDecay
	}
	out, err := NewTargets(l, ids, mask, opt)
	require.NoError(t, err)
	return out
}

func ones(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = 1
	}
	return out
}

func iota32(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// C22 and C23: S=12, bs=4, anchor 8; the tail beyond the sequence has no row.
func TestTargetsShift(t *testing.T) {
	d1, d2 := math.Exp(-1.0/7), math.Exp(-2.0/7)
	ids := iota32(12)
	l := oneRow(t, ids, 4, 8)

	on := targets(t, l, ids, ones(12), LabelOptions{ShiftLabel: true, DecayGamma: 7, SuffixStart: 1})
	require.Equal(t, []int32{9, 10, 11}, on.Label)
	require.Equal(t, []int32{0, 1, 2}, on.K)
	require.Equal(t, []int32{8, 9, 10}, on.Teacher)
	require.Equal(t, []bool{false, true, true}, on.Suffix)
	require.InDeltaSlice(t, []float64{1, d1, d2}, on.Weight, 1e-15)
	require.Equal(t, []int32{8, 9, 10, 11}, l.TeacherIDs)

	off := targets(t, l, ids, ones(12), LabelOptions{DecayGamma: 7, SuffixStart: 2})
	require.Equal(t, []int32{9, 10, 11}, off.Label)
	require.Equal(t, []int32{1, 2, 3}, off.K)
	require.Equal(t, []int32{8, 9, 10}, off.Teacher)
	require.Equal(t, []bool{false, true, true}, off.Suffix)
	require.InDeltaSlice(t, []float64{1, d1, d2}, off.Weight, 1e-15)
}

// C24: a hole in the mask leaves out its own position only.
func TestTargetsHole(t *testing.T) {
	ids, mask := []int32{1, 2, 3, 4, 5, 6, 0, 1}, []float32{1, 1, 1, 1, 1, 0, 1, 1}
	l := oneRow(t, ids, 4, 0, 3)
	on := targets(t, l, ids, mask, LabelOptions{ShiftLabel: true})
	require.Equal(t, []int32{2, 3, 4, 5, 5, 0, 1}, on.Label) // 2 3 4 5 (1111), 5 6 0 1 (1011)
	require.Equal(t, []int32{0, 1, 2, 3, 4, 6, 7}, on.Row)
	require.Equal(t, []float64{1, 1, 1, 1, 1, 1, 1}, on.Weight) // gamma 0: no decay

	off := targets(t, l, ids, mask, LabelOptions{})
	require.Equal(t, []int32{2, 3, 4, 5, 0}, off.Label) // 1 2 3 4 (0111), 4 5 6 0 (0101)
	require.Equal(t, []int32{1, 2, 3, 5, 7}, off.Row)

	cut := targets(t, l, ids, mask, LabelOptions{ShiftLabel: true, ContiguousLabels: true})
	require.Equal(t, []int32{0, 1, 2, 3, 4}, cut.Row)
	cut = targets(t, l, ids, mask, LabelOptions{ContiguousLabels: true})
	require.Equal(t, []int32{1, 2, 3, 5}, cut.Row)
}

// The teacher of a row is the target's row one before the label, in the row's own sequence.
func TestTargetsTeacherOfLaterRow(t *testing.T) {
	ids := iota32(8)
	l, err := NewLayout(Anchors{N: 1, Anchor: []int32{1, 0}, Keep: []bool{true, true}}, ids, 2, 4, 2, 0)
	require.NoError(t, err)
	on := targets(t, l, ids, ones(8), LabelOptions{ShiftLabel: true})
	require.Equal(t, []int32{2, 3, 5, 6}, on.Label)
	require.Equal(t, []int32{1, 2, 4, 5}, on.Teacher)
	require.Equal(t, []int32{0, 1, 2, 3}, on.Row)
}

// C25, C26 and invariant 9 of §19.C.
func TestDecayWeights(t *testing.T) {
	sum := func(d []float64) (s float64) {
		for _, x := range d {
			s += x
		}
		return s
	}
	d := DecayWeights(16, 7, true)
	require.InDeltaSlice(t, []float64{1, .866878, .751477, .651439, .564718, .489542, .424373, .367879, .318907, .276453,
		.239651, .207748, .180092, .156118, .135335, .117319}, d, 5e-7)
	require.InDelta(t, 6.7479300, sum(d), 5e-8)
	require.InDelta(t, 6.6306108, sum(DecayWeights(16, 7, false)[1:]), 5e-8)
	require.InDelta(t, 3.908986, sum(DecayWeights(8, 4, true)), 5e-7)
	require.InDelta(t, .165299, DecayWeights(10, 5, true)[9], 5e-7)
	require.Equal(t, []float64{1, 1, 1}, DecayWeights(3, 0, true))
	rapid.Check(t, func(t *rapid.T) {
		bs, gamma := rapid.IntRange(1, 32).Draw(t, "bs"), rapid.Float64Range(0.5, 20).Draw(t, "gamma")
		want := (1 - math.Exp(-float64(bs)/gamma)) / (1 - math.Exp(-1/gamma))
		require.InEpsilon(t, want, sum(DecayWeights(bs, gamma, true)), 1e-12)
	})
}

func TestNewTargetsErrors(t *testing.T) {
	ids := iota32(4)
	l := oneRow(t, ids, 2, 1)
	for want, opt := range map[string]LabelOptions{
		`want decay or dpace, got ""`:                          {},
		"want decay for a Domino draft, got dpace":             {Objective: ObjectiveDPACE, ShiftLabel: true},
		"loss decay factor: want 0 or more, got -1":            {Objective: ObjectiveDecay, DecayGamma: -1},
		"D-PACE alpha: want 0 to 1, got 1.5":                   {Objective: ObjectiveDPACE, DPaceAlpha: 1.5},
		"loss decay factor: want 0 or more, got NaN":           {Objective: ObjectiveDecay, DecayGamma: math.NaN()},
		"D-PACE alpha: want 0 to 1, got -0.1":                  {Objective: ObjectiveDPACE, DPaceAlpha: -.1},
		`loss objective: want decay or dpace, got "continued"`: {Objective: "continued"},
	} {
		_, err := NewTargets(l, ids, ones(4), opt)
		require.ErrorContains(t, err, want)
		require.Equal(t, fail.Usage, fail.CodeOf(err))
	}
	_, err := NewTargets(l, ids[:3], ones(4), LabelOptions{Objective: ObjectiveDecay})
	require.ErrorContains(t, err, "labels: input_ids: want [4], got [3]")
	_, err = NewTargets(l, ids, ones(5), LabelOptions{Objective: ObjectiveDecay})
	require.ErrorContains(t, err, "labels: loss_mask: want [4], got [5]")
}

func TestLossMask(t *testing.T) {
	sup, att, extra := []float32{1, 1, 0, 1}, []bool{true, true, true, false}, []float32{1, .5, 1, 1}
	got, err := LossMask(sup, att, extra, true)
	require.NoError(t, err)
	require.Equal(t, []float32{1, .5, 0, 0}, got)
	got, err = LossMask(sup, nil, nil, false)
	require.NoError(t, err)
	require.Equal(t, sup, got)
	require.Equal(t, 3, CountSupervised(got))
	_, err = LossMask(sup, nil, nil, true)
	require.ErrorContains(t, err, "attention_mask: want [4], got [0]")
	_, err = LossMask(sup, nil, extra[:1], false)
	require.ErrorContains(t, err, "extra mask: want [4], got [1]")
}

// C33 and the examples of §7.5.
func TestDPaceWeights(t *testing.T) {
	yes := []bool{true, true, true}
	for _, tc := range []struct {
		q, want []float64
		valid   []bool
	}{
		{[]float64{.8, .5}, []float64{1.575, .675}, yes[:2]},
		{[]float64{1, 1, 1}, []float64{3, 2, 1}, yes},
		{[]float64{0, 0, 0}, []float64{.875, .375, .125}, yes},
		{[]float64{.9, .6, .2}, []float64{2.166, 1.216, .456}, yes},
		{[]float64{.8, .1, .5}, []float64{1.575, .675, .675}, []bool{true, false, true}},
		{nil, []float64{}, nil},
	} {
		require.InDeltaSlice(t, tc.want, DPaceWeights(tc.q, tc.valid, 0.5), 1e-12)
	}
	require.Equal(t, []float64{2, 1}, DPaceWeights([]float64{.3, .7}, yes[:2], 1)) // alpha 1: no confidences
}

// Two blocks of three predicted positions, the middle one of the second masked out.
func TestApplyDPACE(t *testing.T) {
	ids, mask := iota32(9), []float32{0, 1, 1, 1, 0, 1, 0, 1, 1}
	tg := targets(t, oneRow(t, ids, 4, 0, 4), ids, mask, LabelOptions{Objective: ObjectiveDPACE, DPaceAlpha: 0.5, DecayGamma: 7})
	require.Equal(t, []int32{1, 2, 3, 5, 7}, tg.Row)
	require.Zero(t, tg.SumWeights())

	ce := []float32{}
	for _, q := range []float64{.9, .6, .2, .8, .5} {
		ce = append(ce, float32(-math.Log(q)))
	}
	require.NoError(t, tg.ApplyDPACE(ce))
	require.InDeltaSlice(t, []float64{2.166, 1.216, .456, 1.575, .675}, tg.Weight, 1e-6)

	require.ErrorContains(t, tg.ApplyDPACE(ce[:2]), "cross-entropy: want [5], got [2]")
	decay := targets(t, oneRow(t, ids, 4, 0), ids, mask, LabelOptions{})
	require.ErrorContains(t, decay.ApplyDPACE(nil), "want objective dpace, got decay")
}

func TestCoefficients(t *testing.T) {
	ids := iota32(6)
	tg := targets(t, oneRow(t, ids, 3, 1), ids, ones(6), LabelOptions{ShiftLabel: true, DecayGamma: 2})
	want := []float32{.5, float32(.5 * math.Exp(-.5)), float32(.5 * math.Exp(-1))}
	require.Equal(t, want, tg.Coefficients(.5))
}
