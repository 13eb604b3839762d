package recipe

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// demoTarget is the geometry of the demo's target.
var demoTarget = Target{
	NumLayers: 5, HiddenSize: 128, VocabSize: 1008, NumHeads: 4, NumKVHeads: 2, HeadDim: 32, IntermediateSize: 320,
	MaxPositionEmbeddings: 2048, RMSNormEps: 1e-6, RopeTheta: 1e4, TieWordEmbeddings: true, MaskTokenID: -1,
}

// qwen3 is the geometry of a Qwen3 target with 8 key-value heads of 128.
func qwen3(layers, hidden, heads, intermediate int, tied bool) Target {
	return Target{
		NumLayers: layers, HiddenSize: hidden, VocabSize: 151936, NumHeads: heads, NumKVHeads: 8, HeadDim: 128,
		IntermediateSize: intermediate, MaxPositionEmbeddings: 40960, RMSNormEps: 1e-6, RopeTheta: 1e6,
		TieWordEmbeddings: tied, MaskTokenID: -1,
	}
}

var qwen3x8b = qwen3(36, 4096, 32, 12288, false)

func mustParse(t *testing.T, overrides ...string) (*Recipe, []Notice) {
	t.Helper()
	r, notices, err := Parse("r.toml", []byte(baseRecipe), overrides)
	require.NoError(t, err)
	return r, notices
}

func mustResolve(t *testing.T, target Target, overrides ...string) (*Resolved, []Notice) {
	t.Helper()
	r, _ := mustParse(t, overrides...)
	out, notices, err := r.Resolve(target)
	require.NoError(t, err)
	return out, notices
}

// texts are the lines of notices, warnings marked.
func texts(notices []Notice) []string {
	var lines []string
	for _, n := range notices {
		line := n.String()
		if n.Warning {
			line = "warning: " + line
		}
		lines = append(lines, line)
	}
	return lines
}

const plainDraft = "dflash.dflash_architecture_config.projector_type=dflash"
