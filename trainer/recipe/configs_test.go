package recipe_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/configs"
	"vkdomino/internal/fail"
	"vkdomino/trainer/recipe"
)

var demoTarget = recipe.Target{
	NumLayers: 5, HiddenSize: 128, VocabSize: 1008, NumHeads: 4, NumKVHeads: 2, HeadDim: 32, IntermediateSize: 320,
	MaxPositionEmbeddings: 2048, RMSNormEps: 1e-6, RopeTheta: 1e4, TieWordEmbeddings: true, MaskTokenID: -1,
}

func qwen3(layers, hidden, heads, intermediate int, tied bool) recipe.Target {
	return recipe.Target{
		NumLayers: layers, HiddenSize: hidden, VocabSize: 151936, NumHeads: heads, NumKVHeads: 8, HeadDim: 128,
		IntermediateSize: intermediate, MaxPositionEmbeddings: 40960, RMSNormEps: 1e-6, RopeTheta: 1e6,
		TieWordEmbeddings: tied, MaskTokenID: -1,
	}
}

// shipped is every recipe in configs/ with its target's geometry and the layers it captures.
var shipped = map[string]struct {
	target recipe.Target
	layers []int
}{
	"demo.toml":           {demoTarget, []int{1, 2}},
	"demo-distilled.toml": {demoTarget, []int{1, 2}},
	"demo-best.toml":      {demoTarget, []int{1, 2}},
	"qwen3-0.6b.toml":     {qwen3(28, 1024, 16, 3072, true), []int{1, 7, 13, 19, 25}},
	"qwen3-4b.toml":       {qwen3(36, 2560, 32, 9728, true), []int{1, 9, 17, 25, 33}},
	"qwen3-8b.toml":       {qwen3(36, 4096, 32, 12288, false), []int{1, 9, 17, 25, 33}},
}

func resolve(t *testing.T, name string) *recipe.Resolved {
	t.Helper()
	text, err := configs.Read(name)
	require.NoError(t, err)
	r, notices, err := recipe.Parse(name, text, nil)
	require.NoError(t, err)
	require.Empty(t, notices)
	out, _, err := r.Resolve(shipped[name].target)
	require.NoError(t, err)
	return out
}

func TestShippedRecipes(t *testing.T) {
	require.Len(t, configs.Names(), len(shipped))
	for _, name := range configs.Names() {
		out := resolve(t, name)
		require.Equal(t, shipped[name].layers, out.TargetLayerIDs, name)
		require.True(t, out.Domino && out.AnswerOnlyLoss && out.ShiftLabel, name)
		require.Zero(t, out.SeqLen%out.BlockSize, name)
		back, err := recipe.FromFlat(out.Flat())
		require.NoError(t, err)
		require.Equal(t, out, back)
	}
	_, err := configs.Read("none.toml")
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	require.EqualError(t, err, "configs: open none.toml: file does not exist")
}

// The demo's recipe, value by value.
func TestDemo(t *testing.T) {
	require.Equal(t, &recipe.Resolved{
		ModelPath: "testdata/demo/target", DataPath: "testdata/demo/train.jsonl", SampleSize: -1, AnswerOnlyLoss: true, OutputDir: "runs/demo",
		Domino: true, NumLayers: 2, NumHeads: 4, NumKVHeads: 2, HeadDim: 32, IntermediateSize: 320, HiddenSize: 128, VocabSize: 1008,
		MaxPositionEmbeddings: 2048, RMSNormEps: 1e-6, Theta: 1e4, EmbDim: 32, GRUHiddenDim: 64, PureDraftPrefixLen: 1, ShiftLabel: true,
		TargetLayerIDs: []int{1, 2}, InitializerRange: 0.02, ExportRopeScaling: []byte("{}"),
		BlockSize: 8, NumAnchors: 16, MaskTokenID: 1003, Objective: "decay", LossDecayGamma: 4, DPaceAlpha: 0.5, LambdaStart: 1, LambdaRatio: 1,
		Profile: "rc", AnchorRule: "specforge", MaskIntersectAttention: true, SuperviseEndOfTurn: true,
		SeqLen: 160, BatchSize: 8, Accumulation: 1, LearningRate: 2e-3, Schedule: "linear", WarmupRatio: 0.04, MaxGradNorm: 1,
		Beta1: 0.9, Beta2: 0.999, AdamEps: 1e-8, MaxSteps: 600, Epochs: 3, Seed: 42,
		LoggingSteps: 10, SaveSteps: 100, SaveTotalLimit: 3, ReportTo: "tensorboard",
		EvalData: "testdata/demo/eval.jsonl", EvalPrompts: 8, EvalMaxNewTokens: 64, EvalDraftTokens: 7,
		Precision: "bf16", Device: -1, Progress: true,
	}, resolve(t, "demo.toml"))
}

// The other two demos differ from the first in what their names say, and in the learning rate that goes with it.
func TestDemoVariants(t *testing.T) {
	want := *resolve(t, "demo.toml")
	want.OutputDir, want.SelfDistillation, want.DistillationWeight, want.LearningRate = "runs/demo-distilled", true, 1, 4e-3
	require.Equal(t, &want, resolve(t, "demo-distilled.toml"))

	want.OutputDir, want.InitFromTargetLayers = "runs/demo-best", []int{0, 1}
	require.Equal(t, &want, resolve(t, "demo-best.toml"))
}

// The Qwen3-8B recipe: spec.md §10 (RC) and §15.
func TestQwen38B(t *testing.T) {
	out := resolve(t, "qwen3-8b.toml")
	require.Equal(t, &recipe.Resolved{
		ModelPath: "models/Qwen3-8B", DataPath: "data/train.jsonl", SampleSize: -1, AnswerOnlyLoss: true, OutputDir: "runs/qwen3-8b",
		Domino: true, NumLayers: 5, NumHeads: 32, NumKVHeads: 8, HeadDim: 128, IntermediateSize: 12288, HiddenSize: 4096, VocabSize: 151936,
		MaxPositionEmbeddings: 40960, RMSNormEps: 1e-6, Theta: 1e6, EmbDim: 256, GRUHiddenDim: 1024, PureDraftPrefixLen: 1, ShiftLabel: true,
		TargetLayerIDs: []int{1, 9, 17, 25, 33}, InitializerRange: 0.02, ExportRopeScaling: []byte("{}"),
		BlockSize: 16, NumAnchors: 256, MaskTokenID: 151669, Objective: "decay", LossDecayGamma: 7, DPaceAlpha: 0.5, LambdaStart: 1, LambdaRatio: 1,
		Profile: "rc", AnchorRule: "specforge", MaskIntersectAttention: true, SuperviseEndOfTurn: true,
		SeqLen: 3072, BatchSize: 1, Accumulation: 8, LearningRate: 6e-4, Schedule: "cosine", WarmupRatio: 0.04, MaxGradNorm: 1,
		Beta1: 0.9, Beta2: 0.999, AdamEps: 1e-8, MaxSteps: -1, Epochs: 6, Seed: 42,
		LoggingSteps: 50, SaveSteps: 2000, SaveTotalLimit: 3, ReportTo: "tensorboard", EvalPrompts: 8, EvalMaxNewTokens: 64, EvalDraftTokens: 15,
		Precision: "bf16", Device: -1, Progress: true,
	}, out)
}
