package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
	"vkdomino/trainer/recipe"
)

// Session is a run made ready as far as that goes without a device: the recipe resolved
// against its target, tokenizer, data and schedules. Whatever is wrong with these is
// found here, before any weight is uploaded.
type Session struct {
	Recipe    *recipe.Resolved
	Notices   []recipe.Notice
	Target    *model.Config
	Weights   *tensors.Model
	Tokenizer *data.Tokenizer
	Template  *data.Template
	Specials  data.Specials
	Data      *data.Dataset
	Eval      Evaluation // of the evaluations while training

	Length RunLength
	Total  int // T, optimizer steps of the whole run
	LR     Schedule
	Lambda domino.LambdaSchedule
}

// ResolveTarget reads the target's config.json and tokenizer and resolves the recipe
// against them: what `doctor` needs, and the first part of Prepare.
func ResolveTarget(r *recipe.Recipe) (*Session, error) {
	dir := r.Model.NameOrPath
	s := &Session{}
	var err error
	if s.Target, err = model.ReadConfig(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fail.New(fail.CodeOf(err), "point model.model_name_or_path at the folder of a Hugging Face checkpoint", "%w", err)
	} else if err != nil {
		return nil, err
	}
	if s.Tokenizer, err = data.LoadTokenizer(filepath.Join(dir, "tokenizer.json")); err != nil {
		return nil, err
	}
	if s.Specials, err = data.LoadSpecials(dir); err != nil {
		return nil, err
	}
	mask := -1
	if id, ok := s.Tokenizer.TokenID(s.Specials.Mask); ok && s.Specials.Mask != "" {
		mask = int(id)
	}
	t := s.Target
	s.Recipe, s.Notices, err = r.Resolve(recipe.Target{NumLayers: t.NumLayers, HiddenSize: t.HiddenSize, VocabSize: t.VocabSize,
		NumHeads: t.NumHeads, NumKVHeads: t.NumKVHeads, HeadDim: t.HeadDim, IntermediateSize: t.IntermediateSize,
		MaxPositionEmbeddings: t.MaxPositions, RMSNormEps: t.RMSNormEps, RopeTheta: t.RopeTheta,
		TieWordEmbeddings: t.TieWordEmbeddings, MaskTokenID: mask})
	if err != nil {
		return nil, err
	}
	return s, s.DraftConfig().Validate()
}

// Prepare makes a run ready. What is quick to check comes first: the recipe against the
// target, the names, shapes and dtypes of the weights, the chat template, the output folder;
// then the data, of whose reading progress is told where it is not nil, and which ctx ends.
func Prepare(ctx context.Context, r *recipe.Recipe, progress data.Progress) (*Session, error) {
	s, err := ResolveTarget(r)
	if err != nil {
		return nil, err
	}
	if s.Weights, err = tensors.OpenModel(s.Recipe.ModelPath); err != nil {
		return nil, err
	}
	read := func(load func(context.Context, data.Progress) error) func() error {
		return func() error { return load(ctx, progress) }
	}
	if err := errorsFirst(s.checkWeights, s.loadTemplate, s.checkOutput, read(s.loadData), read(s.loadEvaluation), s.schedules); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// checkWeights compares the checkpoint's weights with what the run will read of them.
func (s *Session) checkWeights() error {
	cfg := s.EngineConfig(0)
	want, err := s.Target.TensorShapes(cfg.lastLayer())
	if err != nil {
		return err
	}
	if err := s.addInitialWeights(want); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		dtype, shape, ok := s.Weights.Info(name)
		switch {
		case !ok:
			return fail.New(fail.Other, "the checkpoint is incomplete or of another architecture; download it again",
				"trainer: target %s: tensor %s is missing", s.Recipe.ModelPath, name)
		case !slices.Equal(shape, want[name]):
			return fail.New(fail.Other, "the weights do not belong to this config.json",
				"trainer: target %s: %s: want %v, got %v", s.Recipe.ModelPath, name, want[name], shape)
		case !slices.Contains([]tensors.DType{tensors.F32, tensors.BF16, tensors.F16}, dtype):
			return fail.New(fail.Other, "give the target's unquantized bf16, f16 or f32 weights",
				"trainer: target %s: %s: want BF16, F16 or F32, got %s", s.Recipe.ModelPath, name, dtype)
		}
	}
	return nil
}

// addInitialWeights adds the target's tensors that the draft starts from.
func (s *Session) addInitialWeights(want map[string][]int) error {
	if len(s.Recipe.InitFromTargetLayers) == 0 {
		return nil
	}
	cfg := s.DraftConfig()
	from, err := domino.TargetInit(cfg, s.Target, s.Recipe.InitFromTargetLayers)
	if err != nil {
		return err
	}
	for _, p := range domino.Params(cfg) {
		if name, ok := from[p.Name]; ok {
			want[name] = p.Shape
		}
	}
	return nil
}

// Close closes the target's files.
func (s *Session) Close() {
	if s.Weights != nil {
		s.Weights.Close()
	}
}

func (s *Session) loadData(ctx context.Context, progress data.Progress) error {
	r := s.Recipe
	if s.Tokenizer.VocabSize() > s.Target.VocabSize {
		return fail.New(fail.Other, "tokenizer.json and config.json must be of one checkpoint", "trainer: tokenizer has %d entries, the target's vocabulary %d",
			s.Tokenizer.VocabSize(), s.Target.VocabSize)
	}
	opt := s.dataOptions(r.DataPath, r.SampleSize, r.BatchSize)
	opt.Progress = progress
	var err error
	s.Data, err = data.Load(ctx, opt)
	return err
}

// loadTemplate reads the chat template: the recipe's file, or the checkpoint's own.
func (s *Session) loadTemplate() error {
	var err error
	switch {
	case s.Recipe.ChatTemplate != "":
		s.Template, err = data.LoadTemplate(s.Recipe.ChatTemplate)
	case s.Specials.ChatTemplate != "":
		if s.Template, err = data.NewTemplate(s.Specials.ChatTemplate); err != nil {
			return fail.New(fail.CodeOf(err), fail.HintOf(err), "trainer: the chat template of %s: %w", s.Recipe.ModelPath, err)
		}
	}
	return err // rows of plain text need none; rows with messages say what is missing
}

func (s *Session) dataOptions(path string, sampleSize, minRows int) data.Options {
	r := s.Recipe
	return data.Options{Path: path, Tokenizer: s.Tokenizer, Template: s.Template, BOS: s.Specials.BOS, EOS: s.Specials.EOS, Pad: s.Specials.Pad,
		SeqLen: r.SeqLen, SampleSize: sampleSize, AnswerOnly: r.AnswerOnlyLoss, SuperviseEndOfTurn: r.SuperviseEndOfTurn,
		SuperviseNewline: r.SuperviseNewline(), MinRows: minRows, FilterConsecutive: r.AnchorRule == string(domino.AnchorSpecForge)}
}

func (s *Session) schedules() error {
	r := s.Recipe
	s.Length = RunLength{Samples: len(s.Data.Rows), Batch: r.BatchSize, Accum: r.Accumulation, World: 1, Epochs: r.Epochs, MaxSteps: r.MaxSteps}
	var err error
	if s.Total, err = s.Length.Steps(); err != nil {
		return err
	}
	if s.LR, err = NewSchedule(ScheduleKind(r.Schedule), r.LearningRate, s.Total, r.WarmupRatio, r.WarmupSteps); err != nil {
		return err
	}
	if r.Domino {
		s.Lambda, err = domino.NewLambdaSchedule(r.LambdaStart, r.LambdaRatio, s.Total, r.AllowUnknownTotalSteps)
	}
	return err
}

// DraftConfig is the draft's architecture.
func (s *Session) DraftConfig() domino.DraftConfig {
	r := s.Recipe
	return domino.DraftConfig{HiddenSize: r.HiddenSize, VocabSize: r.VocabSize, NumLayers: r.NumLayers, NumHeads: r.NumHeads,
		NumKVHeads: r.NumKVHeads, HeadDim: r.HeadDim, IntermediateSize: r.IntermediateSize, TargetLayerIDs: r.TargetLayerIDs,
		NumTargetLayers: s.Target.NumLayers, BlockSize: r.BlockSize, MaskTokenID: r.MaskTokenID, SWAWindow: r.SWAWindow,
		RMSNormEps: r.RMSNormEps, Theta: r.Theta, InitializerRange: r.InitializerRange, Domino: r.Domino,
		GRUHiddenDim: r.GRUHiddenDim, EmbDim: r.EmbDim, PureDraftPrefixLen: r.PureDraftPrefixLen, ShiftLabel: r.ShiftLabel}
}

// Precision is the storage dtype of weights and activations.
func (s *Session) Precision() tensors.DType {
	if s.Recipe.Precision == "f32" {
		return tensors.F32
	}
	return tensors.BF16
}

// EngineConfig is what the run's Engine is built for; bindingBytes is the device's limit.
func (s *Session) EngineConfig(bindingBytes int64) EngineConfig {
	r, draft := s.Recipe, s.DraftConfig()
	return EngineConfig{Target: s.Target, Draft: draft, Batch: r.BatchSize, SeqLen: r.SeqLen, Anchors: r.NumAnchors,
		Precision: s.Precision(), Distill: r.DistillationWeight, BindingBytes: bindingBytes, Eval: s.evalConfig(),
		Loss: domino.LossOptions{Domino: r.Domino, Distill: r.SelfDistillation, DenGuard: r.DenGuard, GlobalNormalization: r.GlobalNormalization},
		Labels: domino.LabelOptions{ShiftLabel: r.Domino, SuffixStart: draft.SuffixStart(), Objective: domino.Objective(r.Objective),
			DecayGamma: r.LossDecayGamma, DPaceAlpha: r.DPaceAlpha, ContiguousLabels: r.ContiguousLabels},
		Beta1: r.Beta1, Beta2: r.Beta2, Epsilon: r.AdamEps, WeightDecay: r.WeightDecay, MaxGradNorm: r.MaxGradNorm}
}

// InitDraft writes the draft's initial values: drawn from the seed, or copied from the
// target's layers where the recipe says so. It ends between two tensors when ctx does. Source: spec.md §5.7.
func (s *Session) InitDraft(ctx context.Context, e *Engine) error {
	cfg, from := s.DraftConfig(), map[string]string{}
	if layers := s.Recipe.InitFromTargetLayers; len(layers) > 0 {
		var err error
		if from, err = domino.TargetInit(cfg, s.Target, layers); err != nil {
			return err
		}
	}
	for _, p := range domino.Params(cfg) {
		if err := ctx.Err(); err != nil {
			return err
		}
		var values []float32
		if name, ok := from[p.Name]; ok {
			var err error
			if values, err = s.Weights.Float32(name); err != nil {
				return err
			}
		} else {
			values = domino.InitValues(p, s.Recipe.Seed)
		}
		if err := e.SetDraft(p.Name, values); err != nil {
			return err
		}
	}
	return nil
}

// MicroBatches makes the micro-batches of the step that follows g completed ones: a pure
// function of recipe, data and g.
func (s *Session) MicroBatches(g int) ([]MicroBatch, error) {
	r := s.Recipe
	epoch, first, n := s.Length.Locate(g)
	list := make([]MicroBatch, n)
	for i := range list {
		b := s.Data.Batch(epoch*s.Length.BatchesPerEpoch()+first+i, r.BatchSize, r.Seed)
		mask, err := domino.LossMask(b.LossMask, b.Attention, nil, r.MaskIntersectAttention)
		if err != nil {
			return nil, err
		}
		anchors, err := domino.SampleAnchors(domino.AnchorRule(r.AnchorRule), mask, r.BatchSize, r.SeqLen, r.BlockSize, r.NumAnchors, r.Seed, g, i*r.BatchSize)
		if err != nil {
			return nil, err
		}
		if anchors.N == 0 && r.EmptyBatchIsError() {
			return nil, fail.New(fail.Other, "profile specforge refuses such a batch; compat.profile = \"rc\" counts it", "trainer: step %d: a batch without any anchor", g)
		}
		list[i] = trim(MicroBatch{B: r.BatchSize, S: r.SeqLen, IDs: b.IDs, LossMask: mask, Anchors: anchors}, b.Lengths)
	}
	return list, nil
}

// trim cuts a micro-batch behind the last token that any block reads or predicts.
func trim(b MicroBatch, lengths []int) MicroBatch {
	longest := max(1, slices.Max(lengths))
	for i, m := range b.LossMask { // padding may be supervised, as Model-Optimizer has it without answer-only loss
		if m > 0 {
			longest = max(longest, i%b.S+1)
		}
	}
	if longest == b.S {
		return b
	}
	t := MicroBatch{B: b.B, S: longest, Anchors: b.Anchors}
	for row := range b.B {
		t.IDs = append(t.IDs, b.IDs[row*b.S:row*b.S+longest]...)
		t.LossMask = append(t.LossMask, b.LossMask[row*b.S:row*b.S+longest]...)
	}
	return t
}

// Fingerprint identifies the target by its config.json, embedding table and LM head.
func (s *Session) Fingerprint() (string, error) {
	return Fingerprint(s.Recipe.ModelPath, s.Target, s.Weights)
}

// Fingerprint identifies the target in a folder by its config.json, embedding table and LM head.
func Fingerprint(dir string, cfg *model.Config, weights *tensors.Model) (string, error) {
	h := sha256.New()
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return "", fmt.Errorf("trainer: fingerprint: %w", err)
	}
	h.Write(raw)
	for _, name := range []string{model.EmbedName, cfg.LMHead()} {
		sum, err := weights.SHA256(name)
		if err != nil {
			return "", err
		}
		h.Write([]byte(sum))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
