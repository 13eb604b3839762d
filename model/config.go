package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vkdomino/internal/fail"
)

// Config is the architecture of a frozen Qwen3 dense target, as its Hugging Face
// config.json states it. Letters are those of spec.md §1.1.
type Config struct {
	HiddenSize       int // H
	IntermediateSize int // width of the SwiGLU
	NumLayers        int // L
	NumHeads         int // nH
	NumKVHeads       int // nKV, divides nH
	HeadDim          int // hd, even; need not be H/nH
	VocabSize        int // V
	MaxPositions     int // max_position_embeddings

	RMSNormEps       float64 // eps_n
	RopeTheta        float64 // base of the rotary angles, spec.md §5.4
	InitializerRange float64 // standard deviation that the target's authors used

	TieWordEmbeddings bool // the LM head is the embedding table

	BOS, EOS, Pad TokenIDs

	Dtype string // "bfloat16", "float32", …; what the file says, "" if it says nothing
}

// TokenIDs is a token id of config.json: absent (null), one id, or a list of ids.
type TokenIDs struct {
	IDs  []int
	List bool // the file spells it as a list
}

// MarshalJSON writes null, a number or a list, as the ids were read.
func (t TokenIDs) MarshalJSON() ([]byte, error) {
	switch {
	case t.List:
		return json.Marshal(append([]int{}, t.IDs...))
	case len(t.IDs) == 0:
		return []byte("null"), nil
	default:
		return json.Marshal(t.IDs[0])
	}
}

// The one architecture that can be a target, and what errors say of it.
const (
	modelType     = "qwen3"
	architecture  = "Qwen3ForCausalLM"
	supportedHint = "supported targets: Qwen3 dense models (model_type qwen3, architecture Qwen3ForCausalLM, hidden_act silu, " +
		"no attention bias, full attention, default RoPE, unquantized bf16, f16 or f32 weights)"
)

// Limits that keep products of dimensions within an int; far above any real model.
const (
	maxDim         = 1 << 24
	maxLayers      = 1 << 12
	maxConfigBytes = 16 << 20
)

// Defaults of Hugging Face's Qwen3 configuration for keys that a file may leave out.
const (
	defaultRMSNormEps       = 1e-6
	defaultInitializerRange = 0.02
	defaultMaxPositions     = 32768
)

// ReadConfig reads dir/config.json. A file that is missing or malformed and a target that
// is not a plain Qwen3 dense model are errors (exit code 1); the latter name the key and
// list what is supported. theta is rope_theta, else rope_parameters.rope_theta, else an
// error: it is never assumed. Source: spec.md §2.3, §5.4.
func ReadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, "config.json")
	raw, err := readConfigFile(path)
	if err != nil {
		return nil, err
	}
	cfg, err := ParseConfig(raw)
	if err != nil {
		return nil, fail.New(fail.CodeOf(err), fail.HintOf(err), "model: %s: %w", path, err)
	}
	return cfg, nil
}

func readConfigFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fail.New(fail.Other, "give the folder of a Hugging Face checkpoint",
			"model: no config.json: %w", err)
	}
	if info.IsDir() || info.Size() > maxConfigBytes {
		return nil, fail.New(fail.Other, "config.json is a small text file", "model: %s: want a file of at most %d bytes, got %s",
			path, maxConfigBytes, info.Mode())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("model: config: %w", err)
	}
	return raw, nil
}

// ParseConfig reads the bytes of a config.json; see ReadConfig.
func ParseConfig(raw []byte) (*Config, error) {
	r := &configReader{}
	if err := json.Unmarshal(raw, &r.keys); err != nil {
		return nil, fail.New(fail.Other, "the file is damaged or not a model's config.json; download it again", "not a JSON object: %w", err)
	}
	if r.keys == nil {
		return nil, fail.New(fail.Other, "the file is not a model's config.json", "want a JSON object, got null")
	}
	r.checkSupported()
	cfg := r.dimensions()
	cfg.RopeTheta = r.theta()
	r.checkGeometry(cfg)
	if r.err != nil {
		return nil, r.err
	}
	return cfg, nil
}

// configReader reads keys of one JSON object and keeps the first error.
type configReader struct {
	keys map[string]json.RawMessage
	err  error
}

func (r *configReader) broken(format string, args ...any) {
	if r.err == nil {
		r.err = fail.New(fail.Other, "the checkpoint's config.json is incomplete or damaged; download it again", format, args...)
	}
}

func (r *configReader) unsupported(format string, args ...any) {
	if r.err == nil {
		r.err = fail.New(fail.Other, supportedHint, "unsupported target: "+format, args...)
	}
}

// present says whether key is there and not null.
func (r *configReader) present(key string) bool {
	v, ok := r.keys[key]
	return ok && string(v) != "null"
}

// value decodes key into dst, which keeps its value where the key is absent or null.
func (r *configReader) value(key string, dst any, want string) {
	if !r.present(key) {
		return
	}
	if err := json.Unmarshal(r.keys[key], dst); err != nil {
		r.broken("%s: want %s, got %s", key, want, clip(r.keys[key]))
	}
}

// size reads an integer in 1..limit; a missing key takes fallback, or is an error if that is 0.
func (r *configReader) size(key string, fallback, limit int) int {
	n := fallback
	r.value(key, &n, "a positive integer")
	if !r.present(key) && fallback == 0 {
		r.broken("%s: missing", key)
	}
	if r.err == nil && (n < 1 || n > limit) {
		r.broken("%s: want 1 to %d, got %d", key, limit, n)
	}
	return n
}

// positive reads a finite number above 0; a missing key takes fallback.
func (r *configReader) positive(key string, fallback float64) float64 {
	x := fallback
	r.value(key, &x, "a positive number")
	if r.err == nil && !(x > 0 && x <= math.MaxFloat32) {
		r.broken("%s: want a positive number, got %v", key, x)
	}
	return x
}

func (r *configReader) flag(key string) bool {
	var b bool
	r.value(key, &b, "true or false")
	return b
}

func (r *configReader) text(key, fallback string) string {
	s := fallback
	r.value(key, &s, "a string")
	return s
}

func (r *configReader) tokenIDs(key string) TokenIDs {
	if !r.present(key) {
		return TokenIDs{}
	}
	var one int
	if json.Unmarshal(r.keys[key], &one) == nil {
		return TokenIDs{IDs: []int{one}}
	}
	var list []int
	r.value(key, &list, "a token id, a list of them or null")
	return TokenIDs{IDs: list, List: true}
}

// checkSupported refuses every architecture and feature that the forward pass does not compute.
func (r *configReader) checkSupported() {
	if t := r.text("model_type", ""); t != modelType {
		r.unsupported("model_type %q", t)
	}
	var archs []string
	r.value("architectures", &archs, "a list of strings")
	if len(archs) > 0 && !slices.Contains(archs, architecture) {
		r.unsupported("architectures %q", archs)
	}
	if act := r.text("hidden_act", "silu"); act != "silu" {
		r.unsupported("hidden_act %q", act)
	}
	if r.flag("attention_bias") {
		r.unsupported("attention_bias true")
	}
	if r.flag("use_sliding_window") {
		r.unsupported("use_sliding_window true")
	}
	if r.present("quantization_config") {
		r.unsupported("a quantized checkpoint (quantization_config %s)", clip(r.keys["quantization_config"]))
	}
	r.checkLayerTypes()
}

func (r *configReader) checkLayerTypes() {
	var types []string
	r.value("layer_types", &types, "a list of strings")
	for i, t := range types {
		if t != "full_attention" {
			r.unsupported("layer_types[%d] %q", i, t)
		}
	}
}

func (r *configReader) dimensions() *Config {
	nH := r.size("num_attention_heads", 0, maxDim)
	hidden := r.size("hidden_size", 0, maxDim)
	headDim := 0
	if nH > 0 {
		headDim = hidden / nH
	}
	return &Config{
		HiddenSize:        hidden,
		IntermediateSize:  r.size("intermediate_size", 0, maxDim),
		NumLayers:         r.size("num_hidden_layers", 0, maxLayers),
		NumHeads:          nH,
		NumKVHeads:        r.size("num_key_value_heads", nH, maxDim),
		HeadDim:           r.size("head_dim", headDim, maxDim),
		VocabSize:         r.size("vocab_size", 0, maxDim),
		MaxPositions:      r.size("max_position_embeddings", defaultMaxPositions, math.MaxInt32),
		RMSNormEps:        r.positive("rms_norm_eps", defaultRMSNormEps),
		InitializerRange:  r.positive("initializer_range", defaultInitializerRange),
		TieWordEmbeddings: r.flag("tie_word_embeddings"),
		BOS:               r.tokenIDs("bos_token_id"),
		EOS:               r.tokenIDs("eos_token_id"),
		Pad:               r.tokenIDs("pad_token_id"),
		Dtype:             r.text("dtype", r.text("torch_dtype", "")),
	}
}

// theta resolves the RoPE base and refuses every kind of RoPE but the default one.
func (r *configReader) theta() float64 {
	params := r.nested("rope_parameters")
	r.checkRope("rope_scaling", r.nested("rope_scaling"))
	r.checkRope("rope_parameters", params)
	switch {
	case r.present("rope_theta"):
		return r.positive("rope_theta", 0)
	case params.present("rope_theta"):
		theta := params.positive("rope_theta", 0)
		if params.err != nil {
			r.broken("rope_parameters: %w", params.err)
		}
		return theta
	}
	r.broken("rope_theta: missing, and rope_parameters.rope_theta too")
	return 0
}

func (r *configReader) nested(key string) *configReader {
	sub := &configReader{}
	r.value(key, &sub.keys, "an object or null")
	return sub
}

func (r *configReader) checkRope(key string, rope *configReader) {
	kind := rope.text("rope_type", rope.text("type", "default"))
	if rope.err != nil {
		r.broken("%s: %w", key, rope.err)
	}
	if kind != "default" {
		r.unsupported("%s of type %q (the target is trained without RoPE scaling; set the scaling at export instead)", key, kind)
	}
	for _, part := range []*configReader{r, rope} {
		if f := part.positive("partial_rotary_factor", 1); f != 1 {
			r.unsupported("partial_rotary_factor %v", f)
		}
	}
}

func (r *configReader) checkGeometry(c *Config) {
	if r.err != nil {
		return
	}
	if c.NumHeads%c.NumKVHeads != 0 {
		r.broken("num_attention_heads: want a multiple of num_key_value_heads %d, got %d", c.NumKVHeads, c.NumHeads)
	}
	if c.HeadDim%2 != 0 {
		r.broken("head_dim: want an even number, got %d", c.HeadDim)
	}
	if c.NumHeads*c.HeadDim > maxDim {
		r.broken("num_attention_heads x head_dim: want at most %d, got %d", maxDim, c.NumHeads*c.HeadDim)
	}
	named := map[string]TokenIDs{"bos_token_id": c.BOS, "eos_token_id": c.EOS}
	for _, key := range []string{"bos_token_id", "eos_token_id"} {
		for _, id := range named[key].IDs {
			if id < 0 || id >= c.VocabSize {
				r.broken("%s: want 0 to %d, got %d", key, c.VocabSize-1, id)
			}
		}
	}
}

// clip shortens a JSON value for an error message.
func clip(v json.RawMessage) string {
	const most = 80
	s := strings.Join(strings.Fields(string(v)), " ")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// TensorShapes returns name and shape of every tensor that the checkpoint must hold so
// that the forward pass can run through decoder layer lastLayer (0-based): the embedding
// table, the layers 0..lastLayer, the LM head unless it is tied, and the final norm only
// where the pass runs to the target's end. Linear weights are [out, in].
// lastLayer outside 0..L-1 is an error. Source: spec.md §2.2, §2.3.
func (c *Config) TensorShapes(lastLayer int) (map[string][]int, error) {
	if lastLayer < 0 || lastLayer >= c.NumLayers {
		return nil, fail.New(fail.Usage, "give layer ids that the target has", "model: last layer: want 0 to %d, got %d", c.NumLayers-1, lastLayer)
	}
	shapes := map[string][]int{EmbedName: {c.VocabSize, c.HiddenSize}}
	if !c.TieWordEmbeddings {
		shapes[LMHeadName] = []int{c.VocabSize, c.HiddenSize}
	}
	if lastLayer == c.NumLayers-1 {
		shapes[FinalNormName] = []int{c.HiddenSize}
	}
	for l := 0; l <= lastLayer; l++ {
		for _, w := range c.layerShapes() {
			shapes[LayerTensor(l, w.name)] = w.shape
		}
	}
	return shapes, nil
}

// Names of the target's tensors outside its layers.
const (
	EmbedName     = "model.embed_tokens.weight"
	LMHeadName    = "lm_head.weight"
	FinalNormName = "model.norm.weight"
)

// LMHead returns the name of the tensor that holds the LM head: the embedding table where
// the two are tied.
func (c *Config) LMHead() string {
	if c.TieWordEmbeddings {
		return EmbedName
	}
	return LMHeadName
}

// LayerTensor returns the checkpoint's name of a tensor of decoder layer l, for example
// LayerTensor(3, "self_attn.q_proj") = "model.layers.3.self_attn.q_proj.weight".
func LayerTensor(l int, part string) string {
	return fmt.Sprintf("model.layers.%d.%s.weight", l, part)
}

type namedShape struct {
	name  string
	shape []int
}

func (c *Config) layerShapes() []namedShape {
	q, kv := c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim
	return []namedShape{
		{"input_layernorm", []int{c.HiddenSize}},
		{"self_attn.q_proj", []int{q, c.HiddenSize}},
		{"self_attn.k_proj", []int{kv, c.HiddenSize}},
		{"self_attn.v_proj", []int{kv, c.HiddenSize}},
		{"self_attn.o_proj", []int{c.HiddenSize, q}},
		{"self_attn.q_norm", []int{c.HeadDim}},
		{"self_attn.k_norm", []int{c.HeadDim}},
		{"post_attention_layernorm", []int{c.HiddenSize}},
		{"mlp.gate_proj", []int{c.IntermediateSize, c.HiddenSize}},
		{"mlp.up_proj", []int{c.IntermediateSize, c.HiddenSize}},
		{"mlp.down_proj", []int{c.HiddenSize, c.IntermediateSize}},
	}
}

// CheckLayerIDs refuses captured layer ids that are not in 0..L-2: the features of the
// last layer are ambiguous between frameworks, which may put the final norm's output in
// its place. Duplicates are allowed. Source: spec.md §2.2, §15.2.
func (c *Config) CheckLayerIDs(ids []int) error {
	if len(ids) == 0 {
		return fail.New(fail.Usage, "name at least one target layer", "model: target_layer_ids: want at least one id, got none")
	}
	for i, id := range ids {
		if id < 0 || id > c.NumLayers-2 {
			return fail.New(fail.Usage, "target_layer_ids count from 0 and may not name the target's last layer",
				"model: target_layer_ids[%d]: want 0 to %d for a target of %d layers, got %d", i, c.NumLayers-2, c.NumLayers, id)
		}
	}
	return nil
}
