package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// qwen3 is the config.json of Qwen3-8B as far as it matters here.
func qwen3() map[string]any {
	return map[string]any{
		"architectures": []string{"Qwen3ForCausalLM"}, "model_type": "qwen3", "hidden_act": "silu",
		"attention_bias": false, "use_sliding_window": false, "sliding_window": nil, "rope_scaling": nil,
		"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
		"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960,
		"rms_norm_eps": 1e-6, "rope_theta": 1000000, "initializer_range": 0.02, "tie_word_embeddings": false,
		"bos_token_id": 151643, "eos_token_id": 151645, "torch_dtype": "bfloat16", "transformers_version": "4.51.0",
	}
}

// with returns qwen3 with key-value pairs put in; the value deleted removes the key.
func with(pairs ...any) []byte {
	m := qwen3()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == deleted {
			delete(m, pairs[i].(string))
			continue
		}
		m[pairs[i].(string)] = pairs[i+1]
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

const deleted = "\x00deleted"

func TestReadConfigQwen3(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), with(), 0o600))
	c, err := ReadConfig(dir)
	require.NoError(t, err)
	require.Equal(t, &Config{
		HiddenSize: 4096, IntermediateSize: 12288, NumLayers: 36, NumHeads: 32, NumKVHeads: 8, HeadDim: 128,
		VocabSize: 151936, MaxPositions: 40960, RMSNormEps: 1e-6, RopeTheta: 1e6, InitializerRange: 0.02,
		BOS: TokenIDs{IDs: []int{151643}}, EOS: TokenIDs{IDs: []int{151645}}, Dtype: "bfloat16",
	}, c)
	require.Equal(t, "lm_head.weight", c.LMHead())
}

func TestParseConfigVariants(t *testing.T) {
	nested := map[string]any{"rope_theta": 10000.0, "rope_type": "default"}
	for name, tc := range map[string]struct {
		raw   []byte
		check func(*testing.T, *Config)
	}{
		"theta in rope_parameters": {with("rope_theta", deleted, "rope_parameters", nested), func(t *testing.T, c *Config) { require.Equal(t, 10000.0, c.RopeTheta) }},
		"top-level theta wins":     {with("rope_parameters", nested), func(t *testing.T, c *Config) { require.Equal(t, 1e6, c.RopeTheta) }},
		"default rope_scaling":     {with("rope_scaling", map[string]any{"type": "default"}), func(t *testing.T, c *Config) { require.Equal(t, 1e6, c.RopeTheta) }},
		"head_dim from H/nH":       {with("head_dim", deleted, "hidden_size", 2048), func(t *testing.T, c *Config) { require.Equal(t, 64, c.HeadDim) }},
		"head_dim not H/nH":        {with("head_dim", 80), func(t *testing.T, c *Config) { require.Equal(t, 80, c.HeadDim) }},
		"no kv heads":              {with("num_key_value_heads", nil), func(t *testing.T, c *Config) { require.Equal(t, 32, c.NumKVHeads) }},
		"tied":                     {with("tie_word_embeddings", true), func(t *testing.T, c *Config) { require.Equal(t, EmbedName, c.LMHead()) }},
		"eos list": {with("eos_token_id", []int{7, 9}), func(t *testing.T, c *Config) {
			require.Equal(t, TokenIDs{IDs: []int{7, 9}, List: true}, c.EOS)
		}},
		"dtype key": {with("dtype", "float32"), func(t *testing.T, c *Config) { require.Equal(t, "float32", c.Dtype) }},
		"defaults": {with("rms_norm_eps", deleted, "initializer_range", deleted, "max_position_embeddings", deleted, "architectures", deleted),
			func(t *testing.T, c *Config) {
				require.Equal(t, []float64{1e-6, 0.02, 32768}, []float64{c.RMSNormEps, c.InitializerRange, float64(c.MaxPositions)})
			}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseConfig(tc.raw)
			require.NoError(t, err)
			tc.check(t, c)
		})
	}
}

func TestParseConfigErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		raw  []byte
		want string
	}{
		"not JSON":             {[]byte("{"), "not a JSON object"},
		"a list":               {[]byte("[1]"), "not a JSON object"},
		"null":                 {[]byte("null"), "got null"},
		"no model_type":        {with("model_type", deleted), `model_type ""`},
		"llama":                {with("model_type", "llama"), `unsupported target: model_type "llama"`},
		"mixture of experts":   {with("architectures", []string{"Qwen3MoeForCausalLM"}), "Qwen3MoeForCausalLM"},
		"model_type a number":  {with("model_type", 3), "model_type: want a string, got 3"},
		"gelu":                 {with("hidden_act", "gelu"), `hidden_act "gelu"`},
		"attention bias":       {with("attention_bias", true), "attention_bias true"},
		"sliding window":       {with("use_sliding_window", true), "use_sliding_window true"},
		"a sliding layer":      {with("layer_types", []string{"full_attention", "sliding_attention"}), `layer_types[1] "sliding_attention"`},
		"quantized":            {with("quantization_config", map[string]any{"quant_method": "fp8"}), "quantized checkpoint"},
		"yarn":                 {with("rope_scaling", map[string]any{"rope_type": "yarn", "factor": 4}), `rope_scaling of type "yarn"`},
		"yarn, old spelling":   {with("rope_scaling", map[string]any{"type": "yarn"}), `rope_scaling of type "yarn"`},
		"llama3 in parameters": {with("rope_parameters", map[string]any{"rope_type": "llama3"}), `rope_parameters of type "llama3"`},
		"partial rotary":       {with("partial_rotary_factor", 0.5), "partial_rotary_factor 0.5"},
		"no theta":             {with("rope_theta", deleted), "rope_theta: missing"},
		"theta null":           {with("rope_theta", nil, "rope_parameters", map[string]any{}), "rope_theta: missing"},
		"theta zero":           {with("rope_theta", 0), "rope_theta: want a positive number, got 0"},
		"nested theta text":    {with("rope_theta", deleted, "rope_parameters", map[string]any{"rope_theta": "big"}), "rope_parameters: rope_theta"},
		"rope_parameters text": {with("rope_parameters", "big"), "rope_parameters: want an object or null"},
		"no hidden_size":       {with("hidden_size", deleted), "hidden_size: missing"},
		"hidden_size text":     {with("hidden_size", "4096"), `hidden_size: want a positive integer, got "4096"`},
		"hidden_size fraction": {with("hidden_size", 40.5), "hidden_size: want a positive integer, got 40.5"},
		"hidden_size negative": {with("hidden_size", -4), "hidden_size: want 1 to"},
		"hidden_size huge":     {with("hidden_size", 1<<40), "hidden_size: want 1 to"},
		"no heads":             {with("num_attention_heads", 0), "num_attention_heads: want 1 to"},
		"kv heads":             {with("num_key_value_heads", 5), "num_attention_heads: want a multiple of num_key_value_heads 5, got 32"},
		"odd head_dim":         {with("head_dim", 127), "head_dim: want an even number, got 127"},
		"eps zero":             {with("rms_norm_eps", 0), "rms_norm_eps: want a positive number"},
		"tie text":             {with("tie_word_embeddings", "yes"), "tie_word_embeddings: want true or false"},
		"eos text":             {with("eos_token_id", "</s>"), "eos_token_id: want a token id"},
		"eos beyond V":         {with("eos_token_id", []int{1, 151936}), "eos_token_id: want 0 to 151935, got 151936"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseConfig(tc.raw)
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
		})
	}
}

func TestReadConfigFileErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadConfig(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NotEmpty(t, fail.HintOf(err))

	path := filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(path, []byte("{}"), 0o600))
	_, err = ReadConfig(dir)
	require.ErrorContains(t, err, path)

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	_, err = ReadConfig(dir)
	require.ErrorContains(t, err, "want a file")
}

func TestTokenIDsMarshal(t *testing.T) {
	for want, ids := range map[string]TokenIDs{
		"null": {}, "5": {IDs: []int{5}}, "[5]": {IDs: []int{5}, List: true}, "[]": {List: true},
	} {
		raw, err := json.Marshal(ids)
		require.NoError(t, err)
		require.Equal(t, want, string(raw))
	}
}

func TestTensorShapes(t *testing.T) {
	c, err := ParseConfig(with())
	require.NoError(t, err)

	shapes, err := c.TensorShapes(33)
	require.NoError(t, err)
	require.Len(t, shapes, 34*11+2)
	require.Equal(t, []int{151936, 4096}, shapes["lm_head.weight"])
	require.Equal(t, []int{1024, 4096}, shapes["model.layers.33.self_attn.k_proj.weight"])
	require.Equal(t, []int{4096, 12288}, shapes["model.layers.0.mlp.down_proj.weight"])
	require.Equal(t, []int{128}, shapes["model.layers.7.self_attn.q_norm.weight"])
	require.NotContains(t, shapes, "model.norm.weight")
	require.NotContains(t, shapes, "model.layers.34.mlp.up_proj.weight")

	shapes, err = c.TensorShapes(35)
	require.NoError(t, err)
	require.Len(t, shapes, 36*11+3)
	require.Equal(t, []int{4096}, shapes["model.norm.weight"])

	c.TieWordEmbeddings = true
	shapes, err = c.TensorShapes(0)
	require.NoError(t, err)
	require.Len(t, shapes, 11+1)

	for _, bad := range []int{-1, 36} {
		_, err = c.TensorShapes(bad)
		require.ErrorContains(t, err, "last layer: want 0 to 35")
	}
}

func TestCheckLayerIDs(t *testing.T) {
	c := &Config{NumLayers: 5}
	require.NoError(t, c.CheckLayerIDs([]int{0, 3, 3}))
	require.ErrorContains(t, c.CheckLayerIDs(nil), "at least one")
	require.ErrorContains(t, c.CheckLayerIDs([]int{1, 4}), "target_layer_ids[1]: want 0 to 3")
	require.ErrorContains(t, c.CheckLayerIDs([]int{-1}), "got -1")
}
