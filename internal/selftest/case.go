// Package selftest runs conformance cases on a device: what the reference
// implementations computed for given weights and inputs, compared quantity by
// quantity with what this program computes. The layout of a case is that of
// testdata/golden; limits are those of docs/selftest.md.
package selftest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/tensors"
	"vkdomino/trainer"
)

// Case is a training-step case: hyper-parameters, the frozen target, the draft before the
// first step, inputs, and what the reference got.
type Case struct {
	caseFile
	dir      string
	target   *model.Config
	weights  *tensors.Model
	draft    *tensors.File
	inputs   *tensors.File
	expected *tensors.File
}

// caseFile is case.json.
type caseFile struct {
	Name           string  `json:"name"`
	BlockSize      int     `json:"block_size"`
	SeqLen         int     `json:"seq_len"`
	Batch          int     `json:"batch"`
	NumAnchors     int     `json:"num_anchors"`
	MaskTokenID    int     `json:"mask_token_id"`
	Gamma          float64 `json:"loss_decay_gamma"`
	LambdaStart    float64 `json:"lambda_base_start"`
	LambdaRatio    float64 `json:"lambda_base_decay_ratio"`
	TotalSteps     int     `json:"total_steps"`
	Window         *int    `json:"swa_window_size"`
	TargetLayerIDs []int   `json:"target_layer_ids"`
	Objective      string  `json:"loss_objective"`
	DPaceAlpha     float64 `json:"dpace_alpha"`
	Distillation   bool    `json:"self_logit_distillation"`
	DistillWeight  float64 `json:"distillation_weight"`
	Draft          struct {
		NumLayers    int    `json:"num_hidden_layers"`
		NumHeads     int    `json:"num_attention_heads"`
		NumKVHeads   int    `json:"num_key_value_heads"`
		HeadDim      int    `json:"head_dim"`
		Intermediate int    `json:"intermediate_size"`
		Projector    string `json:"projector_type"`
		GRUHidden    int    `json:"gru_hidden_dim"`
		EmbDim       int    `json:"emb_dim"`
		Prefix       int    `json:"pure_draft_prefix_len"`
		ShiftLabel   bool   `json:"shift_label"`
	} `json:"draft"`
	Optimizer struct {
		Name        string     `json:"name"`
		LR          float64    `json:"lr"`
		Betas       [2]float64 `json:"betas"`
		Epsilon     float64    `json:"eps"`
		WeightDecay float64    `json:"weight_decay"`
		MaxGradNorm float64    `json:"max_grad_norm"`
		Schedule    string     `json:"schedule"`
	} `json:"optimizer"`
	Probe map[string]float64   `json:"probe"`
	Steps []map[string]float64 `json:"steps"`
}

// Open reads a case's folder. Whatever cannot be read or is not a case of this kind is an error.
func Open(dir string) (*Case, error) {
	k := &Case{dir: dir}
	raw, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		return nil, fail.New(fail.Other, "a case is a folder with case.json, target/, draft.safetensors, inputs.safetensors and expected.safetensors", "selftest: %w", err)
	}
	k.DPaceAlpha, k.DistillWeight = 0.5, 1
	if err := json.Unmarshal(raw, &k.caseFile); err != nil {
		return nil, fail.New(fail.Other, "", "selftest: %s: %w", filepath.Join(dir, "case.json"), err)
	}
	if err := k.check(); err != nil {
		return nil, fmt.Errorf("selftest: %s: %w", filepath.Join(dir, "case.json"), err)
	}
	if k.target, err = model.ReadConfig(filepath.Join(dir, "target")); err != nil {
		return nil, err
	}
	if k.weights, err = tensors.OpenModel(filepath.Join(dir, "target")); err != nil {
		return nil, err
	}
	for name, file := range map[string]**tensors.File{"draft": &k.draft, "inputs": &k.inputs, "expected": &k.expected} {
		if *file, err = tensors.OpenFile(filepath.Join(dir, name+".safetensors")); err != nil {
			k.Close()
			return nil, err
		}
	}
	return k, nil
}

func (k *caseFile) check() error {
	domino := k.Draft.Projector == "domino"
	switch {
	case k.Draft.Projector != "" && k.Draft.Projector != "dflash" && !domino:
		return fail.New(fail.Other, "", "projector_type: want domino, dflash or none, got %q", k.Draft.Projector)
	case domino && !k.Draft.ShiftLabel:
		return fail.New(fail.Other, "", "shift_label: want true for a Domino case, got false")
	case k.Optimizer.Name != "adamw" || k.Optimizer.Schedule != "constant":
		return fail.New(fail.Other, "", "optimizer: want adamw with a constant rate, got %q, %q", k.Optimizer.Name, k.Optimizer.Schedule)
	case len(k.Steps) == 0 || len(k.Steps) != k.TotalSteps:
		return fail.New(fail.Other, "", "steps: want total_steps = %d of them, got %d", k.TotalSteps, len(k.Steps))
	case len(k.TargetLayerIDs) == 0:
		return fail.New(fail.Other, "", "target_layer_ids: none")
	}
	return nil
}

// Close closes the case's files.
func (k *Case) Close() {
	for _, f := range []*tensors.File{k.draft, k.inputs, k.expected} {
		if f != nil {
			f.Close()
		}
	}
	if k.weights != nil {
		k.weights.Close()
	}
}

func (k *Case) domino() bool { return k.Draft.Projector == "domino" }

func (k *Case) distill() float64 {
	if !k.Distillation {
		return 0
	}
	return k.DistillWeight
}

// has reports whether the reference's value of a quantity is in the case.
func (k *Case) has(name string) bool {
	_, _, ok := k.expected.Info(name)
	return ok
}

func (k *Case) draftConfig() domino.DraftConfig {
	window := 0
	if k.Window != nil {
		window = *k.Window
	}
	d := k.Draft
	return domino.DraftConfig{HiddenSize: k.target.HiddenSize, VocabSize: k.target.VocabSize, NumLayers: d.NumLayers, NumHeads: d.NumHeads,
		NumKVHeads: d.NumKVHeads, HeadDim: d.HeadDim, IntermediateSize: d.Intermediate, TargetLayerIDs: k.TargetLayerIDs,
		NumTargetLayers: k.target.NumLayers, BlockSize: k.BlockSize, MaskTokenID: k.MaskTokenID, SWAWindow: window,
		RMSNormEps: k.target.RMSNormEps, Theta: k.target.RopeTheta, InitializerRange: 0.02,
		Domino: k.domino(), GRUHiddenDim: d.GRUHidden, EmbDim: d.EmbDim, PureDraftPrefixLen: d.Prefix, ShiftLabel: d.ShiftLabel}
}

// engineConfig is the engine that runs the case: Model-Optimizer's profile, so the Den guard is on.
func (k *Case) engineConfig(anchors int, precision tensors.DType, bindingBytes int64) trainer.EngineConfig {
	draft, o := k.draftConfig(), k.Optimizer
	return trainer.EngineConfig{Target: k.target, Draft: draft, Batch: k.Batch, SeqLen: k.SeqLen, Anchors: anchors, Precision: precision,
		Loss: domino.LossOptions{Domino: k.domino(), Distill: k.Distillation, DenGuard: true},
		Labels: domino.LabelOptions{ShiftLabel: k.domino(), SuffixStart: draft.SuffixStart(), Objective: domino.Objective(k.Objective),
			DecayGamma: k.Gamma, DPaceAlpha: k.DPaceAlpha},
		Distill: k.distill(), FullTarget: k.has("target_logits"), BindingBytes: bindingBytes,
		Beta1: o.Betas[0], Beta2: o.Betas[1], Epsilon: o.Epsilon, WeightDecay: o.WeightDecay, MaxGradNorm: o.MaxGradNorm}
}

// batches reads every step's inputs.
func (k *Case) readBatches() ([]trainer.MicroBatch, error) {
	list := make([]trainer.MicroBatch, len(k.Steps))
	for i := range list {
		at := func(name string) string { return fmt.Sprintf("step%d.%s", i, name) }
		_, shape, ok := k.inputs.Info(at("anchors"))
		if !ok || len(shape) != 2 {
			return nil, fail.New(fail.Other, "", "selftest: %s: %s: want [B, N], got %v", k.dir, at("anchors"), shape)
		}
		ids, err := k.inputs.Int32s(at("input_ids"))
		if err != nil {
			return nil, err
		}
		mask, err := k.inputs.Float32(at("loss_mask"))
		if err != nil {
			return nil, err
		}
		anchors, err := k.inputs.Int32s(at("anchors"))
		if err != nil {
			return nil, err
		}
		keep, err := k.inputs.Int32s(at("keep"))
		if err != nil {
			return nil, err
		}
		if len(ids) != k.Batch*k.SeqLen || len(mask) != len(ids) || len(keep) != len(anchors) {
			return nil, fail.New(fail.Other, "", "selftest: %s: step %d: inputs do not fit batch %d and seq_len %d", k.dir, i, k.Batch, k.SeqLen)
		}
		b := trainer.MicroBatch{B: k.Batch, S: k.SeqLen, IDs: ids, LossMask: mask, Anchors: domino.Anchors{N: shape[1], Anchor: anchors, Keep: make([]bool, len(keep))}}
		for j, v := range keep {
			b.Anchors.Keep[j] = v != 0
		}
		list[i] = b
	}
	return list, nil
}
