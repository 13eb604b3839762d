package export

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const testdata = "../testdata/export"

// domino is a small Domino draft's config, like that of the demo.
func domino() Config {
	return Config{
		BlockSize: 8, MaskTokenID: 19, TargetLayerIDs: []int{1, 2}, Domino: true, ShiftLabel: true, PureDraftPrefixLen: 1,
		GRUHiddenDim: 6, EmbDim: 4, HiddenSize: 8, NumHiddenLayers: 2, NumAttentionHeads: 2, NumKeyValueHeads: 1, HeadDim: 6,
		IntermediateSize: 10, VocabSize: 20, MaxPositionEmbeddings: 2048, RMSNormEps: 1e-6, InitializerRange: 0.02,
		RopeTheta: 1e6, NumTargetLayers: 5, Dtype: "bfloat16", BosTokenID: json.RawMessage("0"), EosTokenID: json.RawMessage("[1, 2]"),
	}
}

// dflash is the same draft without a head.
func dflash() Config {
	c := domino()
	c.Domino, c.ShiftLabel, c.PureDraftPrefixLen, c.GRUHiddenDim, c.EmbDim = false, false, 0, 0, 0
	return c
}

func marshal(t *testing.T, c Config) string {
	t.Helper()
	text, err := c.MarshalJSON()
	require.NoError(t, err)
	return string(text)
}

// TestConfigHoldsEveryKeyOfTheReference compares with what Model-Optimizer's exporter wrote, text for text.
func TestConfigHoldsEveryKeyOfTheReference(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(testdata, "configs", "*.json"))
	require.NoError(t, err)
	require.Len(t, paths, 10)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			c, err := ParseConfig(text, false)
			require.NoError(t, err)
			ours := marshal(t, c)
			theirs := strings.TrimSuffix(string(text), "\n}")
			require.True(t, strings.HasPrefix(ours, theirs+",\n"), "every key of the reference comes first, in its order:\n%s", ours)
			require.Equal(t, strings.Contains(theirs, "use_swa"), c.Window > 0)
			require.Equal(t, strings.Contains(theirs, `"domino"`), c.Domino)
		})
	}
}

func TestConfigText(t *testing.T) {
	c := domino()
	c.Window = 16
	c.RopeScaling = json.RawMessage(`{"type":"yarn","factor":48.0}`)
	want := `{
  "architectures": [
    "DFlashDraftModel"
  ],
  "model_type": "qwen3",
  "block_size": 8,
  "dflash_config": {
    "mask_token_id": 19,
    "target_layer_ids": [
      1,
      2
    ],
    "use_swa": true,
    "swa_window_size": 16,
    "causal": false,
    "projector_type": "domino",
    "shift_label": true,
    "pure_draft_prefix_len": 1,
    "gru_hidden_dim": 6,
    "emb_dim": 4
  },
  "hidden_size": 8,
  "num_hidden_layers": 2,
  "num_attention_heads": 2,
  "num_key_value_heads": 1,
  "head_dim": 6,
  "intermediate_size": 10,
  "hidden_act": "silu",
  "rms_norm_eps": 1e-06,
  "vocab_size": 20,
  "max_position_embeddings": 2048,
  "initializer_range": 0.02,
  "attention_bias": false,
  "attention_dropout": 0.0,
  "rope_theta": 1000000.0,
  "rope_scaling": {
    "type": "yarn",
    "factor": 48.0
  },
  "tie_word_embeddings": false,
  "torch_dtype": "bfloat16",
  "num_target_layers": 5,
  "layer_types": [
    "full_attention",
    "full_attention"
  ],
  "sliding_window": 16,
  "emb_dim": 4,
  "dtype": "bfloat16",
  "bos_token_id": 0,
  "eos_token_id": [
    1,
    2
  ],
  "max_window_layers": 2,
  "use_sliding_window": true,
  "use_cache": true
}`
	require.Equal(t, want, marshal(t, c))
}

func TestPlainConfigEndsAfterTheLayerIDs(t *testing.T) {
	text := marshal(t, dflash())
	require.NotContains(t, text, "projector_type")
	require.NotContains(t, text, "emb_dim")
	require.NotContains(t, text, "sliding_window\": 0")
	require.Contains(t, text, `"use_sliding_window": false`)
	require.Contains(t, text, "      2\n    ]\n  },\n  \"hidden_size\"")
}

func TestConfigRoundTrips(t *testing.T) {
	window := domino()
	window.Window = 8
	scaled := dflash()
	scaled.RopeScaling = json.RawMessage("{\n    \"type\": \"yarn\"\n  }")
	noIDs := domino()
	noIDs.BosTokenID, noIDs.EosTokenID = nil, nil
	for _, c := range []Config{domino(), dflash(), window, scaled, noIDs} {
		text, err := json.Marshal(c)
		require.NoError(t, err)
		var again Config
		require.NoError(t, json.Unmarshal(text, &again))
		require.Equal(t, marshal(t, c), marshal(t, again))
	}
}

func TestPythonFloat(t *testing.T) {
	cases := map[float64]string{
		0: "0.0", 1: "1.0", 1e6: "1000000.0", 1e-6: "1e-06", 1e-5: "1e-05", 0.0001: "0.0001", 0.00012: "0.00012", 0.02: "0.02",
		5e-324: "5e-324", 1e15: "1000000000000000.0", 1e16: "1e+16", 1.5e300: "1.5e+300", -2.5: "-2.5", 1e22: "1e+22", 200000: "200000.0",
		123456789012345680: "1.2345678901234568e+17", 0.1: "0.1",
	}
	for x, want := range cases {
		got, err := pythonFloat(x)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	nan := 0.0
	nan /= nan
	for _, x := range []float64{nan, 1 / (nan * 0)} {
		_, err := pythonFloat(x)
		require.Error(t, err)
	}
}

// specForge is a config as SpecForge's training writes it (spec.md §13.3).
const specForge = `{
  "architectures": ["DominoDraftModel"], "auto_map": {"AutoModel": "domino.DominoDraftModel"}, "model_type": "qwen3",
  "attention_bias": false, "attention_dropout": 0.0, "block_size": 16, "bos_token_id": 151643, "eos_token_id": 151645, "dtype": "bfloat16",
  "dflash_config": {"emb_dim": 256, "gru_hidden_dim": 1024, "mask_token_id": 151669, "projector_type": "domino",
    "pure_draft_prefix_len": 1, "shift_label": true, "target_layer_ids": [1, 9, 17, 25, 33]},
  "emb_dim": 256, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 12288,
  "layer_types": ["full_attention", "full_attention", "full_attention", "full_attention", "full_attention"],
  "max_position_embeddings": 40960, "max_window_layers": 5, "num_attention_heads": 32, "num_hidden_layers": 5, "num_key_value_heads": 8,
  "num_target_layers": 36, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
  "tie_word_embeddings": false, "transformers_version": "4.57.1", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936
}`

func TestParseSpecForge(t *testing.T) {
	c, err := ParseConfig([]byte(specForge), true)
	require.NoError(t, err)
	require.Equal(t, Config{
		BlockSize: 16, MaskTokenID: 151669, TargetLayerIDs: []int{1, 9, 17, 25, 33}, Domino: true, ShiftLabel: true, PureDraftPrefixLen: 1,
		GRUHiddenDim: 1024, EmbDim: 256, HiddenSize: 4096, NumHiddenLayers: 5, NumAttentionHeads: 32, NumKeyValueHeads: 8, HeadDim: 128,
		IntermediateSize: 12288, VocabSize: 151936, MaxPositionEmbeddings: 40960, RMSNormEps: 1e-6, InitializerRange: 0.02, RopeTheta: 1e6,
		NumTargetLayers: 36, Dtype: "bfloat16", BosTokenID: json.RawMessage("151643"), EosTokenID: json.RawMessage("151645"),
	}, c)
}

func TestParseVariants(t *testing.T) {
	cases := []struct {
		name     string
		old, new string
		hasHead  bool
		check    func(*testing.T, Config)
	}{
		{"theta inside rope_parameters", `"rope_theta": 1000000`, `"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}`, true,
			func(t *testing.T, c Config) { require.Equal(t, 5e5, c.RopeTheta) }},
		{"theta at both places", `"rope_theta": 1000000`, `"rope_theta": 1e6, "rope_parameters": {"rope_theta": 1000000.0}`, true,
			func(t *testing.T, c Config) { require.Equal(t, 1e6, c.RopeTheta) }},
		{"an old name of the projector", `"domino",`, `"causal_v5",`, false, func(t *testing.T, c Config) { require.True(t, c.Domino) }},
		{"no projector, but head tensors", `"projector_type": "domino",`, ``, true, func(t *testing.T, c Config) { require.True(t, c.Domino) }},
		{"no projector and no head", `"projector_type": "domino",`, ``, false, func(t *testing.T, c Config) {
			require.False(t, c.Domino)
			require.Zero(t, c.EmbDim)
		}},
		{"plain by name", `"projector_type": "domino"`, `"projector_type": "dflash"`, false, func(t *testing.T, c Config) { require.False(t, c.Domino) }},
		{"projector null", `"projector_type": "domino"`, `"projector_type": null`, false, func(t *testing.T, c Config) { require.False(t, c.Domino) }},
		{"the other alignment", `"shift_label": true`, `"shift_label": false`, true, func(t *testing.T, c Config) { require.False(t, c.ShiftLabel) }},
		{"no layer ids", `"shift_label": true, "target_layer_ids": [1, 9, 17, 25, 33]`, `"shift_label": true`, true,
			func(t *testing.T, c Config) { require.Equal(t, []int{1, 9, 17, 25, 33}, c.TargetLayerIDs) }},
		{"no emb_dim at the top", `"emb_dim": 256, "head_dim"`, `"head_dim"`, true, func(t *testing.T, c Config) { require.Equal(t, 256, c.EmbDim) }},
		{"no num_target_layers", `"num_target_layers": 36,`, ``, true, func(t *testing.T, c Config) { require.Zero(t, c.NumTargetLayers) }},
		{"no eps", `"rms_norm_eps": 1e-06,`, ``, true, func(t *testing.T, c Config) { require.Equal(t, 1e-6, c.RMSNormEps) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(specForge, c.old, c.new, 1)
			require.NotEqual(t, specForge, text)
			got, err := ParseConfig([]byte(text), c.hasHead)
			require.NoError(t, err)
			c.check(t, got)
		})
	}
}

func TestBrokenConfigs(t *testing.T) {
	cases := []struct{ name, old, new, want string }{
		{"no shift_label", `"shift_label": true,`, ``, "must say shift_label (true or false) and pure_draft_prefix_len"},
		{"shift_label null", `"shift_label": true`, `"shift_label": null`, "must say shift_label"},
		{"shift_label as text", `"shift_label": true`, `"shift_label": "yes"`, "dflash_config.shift_label: want true or false, got string"},
		{"shift_label as a number", `"shift_label": true`, `"shift_label": 1`, "dflash_config.shift_label: want true or false, got number"},
		{"no prefix length", `"pure_draft_prefix_len": 1,`, ``, "must say shift_label"},
		{"prefix length of a block", `"pure_draft_prefix_len": 1`, `"pure_draft_prefix_len": 16`, "pure_draft_prefix_len: want 0 to 15 for block size 16, got 16"},
		{"negative prefix length", `"pure_draft_prefix_len": 1`, `"pure_draft_prefix_len": -1`, "got -1"},
		{"no emb_dim", `{"emb_dim": 256, `, `{`, "gru_hidden_dim and dflash_config.emb_dim"},
		{"no gru_hidden_dim", `"gru_hidden_dim": 1024,`, ``, "gru_hidden_dim and dflash_config.emb_dim"},
		{"emb_dim 0", `{"emb_dim": 256,`, `{"emb_dim": 0,`, "emb_dim: 256, but dflash_config.emb_dim: 0"},
		{"two emb_dims", `"emb_dim": 256, "head_dim"`, `"emb_dim": 128, "head_dim"`, "emb_dim: 128, but dflash_config.emb_dim: 256"},
		{"unknown projector", `"domino",`, `"dominoo",`, `want domino, dflash or none, got "dominoo"`},
		{"no dflash_config", `"dflash_config"`, `"dflash"`, "dflash_config: missing"},
		{"dflash_config is a list", `{"emb_dim": 256, "gru`, `[], "x": {"gru`, "dflash_config: want an object, got ["},
		{"no sizes", `"hidden_size": 4096, `, ``, "missing: hidden_size"},
		{"size as text", `"hidden_size": 4096`, `"hidden_size": "4096"`, "hidden_size: want an integer, got string"},
		{"size with a fraction", `"hidden_size": 4096`, `"hidden_size": 4096.5`, "hidden_size: want an integer, got 4096.5"},
		{"size 0", `"hidden_size": 4096`, `"hidden_size": 0`, "hidden_size: want 1 to"},
		{"huge size", `"hidden_size": 4096`, `"hidden_size": 1000000000000`, "hidden_size: want 1 to"},
		{"many layers", `"num_hidden_layers": 5`, `"num_hidden_layers": 5000`, "num_hidden_layers: want 1 to 1024, got 5000"},
		{"no layers", `"num_hidden_layers": 5`, `"num_hidden_layers": 0`, "num_hidden_layers: want 1 to 1024, got 0"},
		{"a billion layers", `"num_hidden_layers": 5`, `"num_hidden_layers": 1000000000`, "num_hidden_layers: want 1 to 1024"},
		{"heads", `"num_key_value_heads": 8`, `"num_key_value_heads": 7`, "want a multiple of num_key_value_heads 7, got 32"},
		{"odd head_dim", `"head_dim": 128`, `"head_dim": 127`, "want an even number"},
		{"block size 1", `"block_size": 16`, `"block_size": 1`, "block_size: want at least 2"},
		{"mask id", `"mask_token_id": 151669`, `"mask_token_id": 151936`, "mask_token_id: want 0 to 151935, got 151936"},
		{"no mask id", `"mask_token_id": 151669, `, ``, "missing: dflash_config.mask_token_id"},
		{"layer id", `25, 33]`, `25, 36]`, "target_layer_ids: want 0 to 35, got 36"},
		{"no layer ids at all", `[1, 9, 17, 25, 33]`, `[]`, "length of target_layer_ids: want 1"},
		{"no theta", `"rope_theta": 1000000`, `"x": 0`, "missing: rope_theta"},
		{"two thetas", `"rope_theta": 1000000`, `"rope_theta": 10000, "rope_parameters": {"rope_theta": 1000000}`, "rope_theta: 10000, but rope_parameters.rope_theta: 1e+06"},
		{"another rope", `"rope_theta": 1000000`, `"rope_parameters": {"rope_theta": 1000000, "rope_type": "yarn"}`, `want default, got "yarn"`},
		{"negative theta", `"rope_theta": 1000000`, `"rope_theta": -1`, "want numbers above 0"},
		{"rope_scaling is text", `"rope_scaling": null`, `"rope_scaling": "yarn"`, "rope_scaling: want an object or null"},
		{"another activation", `"silu"`, `"gelu"`, `hidden_act: want "silu", got "gelu"`},
		{"attention bias", `"attention_bias": false`, `"attention_bias": true`, "attention_bias: want false"},
		{"windows per layer", `["full_attention",`, `["sliding_attention",`, "windows per layer are not supported"},
		{"layer types of another length", `["full_attention",`, `["full_attention", "full_attention",`, "layer_types: want 5 entries, got 6"},
		{"a window of another kind", `"use_sliding_window": false`, `"use_sliding_window": true`, "this kind of window is not supported"},
		{"a window without a size", `{"emb_dim": 256,`, `{"use_swa": true, "emb_dim": 256,`, "missing: dflash_config.swa_window_size"},
		{"two windows", `"sliding_window": null`, `"sliding_window": 64`, ""},
		{"a narrow window", `{"emb_dim": 256,`, `{"use_swa": true, "swa_window_size": 15, "emb_dim": 256,`, "want at least the block size 16, got 15"},
		{"a causal block", `{"emb_dim": 256,`, `{"causal": true, "emb_dim": 256,`, "dflash_config.causal: want false"},
		{"a key twice", `"hidden_size": 4096`, `"hidden_size": 4096, "hidden_size": 4096`, "duplicate object member name"},
		{"cut", `"use_cache": true, `, "\x00", "jsontext"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(specForge, c.old, c.new, 1)
			require.NotEqual(t, specForge, text)
			if c.name == "two windows" {
				text = strings.Replace(text, `{"emb_dim": 256,`, `{"use_swa": true, "swa_window_size": 32, "emb_dim": 256,`, 1)
				c.want = "sliding_window: 64, but dflash_config.swa_window_size: 32"
			}
			_, err := ParseConfig([]byte(text), true)
			require.ErrorIs(t, err, ErrContract)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "Go ")
		})
	}
	shallow := strings.NewReplacer(`, "target_layer_ids": [1, 9, 17, 25, 33]`, ``, `"num_target_layers": 36`, `"num_target_layers": 3`).Replace(specForge)
	_, err := ParseConfig([]byte(shallow), true)
	require.ErrorIs(t, err, ErrContract)
	require.ErrorContains(t, err, "want a draft of 1 to 3 layers")
	for _, text := range []string{"", "null", "[]", "7", `{"dflash_config":null}`} {
		_, err := ParseConfig([]byte(text), false)
		require.ErrorIs(t, err, ErrContract)
	}
}

func TestHeadFieldsOfAPlainDraftAreIgnoredOnlyWithoutAHead(t *testing.T) {
	text := bytes.Replace([]byte(specForge), []byte(`"projector_type": "domino"`), []byte(`"projector_type": "dflash"`), 1)
	c, err := ParseConfig(text, true)
	require.NoError(t, err)
	require.True(t, c.Domino, "the tensors decide")
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(specForge), true)
	f.Add([]byte("{}"), false)
	f.Fuzz(func(t *testing.T, text []byte, hasHead bool) {
		c, err := ParseConfig(text, hasHead)
		if err != nil {
			require.ErrorIs(t, err, ErrContract)
			return
		}
		again, err := ParseConfig([]byte(marshal(t, c)), hasHead)
		require.NoError(t, err)
		require.Equal(t, marshal(t, c), marshal(t, again))
	})
}
