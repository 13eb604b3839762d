package bench

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/tensors"
)

// small is the toy with as little work as its kernels allow.
func small(t *testing.T) Preset {
	t.Helper()
	p := preset(t, "toy")
	p.Draft.NumLayers, p.SeqLen, p.Anchors = 1, 24, 2
	p.SetVocab(128)
	return p
}

// opNames reads the ops off their sources: exported methods of Context that record kernels.
func opNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../ops/*.go")
	require.NoError(t, err)
	method := regexp.MustCompile(`(?m)^func \(c \*Context\) ([A-Z]\w*)\(`)
	var names []string
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") || slices.Contains([]string{"ahead.go", "compile.go", "context.go", "phase.go", "probe.go", "prove.go", "tally.go", "tune.go"}, filepath.Base(f)) {
			continue
		}
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range method.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return name == "Reserve"
	})
}

func TestEveryOpIsMeasured(t *testing.T) {
	c := testgpu.Context(t)
	r, err := Op(c, small(t), tensors.BF16, 1)
	require.NoError(t, err)
	measured := map[string]bool{}
	for _, row := range r.Rows {
		measured[row.Op] = true
		require.Positive(t, row.Time.Median, row.Op)
		require.Positive(t, row.Tera+row.Giga, row.Op)
	}
	for _, name := range opNames(t) {
		require.True(t, measured[name], "%s: give it a case in opTable", name)
	}
}

func TestPeak(t *testing.T) {
	c := testgpu.Context(t)
	r, err := Peak(c, 1)
	require.NoError(t, err)
	require.Positive(t, r.Compute())
	require.Positive(t, r.Bandwidth())
	require.Positive(t, r.Submit)
	require.Greater(t, r.Barrier+r.Dispatch, 0.0)
}

func TestGemmShapes(t *testing.T) {
	for _, c := range []struct {
		text string
		cpu  bool
		want []GemmShape
		fail string
	}{
		{text: "auto", cpu: true, want: gemmSets["toy"]},
		{text: "auto", want: gemmSets["qwen3-8b"]},
		{text: "square", want: gemmSets["square"]},
		{text: "1x2x3,40x50x60", want: []GemmShape{{1, 2, 3}, {40, 50, 60}}},
		{text: "1x2", fail: `got "1x2"`},
		{text: "1x2x3x4", fail: "want MxNxK"},
		{text: "0x2x3", fail: "want MxNxK"},
		{text: "1x2x3,", fail: `got ""`},
		{text: "large", fail: `got "large"`},
	} {
		got, err := GemmShapes(c.text, c.cpu)
		if c.fail != "" {
			require.ErrorContains(t, err, c.fail)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

func TestGemmInAllLayouts(t *testing.T) {
	c := testgpu.Context(t)
	products := 0
	r, err := Gemm(c, []GemmShape{{32, 64, 96}, {40, 24, 8}}, tensors.BF16, 1, func(r *GemmReport) error {
		products++
		require.Len(t, r.Rows, products)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, r.Rows, 6)
	require.Equal(t, 6, products)
	for i, row := range r.Rows {
		require.Equal(t, []string{"NT", "NN", "TN"}[i%3], row.Layout)
		require.Contains(t, row.Kernel, "gemm")
		require.Positive(t, row.Tera)
	}
}
