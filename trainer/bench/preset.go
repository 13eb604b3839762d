package bench

import (
	"slices"
	"strings"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/tensors"
	"vkdomino/trainer"
)

// Preset is a target's and a draft's geometry with the micro-batch that a step takes.
type Preset struct {
	Name    string
	Target  model.Config
	Draft   domino.DraftConfig
	Batch   int // samples of a micro-batch
	SeqLen  int // tokens of a sample
	Anchors int // blocks of a sample
	// Optimizer says whether masters and moments exist and a run ends with an update.
	Optimizer bool
}

// Names lists the presets.
func Names() []string {
	var names []string
	for _, p := range presets() {
		names = append(names, p.Name)
	}
	return names
}

// Find returns the preset of a name; a usage error where there is none.
//
//	qwen3-8b, qwen3-4b, qwen3-0.6b   the recipes of configs/: 256 anchors of block 16, 768 tokens, batch 4, with the update
//	specforge                        qwen3-8b as SpecForge's trainer benchmark has it: batch 2, forward and backward alone
//	toy                              hidden 256, 2 layers, vocabulary 4096, 32 anchors of block 8, 128 tokens, batch 1, with the update
func Find(name string) (Preset, error) {
	for _, p := range presets() {
		if p.Name == name {
			return p, nil
		}
	}
	return Preset{}, fail.New(fail.Usage, "presets: "+strings.Join(Names(), ", "), "bench: no preset %q", name)
}

// qwen3 is a Qwen3 dense target with the published Domino draft's geometry of it.
func qwen3(name string, hidden, intermediate, layers, heads int, tied bool) Preset {
	t := model.Config{HiddenSize: hidden, IntermediateSize: intermediate, NumLayers: layers, NumHeads: heads, NumKVHeads: 8, HeadDim: 128,
		VocabSize: 151936, MaxPositions: 40960, RMSNormEps: 1e-6, RopeTheta: 1e6, InitializerRange: 0.02, TieWordEmbeddings: tied}
	ids := make([]int, 5)
	for i := range ids { // evenly from layer 1 to the third from the end
		ids[i] = 1 + int(float64(i)*float64(layers-4)/4+0.5)
	}
	return Preset{Name: name, Target: t, Draft: draftOf(t, 5, ids, 16, 151669, 1024, 256), Batch: 4, SeqLen: 768, Anchors: 256, Optimizer: true}
}

func draftOf(t model.Config, layers int, ids []int, block, mask, gru, embed int) domino.DraftConfig {
	return domino.DraftConfig{HiddenSize: t.HiddenSize, VocabSize: t.VocabSize, NumLayers: layers, NumHeads: t.NumHeads, NumKVHeads: t.NumKVHeads,
		HeadDim: t.HeadDim, IntermediateSize: t.IntermediateSize, TargetLayerIDs: ids, NumTargetLayers: t.NumLayers, BlockSize: block,
		MaskTokenID: mask, RMSNormEps: t.RMSNormEps, Theta: t.RopeTheta, InitializerRange: t.InitializerRange, Domino: true,
		GRUHiddenDim: gru, EmbDim: embed, PureDraftPrefixLen: 1, ShiftLabel: true}
}

func presets() []Preset {
	large := qwen3("qwen3-8b", 4096, 12288, 36, 32, false)
	forge := large
	forge.Name, forge.Batch, forge.Optimizer = "specforge", 2, false
	toy := model.Config{HiddenSize: 256, IntermediateSize: 768, NumLayers: 4, NumHeads: 4, NumKVHeads: 2, HeadDim: 64, VocabSize: 4096,
		MaxPositions: 4096, RMSNormEps: 1e-6, RopeTheta: 1e6, InitializerRange: 0.02}
	return []Preset{
		large,
		qwen3("qwen3-4b", 2560, 9728, 36, 32, true),
		qwen3("qwen3-0.6b", 1024, 3072, 28, 16, true),
		forge,
		{Name: "toy", Target: toy, Draft: draftOf(toy, 2, []int{1, 2}, 8, 4095, 64, 64), Batch: 1, SeqLen: 128, Anchors: 32, Optimizer: true},
	}
}

// SetVocab changes the vocabulary of target and draft; the mask token becomes the last one where it no longer fits.
func (p *Preset) SetVocab(n int) {
	p.Target.VocabSize, p.Draft.VocabSize = n, n
	p.Draft.MaskTokenID = min(p.Draft.MaskTokenID, n-1)
}

// Check refuses sizes that make no step.
func (p Preset) Check() error {
	if p.Batch < 1 || p.Anchors < 1 || p.SeqLen < 2 || p.Draft.VocabSize < 2 {
		return fail.New(fail.Usage, "leave out what is to be as in the preset", "bench: want batch and anchors of at least 1, length and vocabulary of at least 2, got %d, %d, %d, %d",
			p.Batch, p.Anchors, p.SeqLen, p.Draft.VocabSize)
	}
	return p.Draft.Validate()
}

// EngineConfig is what the step's engine is built for. Without target the engine is given its
// features; with it, it has all target layers that the draft captures from.
func (p Preset) EngineConfig(dtype tensors.DType, target bool, bindingBytes int64) trainer.EngineConfig {
	cfg := trainer.EngineConfig{Target: &p.Target, Draft: p.Draft, Batch: p.Batch, SeqLen: p.SeqLen, Anchors: p.Anchors, Precision: dtype,
		Loss: domino.LossOptions{Domino: true},
		Labels: domino.LabelOptions{ShiftLabel: p.Draft.ShiftLabel, SuffixStart: p.Draft.SuffixStart(), Objective: domino.ObjectiveDecay,
			DecayGamma: 7},
		Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, MaxGradNorm: 1,
		GivenFeatures: !target, NoOptimizer: !p.Optimizer, BindingBytes: bindingBytes}
	return cfg
}

// lastCaptured is the last target layer that the draft reads.
func (p Preset) lastCaptured() int { return slices.Max(p.Draft.TargetLayerIDs) }
