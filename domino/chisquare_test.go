package domino

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// TestSampledAnswers samples 5,000 answers of four tokens, 20,000 tokens, with each method,
// and holds how often each of the 625 possible answers comes to its probability under the
// target by a chi-square test: first token, accepted drafts, replacements and the tokens
// after a whole accepted block are all in it, and so is what they have to do with each other.
func TestSampledAnswers(t *testing.T) {
	const answers, length, vocabulary, slots = 5000, 4, 5, 250
	c, draft := testgpu.Context(t), tinyDraft()
	target := tinyConfig()
	target.VocabSize, draft.VocabSize, draft.MaskTokenID = vocabulary, vocabulary, vocabulary-1
	d := decoderOf(t, c, target, draft, DecoderConfig{Slots: slots, DraftTokens: 3}, tensors.F32)
	prompts := make([][]int32, answers)
	for i := range prompts {
		prompts[i] = []int32{2, 0, 3}
	}
	for filter, methods := range map[ops.Filter][]Method{{Temperature: 1.5}: {Equality, Rejection}, {Temperature: 1, TopK: 4, TopP: 0.97}: {Rejection}} {
		want := answerProbabilities(t, d, prompts[0], length, filter)
		other := answerProbabilities(t, d, prompts[0], length, ops.Filter{Temperature: filter.Temperature * 1.3, TopK: filter.TopK, TopP: filter.TopP})
		for seed, method := range methods {
			out, err := d.Generate(context.Background(), prompts, DecodeOptions{MaxNewTokens: length, Sampling: filter, Method: method, Seed: uint64(seed)}, nil)
			require.NoError(t, err)
			counts := make([]float64, len(want))
			for _, g := range out.Generations {
				require.Len(t, g.Tokens, length)
				counts[answerIndex(g.Tokens, vocabulary)]++
			}
			require.Greater(t, Tau(out.Generations), 1.3, "drafts are accepted")
			require.Less(t, math.Abs(chiSquare(counts, want, answers)), 4.0, "%s, %+v", method, filter)
			require.Greater(t, chiSquare(counts, other, answers), 4.0, "%s, %+v: the test tells temperatures apart", method, filter)
		}
	}
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
