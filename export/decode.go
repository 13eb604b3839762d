package export

import (
	stdjson "encoding/json"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vkdomino/trainer/recipe"
)

// Defaults of Transformers' Qwen3 config for keys that a file may leave out.
const (
	defaultPositions = 32768
	defaultEps       = 1e-6
	defaultInitRange = 0.02
)

// configFile is config.json as the exporters that we know write it. A pointer tells a missing key from a zero.
type configFile struct {
	BlockSize     *int               `json:"block_size"`
	DFlash        *dflashFile        `json:"dflash_config"`
	HiddenSize    *int               `json:"hidden_size"`
	Layers        *int               `json:"num_hidden_layers"`
	Heads         *int               `json:"num_attention_heads"`
	KVHeads       *int               `json:"num_key_value_heads"`
	HeadDim       *int               `json:"head_dim"`
	Intermediate  *int               `json:"intermediate_size"`
	Vocab         *int               `json:"vocab_size"`
	EmbDim        *int               `json:"emb_dim"`
	TargetLayers  *int               `json:"num_target_layers"`
	RopeTheta     *float64           `json:"rope_theta"`
	RopeParams    *ropeFile          `json:"rope_parameters"`
	RopeScaling   stdjson.RawMessage `json:"rope_scaling"`
	Window        *int               `json:"sliding_window"`
	UseWindow     bool               `json:"use_sliding_window"`
	LayerTypes    []string           `json:"layer_types"`
	HiddenAct     string             `json:"hidden_act"`
	AttentionBias bool               `json:"attention_bias"`
	MaxPositions  int                `json:"max_position_embeddings"`
	RMSNormEps    float64            `json:"rms_norm_eps"`
	InitRange     float64            `json:"initializer_range"`
	Dtype         string             `json:"dtype"`
	TorchDtype    string             `json:"torch_dtype"`
	Bos           stdjson.RawMessage `json:"bos_token_id"`
	Eos           stdjson.RawMessage `json:"eos_token_id"`
}

type dflashFile struct {
	MaskTokenID    *int   `json:"mask_token_id"`
	TargetLayerIDs []int  `json:"target_layer_ids"`
	UseSWA         bool   `json:"use_swa"`
	WindowSize     *int   `json:"swa_window_size"`
	Causal         bool   `json:"causal"`
	Projector      string `json:"projector_type"`
	ShiftLabel     *bool  `json:"shift_label"`
	PrefixLen      *int   `json:"pure_draft_prefix_len"`
	GRUHiddenDim   *int   `json:"gru_hidden_dim"`
	EmbDim         *int   `json:"emb_dim"`
}

type ropeFile struct {
	Theta *float64 `json:"rope_theta"`
	Type  string   `json:"rope_type"`
}

// UnmarshalJSON reads what MarshalJSON wrote, and the configs of SpecForge and Model-Optimizer, as ParseConfig does for a
// folder without head tensors.
func (c *Config) UnmarshalJSON(text []byte) error {
	parsed, err := ParseConfig(text, false)
	if err == nil {
		*c = parsed
	}
	return err
}

// ParseConfig reads the text of a draft's config.json. With hasHead, which says that the folder has tensors of the Domino
// head, or with projector_type "domino" it is a Domino draft, which must say shift_label and pure_draft_prefix_len: the
// trainers' defaults for them disagree (spec.md §6.3). Unknown keys are ignored; a key that would change what the draft
// computes and is not supported is an error. Errors name the key and have ErrContract in their chain.
func ParseConfig(text []byte, hasHead bool) (Config, error) {
	f := configFile{HiddenAct: hiddenAct, MaxPositions: defaultPositions, RMSNormEps: defaultEps, InitRange: defaultInitRange}
	if err := json.Unmarshal(text, &f); err != nil {
		return Config{}, contract("%w", plain(err))
	}
	if f.DFlash == nil {
		return Config{}, contract("dflash_config: missing, so this is no DFlash or Domino draft")
	}
	c, err := f.config()
	for _, step := range []func(*Config) error{f.setRope, f.setWindow, f.setLayerIDs} {
		if err == nil {
			err = step(&c)
		}
	}
	if err == nil {
		err = f.DFlash.setHead(&c, f.EmbDim, hasHead)
	}
	if err == nil {
		err = c.check()
	}
	return c, err
}

// plain leaves Go's types out of a JSON error.
func plain(err error) error {
	var s *json.SemanticError
	if !errors.As(err, &s) {
		return err
	}
	key := strings.ReplaceAll(strings.TrimPrefix(string(s.JSONPointer), "/"), "/", ".")
	if key == "" {
		key = "the whole"
	}
	want := "a value of another kind"
	if s.GoType != nil {
		want = map[string]string{"int": "an integer", "bool": "true or false", "string": "a string", "float64": "a number",
			"slice": "a list", "struct": "an object"}[s.GoType.Kind().String()]
	}
	got := s.JSONKind.String()
	if len(s.JSONValue) > 0 {
		got = string(s.JSONValue[:min(len(s.JSONValue), 40)])
	}
	return fmt.Errorf("%s: want %s, got %s", key, want, got)
}

// config copies what needs no rule of its own, and lists all that is missing at once.
func (f *configFile) config() (Config, error) {
	c := Config{
		MaxPositionEmbeddings: f.MaxPositions, RMSNormEps: f.RMSNormEps, InitializerRange: f.InitRange,
		Dtype: f.TorchDtype, BosTokenID: notNull(f.Bos), EosTokenID: notNull(f.Eos), RopeScaling: notNull(f.RopeScaling),
	}
	if c.Dtype == "" {
		c.Dtype = f.Dtype
	}
	if f.TargetLayers != nil {
		c.NumTargetLayers = *f.TargetLayers
	}
	var absent []string
	for _, need := range []struct {
		key  string
		from *int
		to   *int
	}{
		{"block_size", f.BlockSize, &c.BlockSize}, {"dflash_config.mask_token_id", f.DFlash.MaskTokenID, &c.MaskTokenID},
		{"hidden_size", f.HiddenSize, &c.HiddenSize}, {"num_hidden_layers", f.Layers, &c.NumHiddenLayers},
		{"num_attention_heads", f.Heads, &c.NumAttentionHeads}, {"num_key_value_heads", f.KVHeads, &c.NumKeyValueHeads},
		{"head_dim", f.HeadDim, &c.HeadDim}, {"intermediate_size", f.Intermediate, &c.IntermediateSize}, {"vocab_size", f.Vocab, &c.VocabSize},
	} {
		if need.from == nil {
			absent = append(absent, need.key)
			continue
		}
		*need.to = *need.from
	}
	switch {
	case len(absent) > 0:
		return c, contract("missing: %s", strings.Join(absent, ", "))
	case c.checkLayers() != nil:
		return c, c.checkLayers()
	case f.HiddenAct != hiddenAct:
		return c, contract("hidden_act: want %q, got %q", hiddenAct, f.HiddenAct)
	case f.AttentionBias:
		return c, contract("attention_bias: want false, got true")
	}
	return c, nil
}

// notNull returns raw, but nil for null, so that equal configs are equal in Go too.
func notNull(raw stdjson.RawMessage) stdjson.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return slices.Clone(raw)
}

// setRope takes theta from where either generation of Transformers writes it (spec.md §5.4).
func (f *configFile) setRope(c *Config) error {
	theta := f.RopeTheta
	if p := f.RopeParams; p != nil {
		if p.Type != "" && p.Type != "default" {
			return contract("rope_parameters.rope_type: want default, got %q", p.Type)
		}
		if theta != nil && p.Theta != nil && *theta != *p.Theta {
			return contract("rope_theta: %v, but rope_parameters.rope_theta: %v", *theta, *p.Theta)
		}
		if theta == nil {
			theta = p.Theta
		}
	}
	if theta == nil {
		return contract("missing: rope_theta, here or in rope_parameters")
	}
	c.RopeTheta = *theta
	return nil
}

// setWindow takes the window of Model-Optimizer's kind: over the context, the block bidirectional, the same in each layer.
func (f *configFile) setWindow(c *Config) error {
	if n := len(f.LayerTypes); n > 0 && n != c.NumHiddenLayers {
		return contract("layer_types: want %d entries, got %d", c.NumHiddenLayers, n)
	}
	for _, kind := range f.LayerTypes {
		if kind != fullAttention {
			return contract("layer_types: want %s alone, got %q: windows per layer are not supported", fullAttention, kind)
		}
	}
	d := f.DFlash
	switch {
	case d.Causal:
		return contract("dflash_config.causal: want false, got true")
	case !d.UseSWA && f.UseWindow:
		return contract("use_sliding_window: true, but dflash_config has no use_swa: this kind of window is not supported")
	case !d.UseSWA:
		return nil
	case d.WindowSize == nil:
		return contract("missing: dflash_config.swa_window_size")
	case f.Window != nil && *f.Window != *d.WindowSize:
		return contract("sliding_window: %d, but dflash_config.swa_window_size: %d", *f.Window, *d.WindowSize)
	}
	c.Window = *d.WindowSize
	return nil
}

// setLayerIDs takes the captured layers; where there are none, those that the formula gives (spec.md §2.1).
func (f *configFile) setLayerIDs(c *Config) (err error) {
	if c.TargetLayerIDs = f.DFlash.TargetLayerIDs; c.TargetLayerIDs != nil {
		return nil
	}
	if f.TargetLayers == nil {
		return contract("missing: dflash_config.target_layer_ids, or num_target_layers for the formula")
	}
	if c.TargetLayerIDs, err = recipe.TargetLayerIDs(*f.TargetLayers, c.NumHiddenLayers); err != nil {
		return contract("dflash_config.target_layer_ids: missing, and the formula: %w", err)
	}
	return nil
}

// setHead decides between plain DFlash and Domino and takes the head's fields.
func (d *dflashFile) setHead(c *Config, topEmbDim *int, hasHead bool) error {
	switch d.Projector {
	case "", projectorPlain:
		c.Domino = hasHead
	case projectorName, projectorAlias:
		c.Domino = true
	default:
		return contract("dflash_config.projector_type: want %s, %s or none, got %q", projectorName, projectorPlain, d.Projector)
	}
	if !c.Domino {
		return nil
	}
	if d.ShiftLabel == nil || d.PrefixLen == nil {
		return contract("dflash_config: a Domino draft must say shift_label (true or false) and pure_draft_prefix_len: nothing can be guessed about how it was trained")
	}
	if d.GRUHiddenDim == nil || d.EmbDim == nil {
		return contract("missing: dflash_config.gru_hidden_dim and dflash_config.emb_dim")
	}
	if topEmbDim != nil && *topEmbDim != *d.EmbDim {
		return contract("emb_dim: %d, but dflash_config.emb_dim: %d", *topEmbDim, *d.EmbDim)
	}
	c.ShiftLabel, c.PureDraftPrefixLen, c.GRUHiddenDim, c.EmbDim = *d.ShiftLabel, *d.PrefixLen, *d.GRUHiddenDim, *d.EmbDim
	return nil
}
