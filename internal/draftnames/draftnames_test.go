package draftnames

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// qwen3x8b is the draft of the Qwen3-8B recipe, whose counts spec.md §5.6 and §6.2 give.
var qwen3x8b = Shape{Layers: 5, Hidden: 4096, Features: 5, Heads: 32, KVHeads: 8, HeadDim: 128, Intermediate: 12288,
	Vocab: 151936, Domino: true, GRUHidden: 1024, Embed: 256}

func params(list []Tensor) int {
	total := 0
	for _, t := range list {
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		total += n
	}
	return total
}

func TestCountsOfQwen3(t *testing.T) {
	list := List(qwen3x8b)
	require.Len(t, list, 62)
	require.Equal(t, 1_104_561_408, params(list))
	plain := qwen3x8b
	plain.Domino = false
	require.Len(t, List(plain), 58)
	require.Equal(t, 1_048_626_432, params(List(plain)))
	require.Equal(t, 192_946_432, params(layerTensors("", qwen3x8b)))
}

func TestCanonical(t *testing.T) {
	cases := []struct {
		in, want string
		keep     bool
	}{
		{"fc.weight", "fc.weight", true},
		{"dflash_module.fc.weight", "fc.weight", true},
		{"logit_head.prefix_gru.weight_ih_l0", GRUInput, true},
		{"logit_head.embed_proj.2.weight", EmbedOut, true},
		{"dflash_module.logit_head.embed_proj.0.weight", EmbedIn, true},
		{"logit_head.other.weight", "logit_head.other.weight", true},
		{"layers.0.self_attn.rotary_emb.inv_freq", "layers.0.self_attn.rotary_emb.inv_freq", false},
		{"dflash_module.rotary_emb.inv_freq", "rotary_emb.inv_freq", false},
	}
	for _, c := range cases {
		name, keep := Canonical(c.in)
		require.Equal(t, c.want, name)
		require.Equal(t, c.keep, keep, c.in)
	}
}
