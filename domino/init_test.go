package domino

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/model"
)

// qwen3Draft is the draft of the Qwen3-8B recipe.
func qwen3Draft() DraftConfig {
	return DraftConfig{
		HiddenSize: 4096, VocabSize: 151936, NumLayers: 5, NumHeads: 32, NumKVHeads: 8, HeadDim: 128, IntermediateSize: 12288,
		TargetLayerIDs: []int{1, 9, 17, 25, 33}, NumTargetLayers: 36, BlockSize: 16, MaskTokenID: 151669,
		RMSNormEps: 1e-6, Theta: 1e6, InitializerRange: 0.02,
		Domino: true, GRUHiddenDim: 1024, EmbDim: 256, PureDraftPrefixLen: 1, ShiftLabel: true,
	}
}

// countParams sums the sizes of specs.
func countParams(specs []ParamSpec) (n int) {
	for _, p := range specs {
		n += p.Size()
	}
	return n
}

// C40.
func TestParamsCount(t *testing.T) {
	c := qwen3Draft()
	specs := Params(c)
	require.Len(t, specs, 62)
	require.Equal(t, 1_104_561_408, countParams(specs))
	c.Domino = false
	specs = Params(c)
	require.Len(t, specs, 58)
	require.Equal(t, 1_048_626_432, countParams(specs))
}

func TestParamsInit(t *testing.T) {
	want := map[string]Init{
		"fc.weight":                        {InitNormal, 0.02},
		"norm.weight":                      {Kind: InitOnes},
		"layers.4.self_attn.q_norm.weight": {Kind: InitOnes},
		"layers.0.input_layernorm.weight":  {Kind: InitOnes},
		"layers.2.mlp.down_proj.weight":    {InitNormal, 0.02},
		"prefix_gru.weight_ih_l0":          {InitUniform, 0.03125},
		"prefix_gru.weight_hh_l0":          {InitUniform, 0.03125},
		"embed_proj.0.weight":              {InitNormal, 0.02},
		"embed_proj.2.weight":              {InitNormal, 0.02},
	}
	seen := 0
	for _, p := range Params(qwen3Draft()) {
		if init, ok := want[p.Name]; ok {
			require.Equal(t, init, p.Init, p.Name)
			seen++
		}
	}
	require.Len(t, want, seen)
}

// moments returns mean, variance, kurtosis and largest magnitude.
func moments(x []float32) (mean, variance, kurtosis, most float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
		most = max(most, math.Abs(float64(v)))
	}
	for _, v := range x {
		d := float64(v) - mean
		variance += d * d / float64(len(x))
		kurtosis += d * d * d * d / float64(len(x))
	}
	return mean, variance, kurtosis / (variance * variance), most
}

// Tolerances are five standard errors of each moment.
func TestInitValuesDistribution(t *testing.T) {
	const n, scale = 200_000, 0.02
	root := math.Sqrt(n)
	mean, variance, kurtosis, most := moments(InitValues(ParamSpec{"fc.weight", []int{n}, Init{InitNormal, scale}}, 42))
	require.InDelta(t, 0, mean, 5*scale/root)
	require.InEpsilon(t, scale*scale, variance, 5*math.Sqrt2/root)
	require.InDelta(t, 3, kurtosis, 5*math.Sqrt(24)/root)
	require.Greater(t, most, 4*scale)

	mean, variance, kurtosis, most = moments(InitValues(ParamSpec{"gru", []int{n / 2, 2}, Init{InitUniform, scale}}, 42))
	require.InDelta(t, 0, mean, 5*scale/math.Sqrt(3)/root)
	require.InEpsilon(t, scale*scale/3, variance, 5*0.9/root)
	require.InDelta(t, 1.8, kurtosis, 0.02)
	require.InEpsilon(t, scale, most, 1e-3)
	require.LessOrEqual(t, most, scale)

	require.Equal(t, []float32{1, 1, 1}, InitValues(ParamSpec{"norm", []int{3}, Init{Kind: InitOnes}}, 42))
	require.Empty(t, InitValues(ParamSpec{"none", []int{0, 4}, Init{InitNormal, 1}}, 42))
}

// Neighbours of a Box-Muller pair, of an index and of a tensor are uncorrelated.
func TestInitValuesCorrelation(t *testing.T) {
	const n = 100_000
	a := InitValues(ParamSpec{"a", []int{n}, Init{InitNormal, 1}}, 1)
	b := InitValues(ParamSpec{"b", []int{n}, Init{InitNormal, 1}}, 1)
	c := InitValues(ParamSpec{"a", []int{n}, Init{InitNormal, 1}}, 2)
	dot := func(x, y []float32) (s float64) {
		for i := range y {
			s += float64(x[i]) * float64(y[i]) / float64(len(y))
		}
		return s
	}
	for name, got := range map[string]float64{"lag 1": dot(a, a[1:]), "lag 2": dot(a, a[2:]), "tensor": dot(a, b), "seed": dot(a, c)} {
		require.InDelta(t, 0, got, 5/math.Sqrt(n), name)
	}
}

// Any piece of a tensor, from an odd offset too, equals that piece of the whole.
func TestFillInitPieces(t *testing.T) {
	for _, kind := range []InitKind{InitNormal, InitUniform, InitOnes} {
		spec := ParamSpec{"layers.0.mlp.up_proj.weight", []int{33, 31}, Init{kind, 0.5}}
		whole := InitValues(spec, 7)
		for _, cut := range [][2]int{{0, 1}, {1, 2}, {3, 10}, {500, 1023}, {1022, 1023}} {
			part := make([]float32, cut[1]-cut[0])
			FillInit(part, spec, 7, cut[0])
			require.Equal(t, whole[cut[0]:cut[1]], part)
		}
	}
}

// The stream is part of what makes a run reproducible: it may not change unnoticed.
func TestInitValuesFixed(t *testing.T) {
	got := InitValues(ParamSpec{"fc.weight", []int{4}, Init{InitNormal, 0.02}}, 42)
	require.InDeltaSlice(t, []float32{0.0320156706, -0.00216627963, -0.0101305604, 0.0311611803}, got, 1e-9)
}

func TestSuffixStart(t *testing.T) {
	c := qwen3Draft()
	require.Equal(t, 1, c.SuffixStart())
	c.ShiftLabel = false
	require.Equal(t, 2, c.SuffixStart())
	c.Domino = false
	require.Equal(t, 16, c.SuffixStart())
}

// The rows of C46 and C20 that concern the draft's own configuration.
func TestValidate(t *testing.T) {
	require.NoError(t, qwen3Draft().Validate())
	for want, change := range map[string]func(*DraftConfig){
		"num_hidden_layers: want at least 1, got 0":                               func(c *DraftConfig) { c.NumLayers = 0 },
		"target_layer_ids: want at least 1, got 0":                                func(c *DraftConfig) { c.TargetLayerIDs = nil },
		"num_attention_heads: want a multiple of num_key_value_heads 8, got 30":   func(c *DraftConfig) { c.NumHeads = 30 },
		"head_dim: want an even number, got 3":                                    func(c *DraftConfig) { c.HeadDim = 3 },
		"dflash_block_size: want an integer of at least 2, got 1":                 func(c *DraftConfig) { c.BlockSize = 1 },
		"dflash_swa_window_size: want at least the block size 16, got 15":         func(c *DraftConfig) { c.SWAWindow = 15 },
		"dflash_mask_token_id: want 0 to 151935, got 151936":                      func(c *DraftConfig) { c.MaskTokenID = 151936 },
		"dflash_mask_token_id: want 0 to 151935, got -1":                          func(c *DraftConfig) { c.MaskTokenID = -1 },
		"rms_norm_eps: want above 0, got 0":                                       func(c *DraftConfig) { c.RMSNormEps = 0 },
		"rope_theta: want above 0, got NaN":                                       func(c *DraftConfig) { c.Theta = math.NaN() },
		"initializer_range: want above 0":                                         func(c *DraftConfig) { c.InitializerRange = -1 },
		"emb_dim, gru_hidden_dim: want both at least 1 for projector_type domino": func(c *DraftConfig) { c.EmbDim, c.GRUHiddenDim = 0, 0 },
		"pure_draft_prefix_len: want 0 to 15 for block size 16, got 16":           func(c *DraftConfig) { c.PureDraftPrefixLen = 16 },
		"pure_draft_prefix_len: want 0 to 15 for block size 16, got -1":           func(c *DraftConfig) { c.PureDraftPrefixLen = -1 },
	} {
		c := qwen3Draft()
		change(&c)
		err := c.Validate()
		require.ErrorContains(t, err, want)
		require.Equal(t, fail.Usage, fail.CodeOf(err))
	}
	c := qwen3Draft()
	c.SWAWindow = 16 // C20: W = bs is accepted
	require.NoError(t, c.Validate())
	c.Domino, c.EmbDim = false, 0 // a plain draft has no head to check
	require.NoError(t, c.Validate())
}

func TestTargetInit(t *testing.T) {
	c := qwen3Draft()
	target := &model.Config{NumLayers: 36, NumHeads: 32, NumKVHeads: 8, HeadDim: 128, IntermediateSize: 12288, HiddenSize: 4096, VocabSize: 151936}
	from, err := TargetInit(c, target, []int{0, 1, 2, 3, 35})
	require.NoError(t, err)
	require.Len(t, from, 55)
	require.Equal(t, "model.layers.35.self_attn.q_norm.weight", from["layers.4.self_attn.q_norm.weight"])
	require.NotContains(t, from, "norm.weight")
	shapes, err := target.TensorShapes(35)
	require.NoError(t, err)
	for _, p := range Params(c) { // every copy has the shape of what it is copied to
		if source, ok := from[p.Name]; ok {
			require.Equal(t, p.Shape, shapes[source], p.Name)
		}
	}

	_, err = TargetInit(c, target, []int{0, 1})
	require.ErrorContains(t, err, "init_from_target_layers: want one target layer for each of 5 draft layers, got 2")
	_, err = TargetInit(c, target, []int{0, 1, 2, 3, 36})
	require.ErrorContains(t, err, "want target layers 0 to 35, got 36")
	c.IntermediateSize = 22016
	_, err = TargetInit(c, target, []int{0, 1, 2, 3, 4})
	require.ErrorContains(t, err, "intermediate_size [32 8 128 12288], got [32 8 128 22016]")
}
