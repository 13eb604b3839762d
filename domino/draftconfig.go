package domino

import (
	"fmt"
	"strings"

	"vkdomino/internal/draftnames"
	"vkdomino/internal/fail"
	"vkdomino/model"
)

// DraftConfig is the architecture of a draft: the DFlash backbone and, with Domino set, the
// head. Hidden size, vocabulary, theta and rms_norm_eps are the target's. Names follow the
// export (spec.md §13.2), letters spec.md §1.1.
type DraftConfig struct {
	HiddenSize       int // H
	VocabSize        int // V
	NumLayers        int // D
	NumHeads         int // nH
	NumKVHeads       int // nKV
	HeadDim          int // hd
	IntermediateSize int // I

	TargetLayerIDs  []int // captured target layers, in feature order
	NumTargetLayers int   // L of the original target

	BlockSize   int // bs
	MaskTokenID int
	SWAWindow   int // W of Model-Optimizer's sliding window; 0 is full attention

	RMSNormEps       float64
	Theta            float64 // RoPE base used in training
	InitializerRange float64

	Domino             bool // projector_type "domino"; without it plain DFlash, and none of the rest
	GRUHiddenDim       int  // G
	EmbDim             int  // E
	PureDraftPrefixLen int  // p0
	ShiftLabel         bool
}

// NumFeatures is nF, the number of captured target layers.
func (c DraftConfig) NumFeatures() int { return len(c.TargetLayerIDs) }

// SuffixStart is s0, the first position that the head corrects: p0 with shift_label, 1 + p0
// without; BlockSize for plain DFlash, which corrects none. Source: spec.md §6.1, §6.3.
func (c DraftConfig) SuffixStart() int {
	switch {
	case !c.Domino:
		return c.BlockSize
	case c.ShiftLabel:
		return c.PureDraftPrefixLen
	default:
		return 1 + c.PureDraftPrefixLen
	}
}

// Names returns the geometry that decides the draft's tensors.
func (c DraftConfig) Names() draftnames.Shape {
	s := draftnames.Shape{
		Layers: c.NumLayers, Hidden: c.HiddenSize, Features: c.NumFeatures(), Heads: c.NumHeads, KVHeads: c.NumKVHeads,
		HeadDim: c.HeadDim, Intermediate: c.IntermediateSize, Vocab: c.VocabSize, Domino: c.Domino,
	}
	if c.Domino {
		s.GRUHidden, s.Embed = c.GRUHiddenDim, c.EmbDim
	}
	return s
}

// Validate checks the configuration by itself: sizes, head geometry, window, mask id and
// the head's fields. Every error is a usage error that names the recipe's key, what was
// found and what is allowed. Source: spec.md §15.1, §15.2.
func (c DraftConfig) Validate() error {
	if err := c.checkSizes(); err != nil {
		return err
	}
	switch {
	case c.NumHeads%c.NumKVHeads != 0:
		return badKey("num_attention_heads", "want a multiple of num_key_value_heads %d, got %d", c.NumKVHeads, c.NumHeads)
	case c.HeadDim%2 != 0:
		return badKey("head_dim", "want an even number, got %d", c.HeadDim)
	case c.BlockSize < 2:
		return badKey("dflash_block_size", "want an integer of at least 2, got %d", c.BlockSize)
	case c.SWAWindow != 0 && c.SWAWindow < c.BlockSize:
		return badKey("dflash_swa_window_size", "want at least the block size %d, got %d", c.BlockSize, c.SWAWindow)
	case c.MaskTokenID < 0 || c.MaskTokenID >= c.VocabSize:
		return badKey("dflash_mask_token_id", "want 0 to %d, got %d", c.VocabSize-1, c.MaskTokenID)
	case !(c.RMSNormEps > 0):
		return badKey("rms_norm_eps", "want above 0, got %v", c.RMSNormEps)
	case !(c.Theta > 0):
		return badKey("rope_theta", "want above 0, got %v", c.Theta)
	case !(c.InitializerRange > 0):
		return badKey("initializer_range", "want above 0, got %v", c.InitializerRange)
	}
	return c.checkHead()
}

func (c DraftConfig) checkSizes() error {
	for _, size := range []struct {
		key string
		n   int
	}{
		{"hidden_size", c.HiddenSize}, {"vocab_size", c.VocabSize}, {"num_hidden_layers", c.NumLayers},
		{"num_attention_heads", c.NumHeads}, {"num_key_value_heads", c.NumKVHeads}, {"head_dim", c.HeadDim},
		{"intermediate_size", c.IntermediateSize}, {"target_layer_ids", len(c.TargetLayerIDs)},
	} {
		if size.n < 1 {
			return badKey(size.key, "want at least 1, got %d", size.n)
		}
	}
	return nil
}

func (c DraftConfig) checkHead() error {
	if !c.Domino {
		return nil
	}
	switch {
	case c.EmbDim < 1 || c.GRUHiddenDim < 1:
		return badKey("emb_dim, gru_hidden_dim", "want both at least 1 for projector_type domino, got %d and %d", c.EmbDim, c.GRUHiddenDim)
	case c.PureDraftPrefixLen < 0 || c.PureDraftPrefixLen >= c.BlockSize:
		return badKey("pure_draft_prefix_len", "want 0 to %d for block size %d, got %d", c.BlockSize-1, c.BlockSize, c.PureDraftPrefixLen)
	}
	return nil
}

func badKey(key, format string, args ...any) error {
	return fail.New(fail.Usage, "change "+key, "domino: "+key+": "+format, args...)
}

// TargetInit returns, for a draft whose layer i starts as a copy of target layer layers[i],
// the target tensor that each of its tensors is copied from: draft name -> checkpoint name.
// Tensors that are not in the map start as their ParamSpec says. Refused (usage) where the
// count of layers differs from the draft's, a layer is not the target's, or head counts,
// head_dim or intermediate_size differ. Source: spec.md §5.7.
func TargetInit(c DraftConfig, target *model.Config, layers []int) (map[string]string, error) {
	const key = "compat.init_from_target_layers"
	if len(layers) != c.NumLayers {
		return nil, badKey(key, "want one target layer for each of %d draft layers, got %d", c.NumLayers, len(layers))
	}
	draft := [4]int{c.NumHeads, c.NumKVHeads, c.HeadDim, c.IntermediateSize}
	want := [4]int{target.NumHeads, target.NumKVHeads, target.HeadDim, target.IntermediateSize}
	if draft != want {
		return nil, badKey(key, "want the target's heads, KV heads, head_dim and intermediate_size %v, got %v", want, draft)
	}
	from := map[string]string{}
	for l, j := range layers {
		if j < 0 || j >= target.NumLayers {
			return nil, badKey(key, "want target layers 0 to %d, got %d", target.NumLayers-1, j)
		}
		own := fmt.Sprintf("layers.%d.", l)
		for _, t := range draftnames.List(c.Names()) {
			if part, ok := strings.CutPrefix(t.Name, own); ok {
				from[t.Name] = model.LayerTensor(j, strings.TrimSuffix(part, ".weight"))
			}
		}
	}
	return from, nil
}
