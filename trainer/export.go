package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/tensors"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/pair"
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

// checkExport finds early what would keep the export at the run's end from its place.
func (r *run) checkExport() error {
	return export.CheckPlace(filepath.Join(r.Recipe.OutputDir, exportDir))
}

// ExportOptions say how a checkpoint is exported.
type ExportOptions struct {
	DType  tensors.DType // BF16 or F32
	Target string        // folder of the target; "": the recipe's
	Check  *ExportCheck  // loaded; nil: nothing is decoded

	damage func(dir string) error // called between writing and reading back by tests
}

// ExportCheckpoint writes a checkpoint's draft in the format that the servers load. With a
// check that is not met, or when ctx ends meanwhile, nothing is left at dir but what was there.
func ExportCheckpoint(ctx context.Context, d *pair.Draft, dir string, opt ExportOptions) (ExportReport, error) {
	var report ExportReport
	state := d.Checkpoint().State
	cfg, err := exportConfig(d, opt.Target)
	if err != nil {
		return report, err
	}
	var list []export.Tensor
	for _, p := range domino.Params(d.Config) {
		list = append(list, export.Tensor{Name: p.Name, Shape: p.Shape, Data: func() ([]float32, error) { return d.Weights(p.Name) }})
	}
	options := export.Options{DType: opt.DType, TrainedTheta: state.RopeTheta,
		Provenance: export.Provenance{TokenizerSHA256: state.Tokenizer, DraftTokens: d.DraftTokens,
			Versions: map[string]string{"vkdomino": Version()}, Recipe: state.RecipeJSON}}
	if opt.Check != nil {
		options.Check = func(written string) (err error) {
			if opt.damage != nil {
				if err := opt.damage(written); err != nil {
					return err
				}
			}
			report, err = opt.Check.run(ctx, d, written, opt.DType)
			return err
		}
	}
	return report, export.Write(dir, cfg, list, options)
}

// targetFacts is what an export states of its target beside the draft's own sizes. A
// checkpoint carries it, so that it can be exported where the target is not.
type targetFacts struct {
	MaxPositions     int             `json:"max_position_embeddings"`
	InitializerRange float64         `json:"initializer_range"`
	RopeTheta        float64         `json:"rope_theta"`
	BOS              json.RawMessage `json:"bos_token_id"`
	EOS              json.RawMessage `json:"eos_token_id"`
}

func factsOf(target *model.Config) (f targetFacts, err error) {
	f = targetFacts{MaxPositions: target.MaxPositions, InitializerRange: target.InitializerRange, RopeTheta: target.RopeTheta}
	if f.BOS, err = json.Marshal(target.BOS); err != nil {
		return f, err
	}
	f.EOS, err = json.Marshal(target.EOS)
	return f, err
}

// readFacts reads config.json of the folder, by default the recipe's, or where there is no such
// file what the checkpoint says of it.
func readFacts(d *pair.Draft, dir string) (f targetFacts, err error) {
	asked, carried := dir != "", d.Checkpoint().State.TargetJSON
	if !asked {
		dir = d.Recipe.ModelPath
	}
	target, err := model.ReadConfig(dir)
	switch {
	case err == nil:
		if err := domino.CheckDraft(d.Config, target); err != nil {
			return f, fmt.Errorf("trainer: export: %w", err)
		}
		return factsOf(target)
	case !asked && len(carried) > 0 && errors.Is(err, fs.ErrNotExist):
		if err := json.Unmarshal(carried, &f); err != nil {
			return f, fail.New(fail.Other, "give the target with --target", "trainer: %s: target_config: %w", d.Path, err)
		}
		return f, nil
	}
	return f, fmt.Errorf("trainer: export reads %s: %w", filepath.Join(dir, "config.json"), err)
}

// exportConfig is the export's config.json.
func exportConfig(draft *pair.Draft, targetDir string) (export.Config, error) {
	d, r := draft.Config, draft.Recipe
	target, err := readFacts(draft, targetDir)
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
		NumTargetLayers: d.NumTargetLayers, BosTokenID: target.BOS, EosTokenID: target.EOS}
	if d.Domino {
		cfg.ShiftLabel, cfg.PureDraftPrefixLen, cfg.GRUHiddenDim, cfg.EmbDim = d.ShiftLabel, d.PureDraftPrefixLen, d.GRUHiddenDim, d.EmbDim
	}
	return cfg, nil
}
