package bench

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

const scripts = "../../tools/bench-nvidia/"

// TestTorchHasTheSameShapes: what stands beside PyTorch must be the same work.
func TestTorchHasTheSameShapes(t *testing.T) {
	text, err := os.ReadFile(scripts + "torch_gemm.py")
	require.NoError(t, err)
	for _, set := range []string{"toy", "qwen3-8b"} {
		line := regexp.MustCompile(`(?m)^ +"` + set + `": \[(.*)\],$`).FindSubmatch(text)
		require.NotNil(t, line, set)
		var shapes []GemmShape
		for _, m := range regexp.MustCompile(`\((\d+), (\d+), (\d+)\)`).FindAllStringSubmatch(string(line[1]), -1) {
			shape, err := GemmShapes(m[1]+"x"+m[2]+"x"+m[3], false)
			require.NoError(t, err)
			shapes = append(shapes, shape...)
		}
		require.Equal(t, gemmSets[set], shapes)
	}
}

func TestTorchHasTheSamePresets(t *testing.T) {
	text, err := os.ReadFile(scripts + "torch_step.py")
	require.NoError(t, err)
	for _, name := range []string{"specforge", "toy"} {
		p := preset(t, name)
		d := p.Draft
		found := regexp.MustCompile(`(?s)"` + name + `": dict\((.*?)\)`).FindSubmatch(text)
		require.NotNil(t, found, name)
		got := map[string]int{}
		for _, m := range regexp.MustCompile(`(\w+)=(\d+)`).FindAllStringSubmatch(string(found[1]), -1) {
			got[m[1]], err = strconv.Atoi(m[2])
			require.NoError(t, err)
		}
		require.Equal(t, map[string]int{"hidden": d.HiddenSize, "inter": d.IntermediateSize, "layers": d.NumLayers, "heads": d.NumHeads,
			"kv": d.NumKVHeads, "dim": d.HeadDim, "vocab": d.VocabSize, "feats": d.NumFeatures(), "block": d.BlockSize, "anchors": p.Anchors,
			"length": p.SeqLen, "batch": p.Batch, "gru": d.GRUHiddenDim, "emb": d.EmbDim, "mask": d.MaskTokenID}, got)
		optimizer := map[bool]string{true: "True", false: "False"}[p.Optimizer]
		require.Contains(t, string(found[1]), fmt.Sprintf("optimizer=%s", optimizer))
	}
}
