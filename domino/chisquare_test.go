package domino

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// TestSampledAnswers samples answers of four tokens of a tiny target and holds how often each
// of the 625 possible ones comes to its probability under the target by a chi-square test:
// first token, accepted drafts, replacements and the tokens after a whole accepted block are
// all in it, and so is what they have to do with each other. Both methods give 20,000 tokens
// at a temperature; other settings give 4,000, and 20,000 in the nightly tests.
func TestSampledAnswers(t *testing.T) {
	const length = 4
	d := sampledDecoder(t, testgpu.Context(t))
	prompt := []int32{2, 0, 3}
	want := map[ops.Filter][]float64{}
	for i, k := range []struct {
		answers int
		opt     DecodeOptions
	}{
		{5000, DecodeOptions{Method: Equality, Sampling: ops.Filter{Temperature: 1.5}}},
		{5000, DecodeOptions{Method: Rejection, Sampling: ops.Filter{Temperature: 1.5}}},
		{1000, DecodeOptions{Method: Equality, Sampling: ops.Filter{Temperature: 2, TopK: 3}}},
		{1000, DecodeOptions{Method: Rejection, Sampling: ops.Filter{Temperature: 2, TopK: 3}}},
		{1000, DecodeOptions{Method: Equality, Sampling: ops.Filter{Temperature: 1.2, TopP: 0.8}}},
		{1000, DecodeOptions{Method: Rejection, Sampling: ops.Filter{Temperature: 1.2, TopP: 0.8}}},
		{1000, DecodeOptions{Method: Equality, GreedyDrafts: true, Sampling: ops.Filter{Temperature: 1, TopK: 4, TopP: 0.97}}},
		{1000, DecodeOptions{Method: Rejection, GreedyDrafts: true, Sampling: ops.Filter{Temperature: 1, TopK: 4, TopP: 0.97}}},
		{1000, DecodeOptions{Method: Rejection, HeadOff: true, DraftTokens: 2, Sampling: ops.Filter{Temperature: 1, TopK: 4, TopP: 0.97}}},
	} {
		if testgpu.Nightly() {
			k.answers = 5000
		}
		k.opt.MaxNewTokens, k.opt.Seed = length, uint64(i)
		f := k.opt.Sampling
		hot := ops.Filter{Temperature: f.Temperature * 2, TopK: f.TopK, TopP: f.TopP}
		for _, filter := range []ops.Filter{f, hot} {
			if want[filter] == nil {
				want[filter] = answerProbabilities(t, d, prompt, length, filter)
			}
		}
		counts, tau := answerCounts(t, d, slices.Repeat([][]int32{prompt}, k.answers), k.opt)
		require.Greater(t, tau, 1.1, "drafts are accepted: %+v", k.opt)
		z := chiSquare(counts, want[f], float64(k.answers))
		t.Logf("%d answers, %s, %+v: τ %.2f, chi-square %.2f as a standard normal number", k.answers, k.opt.Method, f, tau, z)
		require.Less(t, math.Abs(z), 4.0, "%+v", k.opt)
		require.Greater(t, chiSquare(counts, want[hot], float64(k.answers)), 4.0, "the test tells temperatures apart: %+v", k.opt)
	}
}

// sampledDecoder has the smallest models of which nothing is left out: five tokens, and a
// draft that guesses three of them from two of the target's layers.
func sampledDecoder(t *testing.T, c *ops.Context) *Decoder {
	target, draft := tinyConfig(), tinyDraft()
	target.VocabSize, target.NumLayers = 5, 3
	draft.VocabSize, draft.MaskTokenID, draft.NumTargetLayers, draft.NumLayers, draft.TargetLayerIDs = 5, 4, 3, 1, []int{0, 1}
	return decoderOf(t, c, target, draft, DecoderConfig{Slots: 250, DraftTokens: 3}, tensors.F32)
}

// answerCounts samples an answer to each prompt and counts answers by their number.
func answerCounts(t *testing.T, d *Decoder, prompts [][]int32, opt DecodeOptions) (counts []float64, tau float64) {
	V := d.cfg.Target.Config.VocabSize
	out, err := d.Generate(context.Background(), prompts, opt, nil)
	require.NoError(t, err)
	counts = make([]float64, int(math.Pow(float64(V), float64(opt.MaxNewTokens))))
	for _, g := range out.Generations {
		require.Len(t, g.Tokens, opt.MaxNewTokens)
		counts[answerIndex(g.Tokens, V)]++
	}
	return counts, Tau(out.Generations)
}

// answerIndex numbers the answers.
func answerIndex(tokens []int32, vocabulary int) int {
	at := 0
	for _, id := range tokens {
		at = at*vocabulary + int(id)
	}
	return at
}

// answerProbabilities are the probabilities of all answers of a length, by their number, from
// the target's logits after every beginning of an answer.
func answerProbabilities(t *testing.T, d *Decoder, prompt []int32, length int, filter ops.Filter) []float64 {
	V := d.cfg.Target.Config.VocabSize
	list := []float64{1}
	for n := range length {
		var runs []model.Run
		var ids, last []int32
		for i := range list { // the beginnings of n tokens
			runs = append(runs, model.Run{Slot: i, Count: len(prompt) + n})
			ids = append(ids, prompt...)
			for k := range n {
				ids = append(ids, int32(i/int(math.Pow(float64(V), float64(n-1-k)))%V))
			}
			last = append(last, int32(len(ids)-1))
		}
		logits := d.logits.Slice(0, len(list))
		require.NoError(t, d.cache.Place(d.c, runs))
		d.c.UploadI32(d.cache.IDs.View(len(ids)), ids)
		d.c.UploadI32(d.rows.View(len(last)), last)
		d.cache.Forward(d.c, false)
		d.cache.Logits(d.c, logits, d.rows.View(len(last)))
		require.NoError(t, d.c.Submit())
		values, err := d.c.Float32s(logits)
		require.NoError(t, err)
		var next []float64
		for i, p := range list {
			row := oracle.SamplingProbs(widen(values[i*V:(i+1)*V]), oracle.Filter{Temperature: filter.Temperature, TopK: filter.TopK, TopP: filter.TopP})
			for _, q := range row {
				next = append(next, p*q)
			}
		}
		list = next
	}
	return list
}

// chiSquare is the statistic of counts against probabilities as a standard normal number, by
// Wilson and Hilferty's cube root. Outcomes that are expected fewer than five times count as
// one; one that cannot be gives infinity.
func chiSquare(counts, p []float64, n float64) float64 {
	const few = 5
	var sum, cells, rest, restWant float64
	for i, got := range counts {
		want := n * p[i]
		switch {
		case want == 0 && got > 0:
			return math.Inf(1)
		case want < few:
			rest, restWant = rest+got, restWant+want
		default:
			sum, cells = sum+(got-want)*(got-want)/want, cells+1
		}
	}
	if restWant > few {
		sum, cells = sum+(rest-restWant)*(rest-restWant)/restWant, cells+1
	}
	k := cells - 1
	return (math.Cbrt(sum/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k))
}
