package domino_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
)

const demoDir = "../testdata/demo"

// demoPrompts are the prompts of eval.jsonl.
func demoPrompts(t *testing.T) [][]int32 {
	target := filepath.Join(demoDir, "target")
	tok, err := data.LoadTokenizer(filepath.Join(target, "tokenizer.json"))
	require.NoError(t, err)
	specials, err := data.LoadSpecials(target)
	require.NoError(t, err)
	template, err := data.NewTemplate(specials.ChatTemplate)
	require.NoError(t, err)
	list, err := data.LoadPrompts(data.Options{Path: filepath.Join(demoDir, "eval.jsonl"), Tokenizer: tok, Template: template, BOS: specials.BOS, EOS: specials.EOS}, 48)
	require.NoError(t, err)
	require.Len(t, list, 48)
	prompts := make([][]int32, len(list))
	for i, p := range list {
		prompts[i] = p.IDs
	}
	return prompts
}

// TestLossless decodes the demo's prompts: greedily, and sampled with equality, the tokens
// are those of the target alone, whatever is drafted.
func TestLossless(t *testing.T) {
	prompts := demoPrompts(t)
	d := goldenDecoder(t, tensors.F32, domino.DecoderConfig{Slots: 24, Context: 192}, nil)
	for _, filter := range []ops.Filter{{}, {Temperature: 1, TopP: 0.9, TopK: 100}} {
		opt := domino.DecodeOptions{MaxNewTokens: 12, StopTokens: []int32{1002}, Sampling: filter, Seed: 5, NoDraft: true}
		alone := generate(t, d, prompts, opt)
		opt.NoDraft = false
		with := generate(t, d, prompts, opt)
		calls, callsAlone := 0, 0
		for i := range prompts {
			require.Equal(t, alone.Generations[i].Tokens, with.Generations[i].Tokens, "prompt %d, %+v", i, filter)
			calls += with.Generations[i].TargetCalls
			callsAlone += alone.Generations[i].TargetCalls
		}
		require.Less(t, calls, callsAlone, "the draft saves target calls")
	}
}
