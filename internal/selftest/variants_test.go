package selftest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/draftnames"
	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// variantPrompts go on with text, or with a loop that drafts of every alignment follow; two are one token long.
var variantPrompts = [][]int32{
	{536, 535, 395, 511, 263, 13, 220, 571, 387, 35, 476, 1, 11, 384, 75, 411, 423, 268, 458, 82, 289, 350, 437, 843},
	{8, 220, 17, 15, 15, 15, 15, 15, 15, 15, 15, 15},
	{15},
	{198},
	{264, 503, 198, 518, 271, 457, 273, 327, 326, 11, 306},
}

// TestVariants runs decoding cases of kinds that no reference's case has: blocks of 16, row k
// being token k (shift_label false), a window, plain DFlash, heads half as wide as the target's. Tokens and acceptance lengths
// are those of a float64 decoder on the host, stop tokens and the limit inside cycles
// included. The weights are those of gen-b8, which are a worse but not a useless draft in another role.
func TestVariants(t *testing.T) {
	c := testgpu.Context(t) // one for all, so that kernels are compiled once
	for name, k := range map[string]struct {
		change func(*export.Config)
		long   bool // has cycles that run past the limit, and is decoded in bf16 too
	}{
		"block 16":                       {func(c *export.Config) { c.BlockSize = 16 }, true},
		"block 6, no prefix, window 6":   {func(c *export.Config) { c.BlockSize, c.PureDraftPrefixLen, c.Window = 6, 0, 6 }, false},
		"block 16, no shift, no prefix":  {func(c *export.Config) { c.BlockSize, c.ShiftLabel, c.PureDraftPrefixLen = 16, false, 0 }, false},
		"block 8, no shift, prefix of 1": {func(c *export.Config) { c.ShiftLabel = false }, false},
		"block 16, plain":                {func(c *export.Config) { c.BlockSize = 16; plain(c) }, false},
		"block 8, twice as many heads":   {splitHeads, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stops, limits := writeVariant(t, dir, k.change)
			require.Positive(t, stops, "stop tokens inside a cycle")
			require.True(t, limits > 0 || !k.long, "cycles that run past the limit")
			requireCase(t, c, dir, tensors.F32)
			if k.long {
				requireCase(t, c, dir, tensors.BF16)
			}
		})
	}
}

func requireCase(t *testing.T, c *ops.Context, dir string, precision tensors.DType) {
	g, err := OpenAny(dir)
	require.NoError(t, err)
	defer g.Close()
	report, err := g.Run(c, precision)
	require.NoError(t, err)
	var table bytes.Buffer
	report.Print(&table)
	require.True(t, report.OK(), "a limit is missed:\n%s", table.String())
}

// TestSlowDecoder holds the float64 decoder to SpecForge's, which knows nothing of it.
func TestSlowDecoder(t *testing.T) {
	var f generationFile
	raw, err := os.ReadFile(filepath.Join(generationDir, generationName))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &f))
	p := openSlow(t, filepath.Join(generationDir, "target"), filepath.Join(generationDir, "export"))
	inside := slices.IndexFunc(f.Cases, func(k generationCase) bool { return len(k.Stops) > 1 || len(k.Tokens) < f.MaxNewTokens })
	for _, i := range []int{1, inside} {
		k := f.Cases[i]
		a := p.begin(k.Prompt, f.MaxNewTokens+f.BlockSize+1).decode(k.Stops, f.MaxNewTokens)
		require.Equal(t, k.Tokens, a.tokens, "case %d", i)
		require.Equal(t, k.Lengths, a.lengths, "case %d", i)
	}
}

// writeVariant writes a decoding case: the target of gen-b8, its draft with another config,
// and what the slow decoder gets of both. Each prompt is there without stop tokens and with
// one inside a cycle, where its answer has such; the first also with its answer's first token
// as a stop token. It counts the cases that stop, and that reach the limit, inside a cycle.
func writeVariant(t *testing.T, dir string, change func(*export.Config)) (stops, limits int) {
	target, err := filepath.Abs(filepath.Join(generationDir, "target"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(target, filepath.Join(dir, "target")))
	writeDraft(t, filepath.Join(dir, "export"), change)
	p := openSlow(t, target, filepath.Join(dir, "export"))
	f := generationFile{BlockSize: p.draft.BlockSize, MaskTokenID: p.draft.MaskTokenID, MaxNewTokens: 14}
	var tau float64
	for i, prompt := range variantPrompts {
		run := p.begin(prompt, f.MaxNewTokens+f.BlockSize+1)
		add := func(stop []int32) slowAnswer {
			a := run.decode(stop, f.MaxNewTokens)
			f.Cases = append(f.Cases, generationCase{Prompt: prompt, Stops: stop, Tokens: a.tokens, Greedy: a.tokens, Lengths: a.lengths})
			stops, limits, tau = stops+count(a.stoppedInside), limits+count(a.limitInside), tau+domino.MeanLength(a.lengths)
			return a
		}
		a := add(nil)
		if at := insideCycle(a); at > 0 {
			add([]int32{1002, a.tokens[at]})
		}
		if i == 0 {
			add(a.tokens[:1])
		}
	}
	f.Tau = tau / float64(len(f.Cases))
	raw, err := json.Marshal(f)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, generationName), raw, 0o600))
	return stops, limits
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// insideCycle is the first token of an answer that was drafted, has another of its cycle after
// it, and is new to the answer; 0 where there is none.
func insideCycle(a slowAnswer) int {
	at := 1
	for _, n := range a.lengths {
		for i := at; i < min(at+n-1, len(a.tokens)); i++ {
			if !slices.Contains(a.tokens[:i], a.tokens[i]) {
				return i
			}
		}
		at += n
	}
	return 0
}

// plain makes a draft's config one of plain DFlash.
func plain(c *export.Config) {
	c.Domino, c.ShiftLabel, c.PureDraftPrefixLen, c.GRUHiddenDim, c.EmbDim = false, false, 0, 0, 0
}

// splitHeads makes two of each head of a draft, which are then narrower than the target's.
func splitHeads(c *export.Config) {
	c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim = 2*c.NumAttentionHeads, 2*c.NumKeyValueHeads, c.HeadDim/2
}

// writeDraft exports the draft of gen-b8 with a changed config, and without its head where that has none. Norms of
// narrower heads keep their first weights.
func writeDraft(t *testing.T, dir string, change func(*export.Config)) {
	d, err := export.Read(filepath.Join(generationDir, "export"))
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	cfg := d.Config
	change(&cfg)
	var list []export.Tensor
	for _, name := range d.Names() {
		if cfg.Domino || !draftnames.IsHead(name) {
			_, shape, _ := d.Info(name)
			ofHead := strings.HasSuffix(name, "q_norm.weight") || strings.HasSuffix(name, "k_norm.weight")
			if ofHead {
				shape = []int{cfg.HeadDim}
			}
			list = append(list, export.Tensor{Name: name, Shape: shape, Data: func() ([]float32, error) {
				v, err := d.Float32(name)
				if ofHead && err == nil {
					v = v[:cfg.HeadDim]
				}
				return v, err
			}})
		}
	}
	require.NoError(t, export.Write(dir, cfg, list, export.Options{DType: tensors.F32, TrainedTheta: cfg.RopeTheta,
		Provenance: export.Provenance{DraftTokens: cfg.BlockSize - 1, Versions: map[string]string{}, Recipe: json.RawMessage("{}")}}))
}
