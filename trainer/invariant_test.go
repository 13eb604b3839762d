package trainer

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/draftnames"
	"vkdomino/tensors"
)

// inspect returns a micro-batch's activations with logits.
func inspect(t *testing.T, e *Engine, b MicroBatch) *View {
	t.Helper()
	v, err := e.Inspect(b, 0.5, true, false)
	require.NoError(t, err)
	return v
}

// rows are rows lo to hi-1 of a matrix with as many rows as the view has draft rows.
func (v *View) rows(x []float32, lo, hi int) []float32 {
	cols := len(x) / v.Layout.DraftRows()
	return x[lo*cols : hi*cols]
}

// Invariants 1 and 2 of spec.md §19.C: what a token that stands at or behind a block's anchor
// may change. Token 11 of row 0 lies behind the block at 5, in the block at 9, and before the
// one at 13; row 1 has nothing to do with it.
func TestTokensReachOnlyTheBlocksThatMaySeeThem(t *testing.T) {
	for _, dtype := range []tensors.DType{tensors.F32, tensors.BF16} {
		t.Run(dtype.String(), func(t *testing.T) {
			e, _ := newSmall(t, smallConfig(func(c *EngineConfig) { c.Precision = dtype }))
			b := smallBatch()
			before := inspect(t, e, b)
			b.IDs = slices.Clone(b.IDs)
			b.IDs[11] = (b.IDs[11] + 1) % 50
			after := inspect(t, e, b)
			for i, blk := range before.Layout.Blocks {
				lo, hi := 4*i, 4*i+4
				sees := blk.Row == 0 && blk.Anchor == 13
				for name, x := range map[string][2][]float32{"hidden": {before.Hidden, after.Hidden}, "base": {before.BaseLogits, after.BaseLogits}} {
					same := slices.Equal(before.rows(x[0], lo, hi), before.rows(x[1], lo, hi))
					require.Equal(t, !sees, same, "%s of the block at %d of row %d", name, blk.Anchor, blk.Row)
				}
				for p := range 4 { // the head has read tokens anchor to anchor+p
					reads := sees || blk.Row == 0 && blk.Anchor == 9 && p >= 2
					same := slices.Equal(before.rows(before.FinalLogits, lo+p, lo+p+1), before.rows(after.FinalLogits, lo+p, lo+p+1))
					require.Equal(t, !reads, same, "final logits at %d of the block at %d of row %d", p, blk.Anchor, blk.Row)
				}
			}
		})
	}
}

// Position 0 has no correction with a prefix of 1; the others have one.
func TestPrefixHasNoCorrection(t *testing.T) {
	e, _ := newSmall(t, smallConfig())
	v := inspect(t, e, smallBatch())
	for q := range v.Layout.DraftRows() {
		same := slices.Equal(v.rows(v.BaseLogits, q, q+1), v.rows(v.FinalLogits, q, q+1))
		require.Equal(t, q%4 == 0, same, "draft row %d", q)
	}
}

// Invariant 3: rows of a batch, and slots of anchors, in another order give the same rows. A
// slot that is not kept is as if it were not there.
func TestBlocksAreIndependentOfTheirPlace(t *testing.T) {
	e, _ := newSmall(t, smallConfig())
	b := smallBatch()
	want := inspect(t, e, b)
	swapped := MicroBatch{B: 2, S: 20, IDs: append(slices.Clone(b.IDs[20:]), b.IDs[:20]...), LossMask: b.LossMask,
		Anchors: domino.Anchors{N: 3, Anchor: []int32{8, 0, 3, 13, 5, 9}, Keep: []bool{true, false, true, true, true, true}}}
	got := inspect(t, e, swapped)
	for i, blk := range want.Layout.Blocks {
		at := slices.IndexFunc(got.Layout.Blocks, func(x domino.Block) bool { return x.Anchor == blk.Anchor && x.Row == 1-blk.Row })
		require.Equal(t, want.rows(want.FinalLogits, 4*i, 4*i+4), got.rows(got.FinalLogits, 4*at, 4*at+4))
	}
}

// row cuts one row out of a batch.
func row(b MicroBatch, i int) MicroBatch {
	return MicroBatch{B: 1, S: b.S, IDs: b.IDs[i*b.S : (i+1)*b.S], LossMask: b.LossMask[i*b.S : (i+1)*b.S],
		Anchors: domino.Anchors{N: b.Anchors.N, Anchor: b.Anchors.Anchor[i*b.Anchors.N : (i+1)*b.Anchors.N], Keep: b.Anchors.Keep[i*b.Anchors.N : (i+1)*b.Anchors.N]}}
}

// twice is a batch of a row and its copy.
func twice(b MicroBatch) MicroBatch {
	return MicroBatch{B: 2, S: b.S, IDs: slices.Concat(b.IDs, b.IDs), LossMask: slices.Concat(b.LossMask, b.LossMask),
		Anchors: domino.Anchors{N: b.Anchors.N, Anchor: slices.Concat(b.Anchors.Anchor, b.Anchors.Anchor), Keep: slices.Concat(b.Anchors.Keep, b.Anchors.Keep)}}
}

// Invariants 4 and 10: a block counted twice doubles numerator and denominator, and the loss
// of a batch is the mean of its rows by their weights.
func TestLossIsAWeightedMeanOfRows(t *testing.T) {
	const roundoff = 2e-6
	e, _ := newSmall(t, smallConfig())
	b := smallBatch()
	whole, _ := gradientsOf(t, e, 0.5, b)
	first, grads := gradientsOf(t, e, 0.5, row(b, 0))
	second, _ := gradientsOf(t, e, 0.5, row(b, 1))
	doubled, gradsDoubled := gradientsOf(t, e, 0.5, twice(row(b, 0)))

	weight := func(b MicroBatch) float64 {
		l, err := domino.NewLayout(b.Anchors, b.IDs, b.B, b.S, 4, 51)
		require.NoError(t, err)
		targets, err := domino.NewTargets(l, b.IDs, b.LossMask, e.Config.Labels)
		require.NoError(t, err)
		return targets.SumWeights()
	}
	w0, w1 := weight(row(b, 0)), weight(row(b, 1))
	require.InEpsilon(t, (w0*first.Metrics.Loss+w1*second.Metrics.Loss)/(w0+w1), whole.Metrics.Loss, roundoff)
	require.InEpsilon(t, first.Metrics.Loss, doubled.Metrics.Loss, roundoff)
	for name, g := range grads {
		require.Less(t, distance(gradsDoubled[name], g), 1e-5, name)
	}
}

// Invariants 5, 7 and 8, C29: what λ does to losses and gradients.
func TestLambda(t *testing.T) {
	const roundoff = 2e-5
	e, weights := newSmall(t, smallConfig())
	b := smallBatch()
	zero, grads0 := gradientsOf(t, e, 0, b)
	half, grads5 := gradientsOf(t, e, 0.5, b)
	one, grads1 := gradientsOf(t, e, 1, b)

	require.Equal(t, zero.Metrics.FinalLoss, zero.Metrics.Loss)
	require.Equal(t, one.Metrics.BaseLoss, one.Metrics.Loss)
	require.NotEqual(t, zero.Metrics.Loss, one.Metrics.Loss)
	require.InEpsilon(t, (zero.Metrics.Loss+one.Metrics.Loss)/2, half.Metrics.Loss, 1e-12)
	for name := range grads0 {
		if isHead(name) {
			require.True(t, allZero(grads1[name]), "%s at λ = 1", name)
			doubled := make([]float32, len(grads5[name]))
			for i, g := range grads5[name] {
				doubled[i] = 2 * g
			}
			require.Equal(t, grads0[name], doubled, "%s scales with 1-λ", name)
			continue
		}
		mean := make([]float32, len(grads0[name]))
		for i := range mean {
			mean[i] = (grads0[name][i] + grads1[name][i]) / 2
		}
		require.Less(t, distance(grads5[name], mean), roundoff, name)
	}

	require.NoError(t, e.SetDraft(draftnames.EmbedOut, make([]float32, len(weights[draftnames.EmbedOut]))))
	for _, lambda := range []float64{0, 0.25, 1} {
		out, _ := gradientsOf(t, e, lambda, b)
		require.Equal(t, out.Metrics.BaseLoss, out.Metrics.FinalLoss, "without W2 there is one stream")
		require.InEpsilon(t, out.Metrics.BaseLoss, out.Metrics.Loss, 1e-12)
	}
}

// The gradients of a row's logits sum to 0, so those of W2 do over the vocabulary.
func TestGradientOfW2SumsToZeroOverTheVocabulary(t *testing.T) {
	e, _ := newSmall(t, smallConfig())
	_, grads := gradientsOf(t, e, 0.5, smallBatch())
	g, E := grads[draftnames.EmbedOut], e.Config.Draft.EmbDim
	for col := range E {
		sum, size := 0.0, 0.0
		for i := col; i < len(g); i += E {
			sum += float64(g[i])
			size += max(float64(g[i]), -float64(g[i]))
		}
		require.InDelta(t, 0, sum/size, 1e-5)
	}
}

// A token that no block reads or predicts changes neither loss nor gradients: here row 1
// behind its last block, which ends by predicting token 12.
func TestTokensBehindTheLastBlockChangeNothing(t *testing.T) {
	e, _ := newSmall(t, smallConfig())
	b := smallBatch()
	for i := 33; i < 40; i++ {
		b.LossMask[i] = 0
	}
	want, grads := gradientsOf(t, e, 0.5, b)
	b.IDs = slices.Clone(b.IDs)
	for i := 33; i < 40; i++ {
		b.IDs[i] = 50
	}
	got, again := gradientsOf(t, e, 0.5, b)
	require.Equal(t, want.Metrics, got.Metrics)
	requireSameBits(t, grads, again)
}

// trim leaves out rows that nothing depends on; sums over fewer rows round differently.
func TestTrimChangesNothingButRounding(t *testing.T) {
	e, _ := newSmall(t, smallConfig())
	b := smallBatch()
	for i := range 20 {
		if i >= 15 {
			b.LossMask[i], b.LossMask[20+i], b.IDs[i], b.IDs[20+i] = 0, 0, 7, 7
		}
	}
	want, grads := gradientsOf(t, e, 0.5, b)
	short := trim(b, []int{15, 12})
	require.Equal(t, 15, short.S)
	require.Equal(t, b.IDs[20:35], short.IDs[15:])
	got, again := gradientsOf(t, e, 0.5, short)
	require.InEpsilon(t, want.Metrics.Loss, got.Metrics.Loss, 1e-6)
	require.Equal(t, want.Metrics.Rows, got.Metrics.Rows)
	for name, g := range grads {
		require.Less(t, distance(again[name], g), 1e-5, name)
	}
	b.LossMask[38] = 1 // supervised padding is not cut off
	require.Equal(t, 19, trim(b, []int{15, 12}).S)
}

// Every invocation of the update reads the norm, the host only at the end.
func TestNormIsReadOnTheDevice(t *testing.T) {
	e, _ := newSmall(t, smallConfig())
	require.NotSame(t, e.seen.Region.Buffer, e.norm.Region.Buffer, "buffers of two kinds of memory")
	out, err := e.Step([]MicroBatch{smallBatch()}, 0.5, 1e-3)
	require.NoError(t, err)
	norm, err := e.Context.Float32s(e.norm)
	require.NoError(t, err)
	require.Equal(t, float64(norm[0]), out.GradNorm)
	require.Positive(t, out.GradNorm)
}

// Equal inputs give equal bits, step after step.
func TestStepIsDeterministic(t *testing.T) {
	for _, dtype := range []tensors.DType{tensors.F32, tensors.BF16} {
		run := func() map[string][]float32 {
			e, _ := newSmall(t, smallConfig(func(c *EngineConfig) { c.Precision = dtype }))
			for range 5 {
				out, err := e.Step([]MicroBatch{smallBatch(), row(smallBatch(), 1)}, 0.5, 1e-2)
				require.NoError(t, err)
				require.True(t, out.Applied)
			}
			require.Equal(t, 5, e.Updates)
			return optimizerState(t, e)
		}
		requireSameBits(t, run(), run())
	}
}

// Empty batches have no loss and no gradient, and are an optimizer step all the same: moments decay.
func TestEmptyBatch(t *testing.T) {
	e, _ := newSmall(t, smallConfig())
	_, err := e.Step([]MicroBatch{smallBatch()}, 0.5, 1e-2)
	require.NoError(t, err)
	before := optimizerState(t, e)
	empty := smallBatch()
	empty.Anchors = domino.Anchors{}
	out, err := e.Step([]MicroBatch{empty}, 0.5, 1e-2)
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.Zero(t, out.Metrics.Loss)
	require.Zero(t, out.GradNorm)
	require.Equal(t, 1, out.Metrics.EmptyBatches)
	requireMomentsDecayed(t, e, before, func(string) bool { return true })
}

// requireMomentsDecayed checks that an update without gradient multiplied the moments of the chosen tensors by β1 and β2.
func requireMomentsDecayed(t *testing.T, e *Engine, before map[string][]float32, chosen func(name string) bool) {
	t.Helper()
	after := optimizerState(t, e)
	for _, p := range e.Draft.Params.List {
		if !chosen(p.Name) {
			continue
		}
		for i, m := range before[p.Name+".m"] {
			require.InDelta(t, 0.9*m, after[p.Name+".m"][i], 1e-6*max(1e-6, float64(abs(m))))
			require.InDelta(t, 0.999*before[p.Name+".v"][i], after[p.Name+".v"][i], 1e-6*max(1e-6, float64(before[p.Name+".v"][i])))
		}
	}
}

func abs(x float32) float32 { return max(x, -x) }

// At λ = 1 the head gets no gradient from the loss: a new head stays as it was but for weight
// decay, and the moments of a trained one decay.
func TestHeadAtLambdaOne(t *testing.T) {
	e, weights := newSmall(t, smallConfig(func(c *EngineConfig) { c.WeightDecay = 0 }))
	_, err := e.Step([]MicroBatch{smallBatch()}, 1, 1e-2)
	require.NoError(t, err)
	state := optimizerState(t, e)
	for name, w := range weights {
		if isHead(name) {
			require.Equal(t, bitsOf(w), bitsOf(state[name]), name)
			require.True(t, allZero(state[name+".m"]), name)
		} else {
			require.NotEqual(t, w, state[name], name)
		}
	}
	_, err = e.Step([]MicroBatch{smallBatch()}, 0.5, 1e-2)
	require.NoError(t, err)
	before := optimizerState(t, e)
	_, err = e.Step([]MicroBatch{smallBatch()}, 1, 1e-2)
	require.NoError(t, err)
	requireMomentsDecayed(t, e, before, isHead)
}

// Accumulating micro-batches gives the mean of their losses and gradients; one by one or
// together differs by rounding alone.
func TestAccumulation(t *testing.T) {
	e, _ := newSmall(t, smallConfig(func(c *EngineConfig) { c.Loss.GlobalNormalization = true }))
	b := smallBatch()
	want, grads := gradientsOf(t, e, 0.5, b)
	got, again := gradientsOf(t, e, 0.5, row(b, 0), row(b, 1))
	require.InEpsilon(t, want.Metrics.Loss, got.Metrics.Loss, 1e-6)
	for name, g := range grads {
		require.Less(t, distance(again[name], g), 2e-5, name)
	}
}
