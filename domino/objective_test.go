package domino

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// handBlock is a block of k rows with the weights that the mask of its labels and gamma give.
func handBlock(t *testing.T, gamma float64, mask ...float32) *Targets {
	t.Helper()
	ids := iota32(len(mask) + 1)
	return targets(t, oneRow(t, ids, len(mask), 0), ids, append([]float32{1}, mask...), LabelOptions{ShiftLabel: true, DecayGamma: gamma, SuffixStart: 1})
}

// same are results with both streams alike: ce in every row, the prediction right where ok.
func same(tg *Targets, ce float32, ok ...bool) *Results {
	r := &Results{}
	for i, label := range tg.Label {
		r.CEBase = append(r.CEBase, ce)
		if ok != nil && !ok[tg.K[i]] {
			label++
		}
		r.ArgmaxBase = append(r.ArgmaxBase, label)
	}
	r.CEFinal, r.ArgmaxFinal = r.CEBase, r.ArgmaxBase
	return r
}

func evaluate(t *testing.T, tg *Targets, r *Results, lambda float64, opt LossOptions) Metrics {
	t.Helper()
	s, err := Reduce(tg, r, opt)
	require.NoError(t, err)
	return StepMetrics([]Sums{s}, lambda, opt)
}

// C27: uniform logits give ln V for every λ.
func TestUniformLogits(t *testing.T) {
	tg := handBlock(t, 7, 1, 1, 1, 1)
	for v, want := range map[float64]float64{151936: 11.9312147, 32: 3.4657359} {
		for _, lambda := range []float64{0, .3, 1} {
			m := evaluate(t, tg, same(tg, float32(math.Log(v))), lambda, LossOptions{Domino: true})
			require.InDelta(t, want, m.Loss, 5e-6)
		}
	}
}

// C29 and invariant 7 of §19.C.
func TestLambdaMixes(t *testing.T) {
	tg := handBlock(t, 4, 1, 1, 0, 1)
	r := same(tg, 1.7)
	r.CEFinal = []float32{.3, 2.9, .77}
	opt := LossOptions{Domino: true}
	m0, m5, m1 := evaluate(t, tg, r, 0, opt), evaluate(t, tg, r, .5, opt), evaluate(t, tg, r, 1, opt)
	require.Equal(t, m0.FinalLoss, m0.Loss)
	require.Equal(t, m1.BaseLoss, m1.Loss)
	require.NotEqual(t, m0.Loss, m1.Loss)
	require.InDelta(t, (m0.Loss+m1.Loss)/2, m5.Loss, 1e-15)
	require.Equal(t, .5, m5.LambdaBase)
}

// C35: the loss of one row with coefficient .5.
func TestDualLoss(t *testing.T) {
	ce := func(logits []float64, label int) float32 {
		sum := 0.0
		for _, x := range logits {
			sum += math.Exp(x)
		}
		return float32(math.Log(sum) - logits[label])
	}
	tg := handBlock(t, 0, 1)
	r := same(tg, ce([]float64{1, 0, -1}, 1))
	r.CEFinal = []float32{ce([]float64{0, 2, 1}, 1)}
	s, err := Reduce(tg, r, LossOptions{Domino: true})
	require.NoError(t, err)
	m := Metrics{options: LossOptions{Domino: true}}
	m.addLosses(s, .5)
	require.InDelta(t, .32880298, .75*m.FinalLoss+.25*m.BaseLoss, 1e-7)
}

// C31: what the Den guard drops, and what it keeps.
func TestDenGuard(t *testing.T) {
	first, second := handBlock(t, 7, 1, 0, 0), handBlock(t, 7, 0, 1, 0)
	guard, free := LossOptions{Domino: true, DenGuard: true}, LossOptions{Domino: true}
	const ce = 2.5

	m := evaluate(t, first, same(first, ce), .4, guard)
	require.InDelta(t, ce/1.000001, m.Loss, 1e-12)
	require.InDelta(t, 1, m.Accuracy, 1e-5)

	m = evaluate(t, second, same(second, ce), .4, guard)
	for _, v := range m.Values() {
		if v.Name != "lambda_base" {
			require.Zero(t, v.Value, v.Name)
		}
	}
	require.Equal(t, []float64{0}, Normalize([]float64{second.SumWeights()}, guard))
	require.Equal(t, 1, m.Blocks)

	m = evaluate(t, second, same(second, ce), .4, free)
	require.InDelta(t, ce, m.Loss, 1e-5)
	require.InDelta(t, .866878, second.SumWeights(), 1e-6)
}

// C30: masked labels are in no denominator; without rows everything is 0.
func TestAccuracyDenominator(t *testing.T) {
	tg := handBlock(t, 0, 1, 0, 1, 0, 1, 1)
	m := evaluate(t, tg, same(tg, 1, true, false, true, false, false, false), 0, LossOptions{Domino: true})
	require.InDelta(t, 2/(4+1e-6), m.Accuracy, 1e-15)
	require.Equal(t, 4, m.Rows)

	empty := handBlock(t, 0, 0, 0, 0)
	m = evaluate(t, empty, same(empty, 1), 1, LossOptions{Domino: true})
	require.Equal(t, 1, m.EmptyBatches)
	for _, v := range m.Values()[:7] {
		require.Zero(t, v.Value, v.Name)
	}
	require.Equal(t, []float64{0}, Normalize([]float64{0}, LossOptions{}))
}

// A fractional mask weighs, but a value of at most .5 does not count as right. §7.4.
func TestFractionalMask(t *testing.T) {
	tg := handBlock(t, 0, 1, .25)
	m := evaluate(t, tg, same(tg, 1), 0, LossOptions{Domino: true})
	require.InDelta(t, 1/(1.25+1e-6), m.Accuracy, 1e-15)
	require.InDelta(t, 1.25/(1.25+1e-6), m.Loss, 1e-15)
	require.InDelta(t, 3/(1+1e-6), m.AcceptLen, 1e-15)
}

// C32: correct / valid per position.
func TestAcceptLength(t *testing.T) {
	for _, tc := range []struct {
		correct []bool
		mask    []float32
		want    int
	}{
		{[]bool{true, true, false, true}, []float32{1, 1, 1, 1}, 2},
		{[]bool{true, false, true, true}, []float32{1, 0, 1, 1}, 3},
		{[]bool{false, true, true, true}, []float32{1, 1, 1, 1}, 0},
		{[]bool{false, true, false}, []float32{0, 1, 1}, 1},
	} {
		tg := handBlock(t, 7, tc.mask...)
		s, err := Reduce(tg, same(tg, 1, tc.correct...), LossOptions{Domino: true})
		require.NoError(t, err)
		require.Equal(t, tc.want, s.Final.Accepted)
		m := StepMetrics([]Sums{s}, 0, LossOptions{Domino: true})
		require.InDelta(t, float64(tc.want+1), m.AcceptLen, 1e-5)
		require.Equal(t, m.AcceptLen, m.BaseAcceptLen)
	}
}

func TestNormalizeAccumulation(t *testing.T) {
	sums := []float64{3, 0, 0.5, 6}
	mean := Normalize(sums, LossOptions{})
	require.InDeltaSlice(t, []float64{1 / (3 + 1e-6) / 4, 0, 1 / (.5 + 1e-6) / 4, 1 / (6 + 1e-6) / 4}, mean, 1e-15)
	require.Zero(t, Normalize(sums, LossOptions{DenGuard: true})[2])
	global := Normalize(sums, LossOptions{GlobalNormalization: true})
	den := 1 / (9.5 + 1e-6)
	require.InDeltaSlice(t, []float64{den, den, den, den}, global, 1e-15)
	require.Empty(t, Normalize(nil, LossOptions{}))
}

// Accumulation: means of values and sums of counts, or one Den for all.
func TestStepMetricsAccumulation(t *testing.T) {
	a, b := handBlock(t, 0, 1, 1, 1), handBlock(t, 0, 1)
	opt := LossOptions{}
	sa, err := Reduce(a, same(a, 2, true, false, true), opt)
	require.NoError(t, err)
	sb, err := Reduce(b, same(b, 6, true), opt)
	require.NoError(t, err)
	m := StepMetrics([]Sums{sa, sb}, 0, opt)
	require.InDelta(t, 4, m.Loss, 1e-5)
	require.InDelta(t, (2.0/3+1)/2, m.Accuracy, 1e-5)
	require.InDelta(t, 2, m.AcceptLen, 1e-5)
	require.Equal(t, []int{2, 4, 6, 0}, []int{m.Blocks, m.Rows, m.SupervisedTokens, m.EmptyBatches})

	m = StepMetrics([]Sums{sa, sb}, 0, LossOptions{GlobalNormalization: true})
	require.InDelta(t, 3, m.Loss, 1e-5) // (3*2 + 1*6)/4
}

func TestMetricValues(t *testing.T) {
	names := func(opt LossOptions) (out []string) {
		for _, v := range StepMetrics(nil, .5, opt).Values() {
			out = append(out, v.Name)
		}
		return out
	}
	require.Equal(t, []string{"loss", "accuracy", "accept_len"}, names(LossOptions{}))
	require.Equal(t, []string{"loss", "accuracy", "accept_len", "ce"}, names(LossOptions{Distill: true}))
	domino := []string{"loss", "final_loss", "base_loss", "accuracy", "base_accuracy", "accept_len", "base_accept_len", "lambda_base"}
	require.Equal(t, domino, names(LossOptions{Domino: true}))
	require.Equal(t, append(domino, "final_ce", "base_ce"), names(LossOptions{Domino: true, Distill: true}))
}

func TestReduceErrors(t *testing.T) {
	tg := handBlock(t, 0, 1, 1)
	good := same(tg, 1)
	for want, tc := range map[string]struct {
		r   Results
		opt LossOptions
	}{
		"base cross-entropy: want [2], got [0]": {Results{ArgmaxBase: good.ArgmaxBase}, LossOptions{}},
		"base argmax: want [2], got [1]":        {Results{CEBase: good.CEBase, ArgmaxBase: good.ArgmaxBase[:1]}, LossOptions{}},
		"base loss: want [2], got [0]":          {Results{CEBase: good.CEBase, ArgmaxBase: good.ArgmaxBase}, LossOptions{Distill: true}},
		"final argmax: want [2], got [0]":       {Results{CEBase: good.CEBase, ArgmaxBase: good.ArgmaxBase, CEFinal: good.CEBase}, LossOptions{Domino: true}},
	} {
		_, err := Reduce(tg, &tc.r, tc.opt)
		require.ErrorContains(t, err, want)
	}
}

func TestFirstNonFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	require.Equal(t, -1, (&Results{CEBase: []float32{1, 2}}).FirstNonFinite())
	require.Equal(t, 1, (&Results{CEBase: []float32{1, 2, inf}, LossFinal: []float32{1, nan}}).FirstNonFinite())
}

// The numbers of spec.md §19.B that the host computes: labels, weights, Den, losses,
// accuracies and acceptance lengths from its CE and argmax.
func TestGoldenStep(t *testing.T) {
	ids, mask := []int32{3, 1, 0, 1, 5, 2, 0}, []float32{0, 1, 1, 1, 1, 0, 1}
	l, err := NewLayout(Anchors{N: 4, Anchor: []int32{1, 3, 4, 0}, Keep: []bool{true, true, true, false}}, ids, 1, 7, 3, 0)
	require.NoError(t, err)
	tg := targets(t, l, ids, mask, LabelOptions{ShiftLabel: true, DecayGamma: 2, SuffixStart: 1})
	require.Equal(t, []int32{0, 1, 2, 3, 5, 7}, tg.Row)
	require.Equal(t, []int32{0, 1, 5, 5, 0, 0}, tg.Label)
	require.InDeltaSlice(t, []float64{1, .606531, .367879, 1, .367879, .606531}, tg.Weight, 5e-7)
	require.InDelta(t, 3.948821201768, tg.SumWeights()+denEpsilon, 1e-12)

	r := &Results{
		CEFinal:     []float32{1.436625, 1.945388, 1.893595, 1.784783, 1.364963, 1.340503},
		CEBase:      []float32{1.436625, 1.978676, 1.861842, 1.784783, 1.406450, 1.365395},
		ArgmaxFinal: []int32{0, 0, 0, 0, 0, 0},
		ArgmaxBase:  []int32{0, 0, 0, 0, 4, 4},
	}
	for lambda, want := range map[float64]float64{.25: 1.62652971, 0: 1.62406889, 1: 1.63391217} {
		m := evaluate(t, tg, r, lambda, LossOptions{Domino: true})
		require.InDelta(t, want, m.Loss, 1e-6)
		require.InDelta(t, 1.62406889, m.FinalLoss, 1e-6)
		require.InDelta(t, 1.63391217, m.BaseLoss, 1e-6)
		require.InDelta(t, .5, m.Accuracy, 1e-6)
		require.InDelta(t, .166667, m.BaseAccuracy, 1e-6)
		require.InDelta(t, 1.666666, m.AcceptLen, 1e-6)
		require.InDelta(t, 1.333333, m.BaseAcceptLen, 1e-6)
	}
}
