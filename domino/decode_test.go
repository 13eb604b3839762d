package domino_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/testgpu"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

const goldenDir = "../testdata/golden/gen-b8"

// generationCase is one prompt of generation.json.
type generationCase struct {
	Prompt  []int32 `json:"prompt"`
	Stops   []int32 `json:"stop_token_ids"`
	Tokens  []int32 `json:"tokens"`
	Greedy  []int32 `json:"greedy"`
	Lengths []int   `json:"acceptance_lengths"`
}

type generationFile struct {
	MaxNewTokens int              `json:"max_new_tokens"`
	Tau          float64          `json:"tau"`
	Cases        []generationCase `json:"cases"`
}

func readGeneration(t testing.TB) (f generationFile, prompts, stops [][]int32) {
	raw, err := os.ReadFile(filepath.Join(goldenDir, "generation.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &f))
	require.Len(t, f.Cases, 24)
	for _, k := range f.Cases {
		prompts, stops = append(prompts, k.Prompt), append(stops, k.Stops)
	}
	return f, prompts, stops
}

// loadTarget uploads a target to its end, for contexts of so many positions.
func loadTarget(t testing.TB, c *ops.Context, dir string, positions int, dtype tensors.DType) *model.Target {
	cfg, err := model.ReadConfig(dir)
	require.NoError(t, err)
	files, err := tensors.OpenModel(dir)
	require.NoError(t, err)
	defer files.Close()
	target, err := model.NewTarget(c, cfg, cfg.NumLayers-1, positions, dtype)
	require.NoError(t, err)
	require.NoError(t, target.Load(c, files))
	return target
}

// loadDraft uploads an exported draft; change may alter its configuration.
func loadDraft(t testing.TB, c *ops.Context, dir string, dtype tensors.DType, change func(*domino.DraftConfig)) *domino.DraftModel {
	files, err := export.Read(dir)
	require.NoError(t, err)
	defer files.Close()
	cfg, err := files.Config.DraftConfig()
	require.NoError(t, err)
	if change != nil {
		change(&cfg)
	}
	draft, err := domino.LoadDraft(c, cfg, files.Float32, dtype)
	require.NoError(t, err)
	return draft
}

// goldenDecoder is a decoder with the target and the draft of gen-b8.
func goldenDecoder(t testing.TB, c *ops.Context, dtype tensors.DType, cfg domino.DecoderConfig, change func(*domino.DraftConfig)) *domino.Decoder {
	if cfg.Context == 0 {
		cfg.Context = 160
	}
	cfg.Target = loadTarget(t, c, filepath.Join(goldenDir, "target"), cfg.Context+16, dtype)
	cfg.Draft = loadDraft(t, c, filepath.Join(goldenDir, "export"), dtype, change)
	d, err := domino.NewDecoder(c, cfg)
	require.NoError(t, err)
	return d
}

// generate decodes and wants no error.
func generate(t testing.TB, d *domino.Decoder, prompts [][]int32, opt domino.DecodeOptions) *domino.Decoding {
	out, err := d.Generate(context.Background(), prompts, opt, nil)
	require.NoError(t, err)
	return out
}

// TestGenerateGolden holds tokens and acceptance lengths to those of SpecForge's decoder,
// whichever prompts are decoded together and however prompts are cut into passes: all cases
// at once, and some, in the nightly tests all, by few and one by one.
func TestGenerateGolden(t *testing.T) {
	f, prompts, stops := readGeneration(t)
	c := testgpu.Context(t) // one for all, so that kernels are compiled once
	for _, k := range []struct {
		cfg   domino.DecoderConfig
		cases int
	}{{domino.DecoderConfig{Slots: 24}, 24}, {domino.DecoderConfig{Slots: 5, PrefillRows: 16}, 12}, {domino.DecoderConfig{Slots: 1}, 6}} {
		n := k.cases
		if testgpu.Nightly() {
			n = len(prompts)
		}
		c.Release()
		d := goldenDecoder(t, c, tensors.F32, k.cfg, nil)
		out := generate(t, d, prompts[:n], domino.DecodeOptions{MaxNewTokens: f.MaxNewTokens, StopTokensOf: stops[:n]})
		for i, want := range f.Cases[:n] {
			require.Equal(t, want.Tokens, out.Generations[i].Tokens, "slots %d, case %d", k.cfg.Slots, i)
			require.Equal(t, want.Lengths, out.Generations[i].AcceptanceLengths, "slots %d, case %d", k.cfg.Slots, i)
		}
		if n == len(prompts) {
			require.InDelta(t, f.Tau, domino.Tau(out.Generations), 1e-12)
		}
	}
}
