package trainer

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime/debug"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/tensors"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/recipe"
)

const (
	exportDir   = "export"
	exportDType = tensors.BF16
)

// Version is the program's version as the build recorded it.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// checkpointParams lists the engine's tensors for checkpoint.Save, read from the device one at a time.
func checkpointParams(e *Engine) []checkpoint.Param {
	var list []checkpoint.Param
	read := func(t tensors.Tensor) func() ([]float32, error) {
		return func() ([]float32, error) { return e.Context.Float32s(t) }
	}
	for _, p := range e.Draft.Params.List {
		list = append(list, checkpoint.Param{Name: p.Name, Shape: p.Shape, Master: read(p.Master), M: read(p.M), V: read(p.V)})
	}
	return list
}

// ExportCheckpoint writes a checkpoint's draft in the format that the servers load.
func ExportCheckpoint(loaded *checkpoint.Loaded, dir string, dtype tensors.DType) error {
	var draft domino.DraftConfig
	if err := json.Unmarshal(loaded.State.DraftJSON, &draft); err != nil {
		return fail.New(fail.Other, "", "trainer: %s: draft_config: %w", loaded.Path(), err)
	}
	r, err := recipe.FromFlat(loaded.State.Recipe)
	if err != nil {
		return fmt.Errorf("trainer: %s: %w", loaded.Path(), err)
	}
	cfg, err := exportConfig(draft, r)
	if err != nil {
		return err
	}
	var list []export.Tensor
	for _, p := range domino.Params(draft) {
		list = append(list, export.Tensor{Name: p.Name, Shape: p.Shape, Data: func() ([]float32, error) { return loaded.Tensor(p.Name) }})
	}
	return export.Write(dir, cfg, list, export.Options{DType: dtype, TrainedTheta: loaded.State.RopeTheta,
		Provenance: export.Provenance{TokenizerSHA256: loaded.State.Tokenizer, DraftTokens: r.EvalDraftTokens,
			Versions: map[string]string{"vkdomino": Version()}, Recipe: loaded.State.RecipeJSON}})
}

// exportConfig is the export's config.json; what only the target says is read from its config.json.
func exportConfig(d domino.DraftConfig, r *recipe.Resolved) (export.Config, error) {
	target, err := model.ReadConfig(r.ModelPath)
	if err != nil {
		return export.Config{}, fmt.Errorf("trainer: export reads %s: %w", filepath.Join(r.ModelPath, "config.json"), err)
	}
	bos, err := json.Marshal(target.BOS)
	if err != nil {
		return export.Config{}, err
	}
	eos, err := json.Marshal(target.EOS)
	if err != nil {
		return export.Config{}, err
	}
	scaling := r.ExportRopeScaling
	if string(scaling) == "{}" {
		scaling = nil
	}
	cfg := export.Config{BlockSize: d.BlockSize, MaskTokenID: d.MaskTokenID, TargetLayerIDs: d.TargetLayerIDs, Window: d.SWAWindow,
		Domino: d.Domino, HiddenSize: d.HiddenSize, NumHiddenLayers: d.NumLayers, NumAttentionHeads: d.NumHeads, NumKeyValueHeads: d.NumKVHeads,
		HeadDim: d.HeadDim, IntermediateSize: d.IntermediateSize, VocabSize: d.VocabSize, MaxPositionEmbeddings: target.MaxPositions,
		RMSNormEps: d.RMSNormEps, InitializerRange: target.InitializerRange, RopeTheta: target.RopeTheta, RopeScaling: scaling,
		NumTargetLayers: d.NumTargetLayers, BosTokenID: bos, EosTokenID: eos}
	if d.Domino {
		cfg.ShiftLabel, cfg.PureDraftPrefixLen, cfg.GRUHiddenDim, cfg.EmbDim = d.ShiftLabel, d.PureDraftPrefixLen, d.GRUHiddenDim, d.EmbDim
	}
	return cfg, nil
}
