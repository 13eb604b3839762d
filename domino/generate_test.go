package domino

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/internal/testgpu"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// TestGenerateStreams wants onTokens to have every token once, in order, and to be told which
// of them were drafted; and what a prompt gets to be the same beside others and alone.
func TestGenerateStreams(t *testing.T) {
	c := testgpu.Context(t)
	d := tinyDecoder(t, c, tinyDraft(), DecoderConfig{Slots: 2}, tensors.F32)
	prompts := randomPrompts(5, 39)
	opt := DecodeOptions{MaxNewTokens: 10, StopTokens: []int32{7}, Sampling: ops.Filter{Temperature: 0.5}, Method: Rejection, Seed: 3}
	streamed, drafted := make([][]int32, len(prompts)), make([]int, len(prompts))
	out, err := d.Generate(context.Background(), prompts, opt, func(prompt int, tokens []int32, accepted int) {
		require.True(t, accepted >= 0 && accepted <= len(tokens) && len(tokens) > 0)
		streamed[prompt] = append(streamed[prompt], tokens...)
		drafted[prompt] += accepted
	})
	require.NoError(t, err)
	for i, g := range out.Generations {
		require.Equal(t, g.Tokens, streamed[i])
		uncut := 0
		for _, n := range g.AcceptanceLengths {
			uncut += n - 1
		}
		require.LessOrEqual(t, drafted[i], uncut)
		require.Equal(t, len(g.AcceptanceLengths)+1, g.TargetCalls)
		opt.FirstPrompt = i
		one, err := d.Generate(context.Background(), prompts[i:i+1], opt, nil)
		require.NoError(t, err)
		require.Equal(t, g, one.Generations[0], "a prompt's random numbers are its own")
	}
	require.Positive(t, out.Stats.Cycles)
	require.Zero(t, out.Stats.Verify, "not timed")
	require.False(t, c.RowStable, "as it was before")
}

// TestGenerateStops holds the stop rule: at least one cycle, lists of lengths uncut, tokens cut.
func TestGenerateStops(t *testing.T) {
	c := testgpu.Context(t)
	d := tinyDecoder(t, c, tinyDraft(), DecoderConfig{Slots: 1}, tensors.F32)
	prompts := randomPrompts(1, 39)
	run := func(opt DecodeOptions) Generation {
		out, err := d.Generate(context.Background(), prompts, opt, nil)
		require.NoError(t, err)
		return out.Generations[0]
	}
	whole := run(DecodeOptions{MaxNewTokens: 12})
	require.Len(t, whole.Tokens, 12)
	none := run(DecodeOptions{})
	require.Empty(t, none.Tokens)
	require.Empty(t, none.AcceptanceLengths)
	require.Zero(t, none.TargetCalls)
	first := run(DecodeOptions{MaxNewTokens: 12, StopTokens: whole.Tokens[:1]})
	require.Equal(t, whole.Tokens[:1], first.Tokens, "the prompt's own token stops")
	require.True(t, first.Stopped)
	require.Len(t, first.AcceptanceLengths, 1, "a cycle runs all the same")
	one := run(DecodeOptions{MaxNewTokens: 1})
	require.Equal(t, whole.Tokens[:1], one.Tokens)
	require.Len(t, one.AcceptanceLengths, 1)
	sum := 0
	for _, n := range whole.AcceptanceLengths[:len(whole.AcceptanceLengths)-1] {
		sum += n
	}
	require.Less(t, sum, 12, "cycles run while the target has processed fewer new tokens than asked for")
	require.GreaterOrEqual(t, sum+whole.AcceptanceLengths[len(whole.AcceptanceLengths)-1], 12)
}

func TestGenerateInterrupted(t *testing.T) {
	c := testgpu.Context(t)
	d := tinyDecoder(t, c, tinyDraft(), DecoderConfig{Slots: 1}, tensors.F32)
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	out, err := d.Generate(ctx, randomPrompts(3, 39), DecodeOptions{MaxNewTokens: 20}, func(int, []int32, int) {
		if calls++; calls == 3 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.NotEmpty(t, out.Generations[0].Tokens, "what was decoded is there")
	require.Empty(t, out.Generations[2].Tokens)
	again, err := d.Generate(context.Background(), randomPrompts(3, 39), DecodeOptions{MaxNewTokens: 20}, nil)
	require.NoError(t, err)
	require.Equal(t, again.Generations[0].Tokens[:len(out.Generations[0].Tokens)], out.Generations[0].Tokens, "the decoder works on")
}

func TestGenerateErrors(t *testing.T) {
	c := testgpu.Context(t)
	d := tinyDecoder(t, c, tinyDraft(), DecoderConfig{Slots: 1}, tensors.F32)
	good := [][]int32{{1, 2}}
	for want, k := range map[string]struct {
		prompts [][]int32
		opt     DecodeOptions
	}{
		"domino: prompt 1: want at least one token, got none":                                 {[][]int32{{1}, {}}, DecodeOptions{}},
		"domino: prompt 0: want at most 48 tokens with the answer, got 2 and an answer of 47": {good, DecodeOptions{MaxNewTokens: 47}},
		"domino: prompt 0: want token ids from 0 to 39, got 40":                               {[][]int32{{1, 40}}, DecodeOptions{}},
		"domino: stop tokens of prompt 0: want token ids from 0 to 39, got -1":                {good, DecodeOptions{StopTokens: []int32{-1}}},
		"domino: decoding: want stop tokens of 1 prompts, got 2":                              {good, DecodeOptions{StopTokensOf: make([][]int32, 2)}},
		"domino: new tokens: want at least 0, got -1":                                         {good, DecodeOptions{MaxNewTokens: -1}},
		"domino: drafted tokens: want 1 to 4, got 5":                                          {good, DecodeOptions{DraftTokens: 5}},
		`domino: sampling: want equality or rejection, got "luck"`:                            {good, DecodeOptions{Method: "luck"}},
		"want temperature and top-k of at least 0 and top-p from 0 to 1, got NaN":             {good, DecodeOptions{Sampling: ops.Filter{Temperature: math.NaN()}}},
		"want temperature and top-k of at least 0 and top-p from 0 to 1, got 1, 0 and 1.5":    {good, DecodeOptions{Sampling: ops.Filter{Temperature: 1, TopP: 1.5}}},
		"want temperature and top-k of at least 0 and top-p from 0 to 1, got 1, -3 and 0":     {good, DecodeOptions{Sampling: ops.Filter{Temperature: 1, TopK: -3}}},
	} {
		_, err := d.Generate(context.Background(), k.prompts, k.opt, nil)
		require.ErrorContains(t, err, want)
	}
}

func TestDecoderErrors(t *testing.T) {
	for want, change := range map[string]func(cfg *DecoderConfig, draft *DraftConfig){
		"domino: decoder: want at least one slot and one token of context, got 0 and 48":             func(cfg *DecoderConfig, _ *DraftConfig) { cfg.Slots = 0 },
		"domino: drafted tokens: want 1 to 5 for block size 5, got 6":                                func(cfg *DecoderConfig, _ *DraftConfig) { cfg.DraftTokens = 6 },
		"domino: drafted tokens: want 1 to 4 for block size 5, got 5":                                func(cfg *DecoderConfig, d *DraftConfig) { cfg.DraftTokens, d.ShiftLabel = 5, false },
		"domino: candidates: want 0 to 40, got 41":                                                   func(cfg *DecoderConfig, _ *DraftConfig) { cfg.Candidates = 41 },
		"domino: context: want at most the target's max_position_embeddings 128, got 129":            func(cfg *DecoderConfig, _ *DraftConfig) { cfg.Context = 129 },
		"domino: decoder: want RoPE tables of 69 positions, the target has 60":                       func(cfg *DecoderConfig, _ *DraftConfig) { cfg.Context = 64 },
		"domino: draft of another target: hidden_size: want 16, the draft has 12":                    func(_ *DecoderConfig, d *DraftConfig) { d.HiddenSize = 12 },
		"domino: draft of another target: vocab_size: want 40, the draft has 41":                     func(_ *DecoderConfig, d *DraftConfig) { d.VocabSize = 41 },
		"domino: draft of another target: num_target_layers: want 4, the draft has 36":               func(_ *DecoderConfig, d *DraftConfig) { d.NumTargetLayers = 36 },
		"domino: draft of another target: rope_theta: want 10000, the draft has 1e+06":               func(_ *DecoderConfig, d *DraftConfig) { d.Theta = 1e6 },
		"domino: draft of another target: model: target_layer_ids[1]: want 0 to 2 for a target of 4": func(_ *DecoderConfig, d *DraftConfig) { d.TargetLayerIDs = []int{0, 3} },
	} {
		c := ops.NewDry() // nothing is uploaded before the checks
		target, err := model.NewTarget(c, tinyConfig(), 3, 60, tensors.F32)
		require.NoError(t, err)
		draft, cfg := tinyDraft(), DecoderConfig{Target: target, Slots: 1, Context: 48}
		change(&cfg, &draft)
		cfg.Draft = &DraftModel{Config: draft, Params: model.NewWeights(c, paramShapes(draft), tensors.F32)}
		_, err = NewDecoder(c, cfg)
		require.ErrorContains(t, err, want)
		require.NotEqual(t, fail.Memory, fail.CodeOf(err))
	}
}

// TestDecoderPlan wants a dry context to count what a decoder allocates, caches included.
func TestDecoderPlan(t *testing.T) {
	c := ops.NewDry()
	target, err := model.NewTarget(c, tinyConfig(), 3, 60, tensors.BF16)
	require.NoError(t, err)
	draft := &DraftModel{Config: tinyDraft(), Params: model.NewWeights(c, paramShapes(tinyDraft()), tensors.BF16)}
	_, before := c.Plan()
	_, err = NewDecoder(c, DecoderConfig{Target: target, Draft: draft, Slots: 3, Context: 48})
	require.NoError(t, err)
	list, after := c.Plan()
	require.Greater(t, after, before)
	cache := map[string]int64{}
	for _, a := range list {
		cache[a.Name] += a.Bytes
	}
	const align = 255
	bytes := int64(3 * (48 + 4) * 16 * 2)
	require.Equal(t, 4*((bytes+align)&^align), cache["target keys"])
	require.Equal(t, 2*((bytes/2+align)&^align), cache["context keys"])
}
