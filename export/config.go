package export

import (
	"encoding/json"
	"encoding/json/jsontext"
)

// Config is a draft's config.json (spec.md §13.2 and §13.3). Fields that always have one value in a draft (model_type,
// hidden_act, attention_bias and others) are not in it. Letters are those of spec.md §1.1.
type Config struct {
	BlockSize      int   // bs
	MaskTokenID    int   // dflash_config.mask_token_id
	TargetLayerIDs []int // dflash_config.target_layer_ids, nF of them
	Window         int   // W of the sliding window, 0 for none

	Domino             bool // projector_type "domino"; the four below are 0 without it
	ShiftLabel         bool
	PureDraftPrefixLen int // p0
	GRUHiddenDim       int // G
	EmbDim             int // E

	HiddenSize            int // H
	NumHiddenLayers       int // D
	NumAttentionHeads     int // nH
	NumKeyValueHeads      int // nKV
	HeadDim               int // hd
	IntermediateSize      int // I
	VocabSize             int // V
	MaxPositionEmbeddings int
	RMSNormEps            float64
	InitializerRange      float64
	RopeTheta             float64
	RopeScaling           json.RawMessage // an object, or nil for null
	NumTargetLayers       int             // L of the original target; 0 where a foreign config leaves it out

	Dtype      string          // "bfloat16", "float32"; Write sets it
	BosTokenID json.RawMessage // the target's: a number, a list or nil for null
	EosTokenID json.RawMessage
}

const (
	modelType      = "qwen3" // whatever the target, as Model-Optimizer writes it
	hiddenAct      = "silu"
	architecture   = "DFlashDraftModel"
	fullAttention  = "full_attention"
	projectorName  = "domino"
	projectorAlias = "causal_v5" // an old name of it, which SGLang accepts too
	projectorPlain = "dflash"
)

// Limits far above any model.
const (
	maxSize   = 1 << 24 // keeps products of two sizes within an int
	maxLayers = 1 << 10
)

// MarshalJSON returns config.json: every key of Model-Optimizer's exporter in its order, then the keys of SpecForge's
// and of Transformers that it leaves out. Floats are written as Python does.
func (c Config) MarshalJSON() ([]byte, error) {
	doc := object{
		{"architectures", []string{architecture}},
		{"model_type", modelType},
		{"block_size", c.BlockSize},
		{"dflash_config", c.dflashObject()},
		{"hidden_size", c.HiddenSize},
		{"num_hidden_layers", c.NumHiddenLayers},
		{"num_attention_heads", c.NumAttentionHeads},
		{"num_key_value_heads", c.NumKeyValueHeads},
		{"head_dim", c.HeadDim},
		{"intermediate_size", c.IntermediateSize},
		{"hidden_act", hiddenAct},
		{"rms_norm_eps", c.RMSNormEps},
		{"vocab_size", c.VocabSize},
		{"max_position_embeddings", c.MaxPositionEmbeddings},
		{"initializer_range", c.InitializerRange},
		{"attention_bias", false},
		{"attention_dropout", 0.0},
		{"rope_theta", c.RopeTheta},
		{"rope_scaling", c.RopeScaling},
		{"tie_word_embeddings", false},
		{"torch_dtype", c.Dtype},
		{"num_target_layers", c.NumTargetLayers},
		{"layer_types", repeat(fullAttention, c.NumHiddenLayers)},
	}
	if c.Window > 0 {
		doc = append(doc, member{"sliding_window", c.Window})
	}
	if c.Domino {
		doc = append(doc, member{"emb_dim", c.EmbDim})
	}
	doc = append(doc, object{
		{"dtype", c.Dtype},
		{"bos_token_id", c.BosTokenID},
		{"eos_token_id", c.EosTokenID},
		{"max_window_layers", c.NumHiddenLayers},
		{"use_sliding_window", c.Window > 0},
		{"use_cache", true},
	}...)
	return encode(doc)
}

// dflashObject is the value of dflash_config.
func (c Config) dflashObject() object {
	doc := object{{"mask_token_id", c.MaskTokenID}, {"target_layer_ids", c.TargetLayerIDs}}
	if c.Window > 0 {
		doc = append(doc, object{{"use_swa", true}, {"swa_window_size", c.Window}, {"causal", false}}...)
	}
	if c.Domino {
		doc = append(doc, object{
			{"projector_type", projectorName},
			{"shift_label", c.ShiftLabel},
			{"pure_draft_prefix_len", c.PureDraftPrefixLen},
			{"gru_hidden_dim", c.GRUHiddenDim},
			{"emb_dim", c.EmbDim},
		}...)
	}
	return doc
}

func repeat(s string, n int) []string {
	list := make([]string, max(n, 0))
	for i := range list {
		list[i] = s
	}
	return list
}

// check holds a config to the contract as far as it can be done without tensors (spec.md §13.3, §13.5, §15.1, §15.2).
func (c Config) check() error {
	if err := c.checkSizes(); err != nil {
		return err
	}
	switch {
	case c.NumAttentionHeads%c.NumKeyValueHeads != 0:
		return contract("num_attention_heads: want a multiple of num_key_value_heads %d, got %d", c.NumKeyValueHeads, c.NumAttentionHeads)
	case c.HeadDim%2 != 0:
		return contract("head_dim: want an even number, got %d", c.HeadDim)
	case c.BlockSize < 2:
		return contract("block_size: want at least 2, got %d", c.BlockSize)
	case c.MaskTokenID < 0 || c.MaskTokenID >= c.VocabSize:
		return contract("mask_token_id: want 0 to %d, got %d", c.VocabSize-1, c.MaskTokenID)
	case c.Window != 0 && c.Window < c.BlockSize:
		return contract("sliding window: want at least the block size %d, got %d", c.BlockSize, c.Window)
	case !positive(c.RMSNormEps) || !positive(c.RopeTheta) || !positive(c.InitializerRange):
		return contract("rms_norm_eps, rope_theta, initializer_range: want numbers above 0, got %v, %v, %v", c.RMSNormEps, c.RopeTheta, c.InitializerRange)
	}
	if len(c.RopeScaling) > 0 && jsontext.Value(c.RopeScaling).Kind() != '{' {
		return contract("rope_scaling: want an object or null, got %s", c.RopeScaling)
	}
	for _, id := range c.TargetLayerIDs {
		if id < 0 || (c.NumTargetLayers > 0 && id >= c.NumTargetLayers) {
			return contract("target_layer_ids: want 0 to %d, got %d", c.NumTargetLayers-1, id)
		}
	}
	return c.checkHead()
}

func (c Config) checkSizes() error {
	for _, size := range []struct {
		key string
		n   int
	}{
		{"hidden_size", c.HiddenSize}, {"num_attention_heads", c.NumAttentionHeads},
		{"num_key_value_heads", c.NumKeyValueHeads}, {"head_dim", c.HeadDim}, {"intermediate_size", c.IntermediateSize},
		{"vocab_size", c.VocabSize}, {"max_position_embeddings", c.MaxPositionEmbeddings}, {"length of target_layer_ids", len(c.TargetLayerIDs)},
	} {
		if size.n < 1 || size.n > maxSize {
			return contract("%s: want 1 to %d, got %d", size.key, maxSize, size.n)
		}
	}
	return c.checkLayers()
}

// checkLayers bounds the layers by themselves, since lists are made by their number.
func (c Config) checkLayers() error {
	if c.NumHiddenLayers < 1 || c.NumHiddenLayers > maxLayers {
		return contract("num_hidden_layers: want 1 to %d, got %d", maxLayers, c.NumHiddenLayers)
	}
	return nil
}

func (c Config) checkHead() error {
	switch {
	case !c.Domino && (c.EmbDim != 0 || c.GRUHiddenDim != 0 || c.PureDraftPrefixLen != 0 || c.ShiftLabel):
		return contract("a plain DFlash draft has no head fields")
	case !c.Domino:
		return nil
	case c.EmbDim < 1 || c.GRUHiddenDim < 1:
		return contract("emb_dim, gru_hidden_dim: want both at least 1, got %d and %d", c.EmbDim, c.GRUHiddenDim)
	case c.PureDraftPrefixLen < 0 || c.PureDraftPrefixLen >= c.BlockSize:
		return contract("pure_draft_prefix_len: want 0 to %d for block size %d, got %d", c.BlockSize-1, c.BlockSize, c.PureDraftPrefixLen)
	}
	return nil
}

func positive(x float64) bool { return x > 0 && x*0 == 0 }
