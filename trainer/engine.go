package trainer

import (
	"errors"
	"fmt"
	"slices"

	"vkdomino/domino"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// EngineConfig is what an Engine is built for.
type EngineConfig struct {
	Target *model.Config
	Draft  domino.DraftConfig

	Batch, SeqLen, Anchors int // the largest micro-batch
	Precision              tensors.DType

	Loss    domino.LossOptions
	Labels  domino.LabelOptions
	Distill float64 // weight of self-logit distillation, 0 for none
	Eval    EvalConfig
	// FullTarget runs the target to its end although nothing but Inspect needs it.
	FullTarget bool
	// GivenFeatures leaves out the target's layers: the caller writes Draft.Backbone.Features.
	// Of the target there are the embedding table and the LM head, and Distill must be 0.
	GivenFeatures bool
	// NoOptimizer leaves out masters and moments: Gradients works, Step does not.
	NoOptimizer bool
	// EveryRow computes rows that nothing reads too, and what equal rows have in common anew for
	// each of them (domino.Capacity): the plain path, for comparison.
	EveryRow bool

	Beta1, Beta2, Epsilon, WeightDecay, MaxGradNorm float64

	// BindingBytes is the device's limit of a buffer binding; 0 in a dry context means the
	// least that Vulkan guarantees.
	BindingBytes int64
}

// EvalConfig is the decoder beside a training step, which shares its weights; without Slots
// there is none.
type EvalConfig struct {
	Slots       int // prompts at a time
	Context     int // the most tokens of a prompt with its answer
	DraftTokens int // K
}

// lastLayer is the last target layer that is loaded.
func (cfg *EngineConfig) lastLayer() int {
	if cfg.GivenFeatures {
		return -1
	}
	if cfg.Eval.Slots > 0 {
		return cfg.Target.NumLayers - 1
	}
	return cfg.lastTrained()
}

// lastTrained is the last target layer that a step runs. Source: spec.md §2.2.
func (cfg *EngineConfig) lastTrained() int {
	if cfg.Distill > 0 || cfg.FullTarget {
		return cfg.Target.NumLayers - 1
	}
	return slices.Max(cfg.Draft.TargetLayerIDs)
}

// Engine is a target and a draft on one device, and the training step over them.
type Engine struct {
	Context *ops.Context
	Config  EngineConfig
	Target  *model.Target
	Draft   *domino.Draft
	// Decoder decodes with the weights as they stand; nil without EngineConfig.Eval.
	Decoder *domino.Decoder
	// Updates is the number of optimizer updates applied so far, the s of AdamW's bias correction.
	Updates int

	part *model.Target // the layers of Target that a step runs
	run  *model.TargetRun
	k, v tensors.Tensor // keys and values of one target layer, [B*S, nKV*hd]
	norm tensors.Tensor // F32 [4], see ops.GradNorm
	seen tensors.Tensor // norm as the host reads it: on the device every invocation of the update reads norm
}

// NewEngine allocates everything a training step needs. On a dry context that makes the memory plan.
func NewEngine(c *ops.Context, cfg EngineConfig) (*Engine, error) {
	if cfg.BindingBytes == 0 {
		cfg.BindingBytes = 128 << 20
	}
	if cfg.GivenFeatures && (cfg.Distill > 0 || cfg.Eval.Slots > 0) {
		return nil, errors.New("trainer: engine: given features: want neither distillation nor evaluation, which need the target's layers")
	}
	e := &Engine{Context: c, Config: cfg}
	c.Reserve()
	rows, kv := cfg.Batch*cfg.SeqLen, cfg.Target.NumKVHeads*cfg.Target.HeadDim
	var err error
	e.Target, err = model.NewTarget(c, cfg.Target, cfg.lastLayer(), max(cfg.SeqLen, cfg.Eval.Context)+cfg.Draft.BlockSize, cfg.Precision)
	if err != nil {
		return nil, err
	}
	if !cfg.GivenFeatures {
		e.part = e.Target.Through(cfg.lastTrained())
		e.run = e.Target.NewTargetRun(c, rows)
		e.k = c.Alloc("target keys", cfg.Precision, rows, kv)
		e.v = c.Alloc("target values", cfg.Precision, rows, kv)
	}
	most := domino.Capacity{Batch: cfg.Batch, SeqLen: cfg.SeqLen, Anchors: cfg.Anchors, BindingBytes: cfg.BindingBytes, EveryRow: cfg.EveryRow, NoOptimizer: cfg.NoOptimizer}
	e.Draft, err = domino.NewDraft(c, cfg.Draft, e.Target, most, cfg.Distill, cfg.Precision)
	if err != nil {
		return nil, err
	}
	e.norm = c.Alloc("gradient norm", tensors.F32, 4)
	e.seen = c.AllocHost("gradient norm (host)", tensors.F32, 4)
	if cfg.Eval.Slots > 0 {
		e.Decoder, err = domino.NewDecoder(c, domino.DecoderConfig{Target: e.Target, Draft: &domino.DraftModel{Config: cfg.Draft, Params: e.Draft.Params},
			Slots: cfg.Eval.Slots, Context: cfg.Eval.Context, DraftTokens: cfg.Eval.DraftTokens})
		if err != nil {
			return nil, err
		}
	}
	return e, c.Err()
}

// Load uploads the target's weights.
func (e *Engine) Load(src model.Source) error {
	if e.run != nil {
		e.run.Start(e.Context)
	}
	return e.Target.Load(e.Context, src)
}

// SetDraft writes one draft tensor and clears its moments. The device must be idle.
func (e *Engine) SetDraft(name string, values []float32) error {
	p := e.Draft.Params.Get(name)
	if p == nil || p.Weight.Len() != len(values) {
		return fmt.Errorf("trainer: draft tensor %s: not one of this draft's, or of another size", name)
	}
	if !e.Config.NoOptimizer {
		e.Context.Zero(p.M)
		e.Context.Zero(p.V)
		if err := e.Context.Submit(); err != nil {
			return err
		}
	}
	return e.Draft.Params.Set(e.Context, name, values)
}

// layerKV gives every target layer the same keys and values: a training pass keeps none.
func (e *Engine) layerKV(rows, longest int) func(int) model.KV {
	k, v := e.k.Slice(0, rows), e.v.Slice(0, rows)
	kv := model.KV{NewK: k, NewV: v, K: k, V: v, Longest: longest}
	return func(int) model.KV { return kv }
}

// recordTarget uploads the tokens of a micro-batch's context rows and records the target's pass over
// them, which fills the draft's features. It returns their last hidden states [rows, H].
// Tokens behind the last anchor of their row are not run: nothing reads them.
func (e *Engine) recordTarget(l *domino.Layout, ids []int32) tensors.Tensor {
	c := e.Context
	n, longest := l.Context()
	if n == 0 {
		return e.run.Hidden.Slice(0, 0)
	}
	var tokens, pos []int32
	var lengths, bases []int
	l.EachContext(func(b, first, rows int) {
		tokens = append(tokens, ids[b*l.SeqLen:b*l.SeqLen+rows]...)
		for t := range rows {
			pos = append(pos, int32(t))
		}
		lengths, bases = append(lengths, rows), append(bases, first)
	})
	segments := ops.CausalSegments(lengths, make([]int, l.Batch), bases)
	c.UploadI32(e.run.IDs.View(n), tokens)
	c.UploadI32(e.run.Pos.View(n), pos)
	c.UploadI32(e.run.Segments.Slice(0, len(segments)/4), segments)
	e.part.Forward(c, e.run, n, len(segments)/4, e.layerKV(n, longest), e.Draft.Backbone.Features.Slice(0, n), e.Config.Draft.TargetLayerIDs)
	return e.run.Hidden.Slice(0, n)
}
