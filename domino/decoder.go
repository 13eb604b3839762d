package domino

import (
	"slices"

	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

const defaultPrefillRows = 512

// DecoderConfig is what a Decoder is built for.
type DecoderConfig struct {
	Target *model.Target // loaded, to its last layer
	Draft  *DraftModel   // nil: the target decodes alone

	Slots   int // prompts that are decoded at one time
	Context int // the most tokens of a prompt with its answer

	// DraftTokens is K, the number of tokens that a cycle drafts; 0 is block size - 1, the
	// most without shift_label, and with it the block size is. Source: spec.md §14.2.
	DraftTokens int
	// Candidates bounds the head's correction to that many of a row's best base logits, from
	// which the drafted token then comes; 0 is the whole vocabulary. Source: spec.md §13.5.
	Candidates int
	// PrefillRows is the number of prompt tokens of one pass; 0 is 512.
	PrefillRows int
}

// Decoder decodes speculatively: a draft proposes a block of tokens, the target verifies
// them in one pass. It belongs to one ops.Context, and what it needs is allocated once.
// Source: spec.md §14.
type Decoder struct {
	c      *ops.Context
	cfg    DecoderConfig
	cache  *model.TargetCache
	draft  *drafter
	logits tensors.Tensor // F32 [Slots*(K+1), V]: the target's, and their probabilities
	// Host-visible: what verification gives, rows that get logits, and uniform numbers.
	result  tensors.Tensor // I32 [Slots*(K+1), or Slots*2 where that is more]
	rows    tensors.Tensor // I32 [Slots]
	uniform tensors.Tensor // F32 [Slots*(K+1)*2]
}

// NewDecoder allocates a decoder. Refused are a draft of another target, more drafted tokens
// than a block has, and a context that the target or its RoPE tables do not reach.
func NewDecoder(c *ops.Context, cfg DecoderConfig) (*Decoder, error) {
	if cfg.Slots < 1 || cfg.Context < 1 {
		return nil, fail.New(fail.Usage, "", "domino: decoder: want at least one slot and one token of context, got %d and %d", cfg.Slots, cfg.Context)
	}
	if cfg.PrefillRows == 0 {
		cfg.PrefillRows = defaultPrefillRows
	}
	if err := cfg.checkDraft(); err != nil {
		return nil, err
	}
	if err := cfg.checkContext(); err != nil {
		return nil, err
	}
	d := &Decoder{c: c, cfg: cfg}
	verify, V := cfg.Slots*(cfg.DraftTokens+1), cfg.Target.Config.VocabSize
	var ids []int
	if cfg.Draft != nil {
		ids = cfg.Draft.Config.TargetLayerIDs
	}
	var err error
	d.cache, err = cfg.Target.NewCache(c, cfg.Slots, cfg.Context+cfg.DraftTokens, max(cfg.PrefillRows, verify), ids)
	if err != nil {
		return nil, err
	}
	d.logits = c.Alloc("target logits", tensors.F32, verify, V)
	d.result = c.AllocHost("verified tokens", tensors.I32, max(verify, 2*cfg.Slots))
	d.rows = c.AllocHost("last prompt rows", tensors.I32, cfg.Slots)
	d.uniform = c.AllocHost("uniform numbers", tensors.F32, 2*verify)
	if cfg.Draft != nil {
		if d.draft, err = newDrafter(c, cfg, d.cache); err != nil {
			return nil, err
		}
	}
	return d, c.Err()
}

// checkDraft settles the number of drafted tokens.
func (cfg *DecoderConfig) checkDraft() error {
	if cfg.Draft == nil {
		cfg.DraftTokens = 0
		return nil
	}
	draft := cfg.Draft.Config
	if err := CheckDraft(draft, cfg.Target.Config); err != nil {
		return err
	}
	most := draft.BlockSize - 1 + draft.shift()
	if cfg.DraftTokens == 0 {
		cfg.DraftTokens = draft.BlockSize - 1
	}
	if cfg.DraftTokens < 1 || cfg.DraftTokens > most {
		return fail.New(fail.Usage, "lower the number of drafted tokens", "domino: drafted tokens: want 1 to %d for block size %d, got %d",
			most, draft.BlockSize, cfg.DraftTokens)
	}
	if cfg.Candidates < 0 || cfg.Candidates > draft.VocabSize {
		return fail.New(fail.Usage, "0 is the whole vocabulary", "domino: candidates: want 0 to %d, got %d", draft.VocabSize, cfg.Candidates)
	}
	return nil
}

func (cfg *DecoderConfig) checkContext() error {
	t := cfg.Target
	if cfg.Context > t.Config.MaxPositions {
		return fail.New(fail.Usage, "shorten the prompt or ask for fewer new tokens", "domino: context: want at most the target's max_position_embeddings %d, got %d",
			t.Config.MaxPositions, cfg.Context)
	}
	if need := RopePositions(cfg.Context, cfg.Draft); t.Cos.Shape[0] < need {
		return fail.New(fail.Other, "", "domino: decoder: want RoPE tables of %d positions, the target has %d", need, t.Cos.Shape[0])
	}
	return nil
}

// RopePositions is the length of the RoPE tables that decoding a context needs: the last
// block may begin at its last token.
func RopePositions(context int, draft *DraftModel) int {
	if draft == nil {
		return context
	}
	return context + draft.Config.BlockSize
}

// DraftTokens is K, the number of tokens that a cycle drafts; 0 without a draft.
func (d *Decoder) DraftTokens() int { return d.cfg.DraftTokens }

// CheckDraft says whether a draft belongs to a target: the sizes that it takes from it, the
// captured layers and the RoPE base. Source: spec.md §5.4, §13.5.
func CheckDraft(cfg DraftConfig, target *model.Config) error {
	const hint = "give the target that this draft was trained for"
	for _, size := range []struct {
		key        string
		draft, own int
	}{{"hidden_size", cfg.HiddenSize, target.HiddenSize}, {"vocab_size", cfg.VocabSize, target.VocabSize}, {"num_target_layers", cfg.NumTargetLayers, target.NumLayers}} {
		if size.draft != size.own && !(size.key == "num_target_layers" && size.draft == 0) {
			return fail.New(fail.Usage, hint, "domino: draft of another target: %s: want %d, the draft has %d", size.key, size.own, size.draft)
		}
	}
	if cfg.Theta != target.RopeTheta {
		return fail.New(fail.Usage, hint, "domino: draft of another target: rope_theta: want %v, the draft has %v", target.RopeTheta, cfg.Theta)
	}
	if err := target.CheckLayerIDs(cfg.TargetLayerIDs); err != nil {
		return fail.New(fail.Usage, hint, "domino: draft of another target: %w", err)
	}
	return cfg.Validate()
}

// DraftModel is a draft's weights on the device.
type DraftModel struct {
	Config DraftConfig
	Params *model.Params
}

// LoadDraft uploads a draft's weights, by their export names, for decoding.
func LoadDraft(c *ops.Context, cfg DraftConfig, weights func(name string) ([]float32, error), dtype tensors.DType) (*DraftModel, error) {
	d := &DraftModel{Config: cfg, Params: model.NewWeights(c, paramShapes(cfg), dtype)}
	for _, p := range d.Params.List {
		values, err := weights(p.Name)
		if err != nil {
			return nil, err
		}
		if err := d.Params.Set(c, p.Name, values); err != nil {
			return nil, err
		}
	}
	return d, c.Err()
}

// shift is 1 where block row p predicts the token after it (shift_label), else 0: row p
// is then the token itself. Plain DFlash is of the second kind. Source: spec.md §14.2.
func (c DraftConfig) shift() int {
	if c.Domino && c.ShiftLabel {
		return 1
	}
	return 0
}

// rowOf is the block row that predicts drafted token p, counted from 0.
func (c DraftConfig) rowOf(p int) int { return p + 1 - c.shift() }

// correctedFrom is the first drafted token that the head corrects: with either alignment its
// state has then seen the anchor and pure_draft_prefix_len tokens. Source: spec.md §6.3, §14.2.
func (c DraftConfig) correctedFrom() int { return c.PureDraftPrefixLen }

// checkTokens refuses ids that are not in the vocabulary.
func checkTokens(what string, ids []int32, vocabulary int) error {
	at := slices.IndexFunc(ids, func(id int32) bool { return id < 0 || int(id) >= vocabulary })
	if at < 0 {
		return nil
	}
	return fail.New(fail.Usage, "token ids count from 0 to vocab_size - 1", "domino: %s: want token ids from 0 to %d, got %d", what, vocabulary-1, ids[at])
}
