package domino_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
)

const demoDir = "../testdata/demo"

// demoPrompts are the first n prompts of a file of the demo.
func demoPrompts(t *testing.T, file string, n int) [][]int32 {
	target := filepath.Join(demoDir, "target")
	tok, err := data.LoadTokenizer(filepath.Join(target, "tokenizer.json"))
	require.NoError(t, err)
	specials, err := data.LoadSpecials(target)
	require.NoError(t, err)
	template, err := data.NewTemplate(specials.ChatTemplate)
	require.NoError(t, err)
	list, err := data.LoadPrompts(t.Context(), data.Options{Path: filepath.Join(demoDir, file), Tokenizer: tok, Template: template, BOS: specials.BOS, EOS: specials.EOS}, n)
	require.NoError(t, err)
	require.Len(t, list, n)
	prompts := make([][]int32, n)
	for i, p := range list {
		prompts[i] = p.IDs
	}
	return prompts
}

// TestLossless decodes the demo's prompts: greedily, in either precision, and sampled with
// equality every answer is that of the target alone, whatever is drafted. 200 prompts are
// decoded in f32, in the nightly tests all ways and to longer answers.
func TestLossless(t *testing.T) {
	prompts := append(demoPrompts(t, "eval.jsonl", 48), demoPrompts(t, "train.jsonl", 152)...)
	some, tokens := 40, 8
	if testgpu.Nightly() {
		some, tokens = len(prompts), 64
	}
	c := testgpu.Context(t)
	var d *domino.Decoder
	load := func(dtype tensors.DType) {
		c.Release()
		d = goldenDecoder(t, c, dtype, domino.DecoderConfig{Slots: 40, Context: 256}, nil)
	}
	opt := domino.DecodeOptions{MaxNewTokens: tokens, StopTokens: []int32{1002}}
	load(tensors.BF16)
	requireLossless(t, d, prompts[:some], opt)
	load(tensors.F32)
	requireLossless(t, d, prompts, opt)
	opt.Sampling, opt.Seed = ops.Filter{Temperature: 1, TopP: 0.9, TopK: 100}, 5
	requireLossless(t, d, prompts[:some], opt)
}

// requireLossless wants the target's own tokens for every prompt, for fewer of its calls.
func requireLossless(t *testing.T, d *domino.Decoder, prompts [][]int32, opt domino.DecodeOptions) {
	opt.NoDraft = true
	alone := generate(t, d, prompts, opt)
	opt.NoDraft = false
	with := generate(t, d, prompts, opt)
	calls, callsAlone := 0, 0
	for i := range prompts {
		require.Equal(t, alone.Generations[i].Tokens, with.Generations[i].Tokens, "prompt %d, %+v", i, opt.Sampling)
		calls += with.Generations[i].TargetCalls
		callsAlone += alone.Generations[i].TargetCalls
	}
	require.Less(t, calls, callsAlone, "the draft saves target calls")
}
