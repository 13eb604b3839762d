package domino

import (
	"fmt"
	"slices"

	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// Draft is a draft on the device, with all that training it needs: parameters, backbone,
// head and loss, for micro-batches up to a size.
type Draft struct {
	Config   DraftConfig
	Params   *model.Params
	Backbone *model.Backbone

	target   *model.Target
	head     *Head // nil for plain DFlash
	loss     *vocabLoss
	noiseIDs tensors.Tensor // I32 [Q], host-visible
	noise    *ops.RowGroups // of draft rows by noise id
	distinct tensors.Tensor // I32: the noise ids of the groups; host-visible
	dZ       tensors.Tensor // [Q, H]
}

// Capacity is the largest micro-batch.
type Capacity struct {
	Batch, SeqLen, Anchors int
	// BindingBytes is the device's limit of a buffer binding, which decides how the vocabulary is cut.
	BindingBytes int64
	// EveryRow computes what equal rows have in common anew for each of them: the plain path, for comparison.
	EveryRow bool
	// NoOptimizer leaves out masters and moments: there are gradients and no update.
	NoOptimizer bool
}

// distinct is how many groups of equal rows there can be, of rows rows: at most the least of bounds.
func (c Capacity) distinct(rows int, bounds ...int) int {
	if c.EveryRow {
		return rows
	}
	return min(rows, slices.Min(bounds))
}

// backboneConfig is the backbone's part of a draft's configuration.
func (c DraftConfig) backboneConfig() model.BackboneConfig {
	return model.BackboneConfig{HiddenSize: c.HiddenSize, NumFeatures: c.NumFeatures(), NumLayers: c.NumLayers,
		NumHeads: c.NumHeads, NumKVHeads: c.NumKVHeads, HeadDim: c.HeadDim, IntermediateSize: c.IntermediateSize,
		BlockSize: c.BlockSize, Window: c.SWAWindow, RMSNormEps: c.RMSNormEps}
}

func paramShapes(cfg DraftConfig) []model.ParamShape {
	var list []model.ParamShape
	for _, s := range Params(cfg) {
		list = append(list, model.ParamShape{Name: s.Name, Shape: s.Shape})
	}
	return list
}

// NewDraft allocates a draft for training beside its target. distill is the weight of
// self-logit distillation, 0 for none; the target must then run to its end.
func NewDraft(c *ops.Context, cfg DraftConfig, target *model.Target, most Capacity, distill float64, dtype tensors.DType) (*Draft, error) {
	blocks := most.Batch * most.Anchors
	rows, context := blocks*cfg.BlockSize, most.Batch*most.SeqLen
	newParams := model.NewParams
	if most.NoOptimizer {
		newParams = model.NewGradients
	}
	d := &Draft{Config: cfg, target: target, Params: newParams(c, paramShapes(cfg), dtype)}
	var err error
	chunk := chunkRows(cfg, distill, rows, dtype)
	U := most.distinct(rows, blocks+1, cfg.VocabSize)
	d.Backbone, err = model.NewBackbone(c, cfg.backboneConfig(), d.Params, target, model.Capacity{Draft: rows, Projected: U, Context: context, Sequences: most.Batch,
		Room: logitsRoom(cfg, distill, chunk, chunkVocab(cfg, chunk, most.BindingBytes, dtype), dtype)}, dtype)
	if err != nil {
		return nil, fmt.Errorf("domino: draft: %w", err)
	}
	if cfg.Domino {
		d.head = newHead(c, cfg, d.Params, blocks, chunk, most, dtype)
	}
	d.loss = newVocabLoss(c, cfg, target, d.head, distill, rows, chunk, most.BindingBytes, d.Backbone.Room(), dtype)
	d.noiseIDs = c.AllocHost("noise ids", tensors.I32, rows)
	if !most.EveryRow {
		d.noise = ops.NewRowGroups(c, "noise ids", rows, false)
		d.distinct = c.AllocHost("distinct noise ids", tensors.I32, U)
		d.Backbone.ShareRows(c, d.noise, U)
	}
	d.dZ = d.Backbone.X0 // which the backward pass does not read where layer 0 works on distinct rows
	if most.EveryRow {
		d.dZ = c.Alloc("draft hidden gradient", dtype, rows, cfg.HiddenSize)
	}
	return d, c.Err()
}

// Micro is a micro-batch on its way through the draft.
type Micro struct {
	Layout  *Layout
	Targets *Targets
	Lambda  float64
	// Factor turns a row's weight into its coefficient, see Normalize; 0: the loss does not
	// count, and every gradient of this micro-batch is exactly 0. Under D-PACE it is found
	// from the weights, and Share (1 / micro-batches of the step) is used instead.
	Factor  float64
	Share   float64
	Options LossOptions
	// Hidden is the target's last hidden states of the context rows; used by distillation alone.
	Hidden tensors.Tensor
}

func (m *Micro) shape() model.Shape {
	rows, longest := m.Layout.Context()
	return model.Shape{Sequences: m.Layout.Batch, Context: rows, Longest: longest, Blocks: len(m.Layout.Blocks)}
}

// Upload writes a micro-batch's inputs, see ops.Context.Upload.
func (d *Draft) Upload(c *ops.Context, m *Micro) {
	l := m.Layout
	Q := l.DraftRows()
	var contextPos, ranges []int32
	l.EachContext(func(b, first, n int) {
		for t := range n {
			contextPos = append(contextPos, int32(t))
		}
		ranges = append(ranges, l.RowStart[b], l.RowStart[b+1], int32(first), int32(n))
	})
	blocks := make([]int32, 0, 2*len(l.Blocks))
	for _, b := range l.Blocks {
		blocks = append(blocks, l.ContextStart[b.Row], b.Anchor)
	}
	c.UploadI32(d.noiseIDs.View(Q), l.NoiseIDs)
	if d.noise != nil {
		ids := d.noise.Upload(c, l.NoiseIDs)
		c.UploadI32(d.distinct.View(len(ids)), ids)
	}
	c.UploadI32(d.Backbone.Pos.View(Q), l.Positions)
	c.UploadI32(d.Backbone.ContextPos.View(len(contextPos)), contextPos)
	c.UploadI32(d.Backbone.Blocks.Slice(0, len(l.Blocks)), blocks)
	c.UploadI32(d.Backbone.Ranges.Slice(0, l.Batch), ranges)
	d.loss.upload(c, l, m.Targets)
	if d.head != nil {
		d.head.upload(c, l, m.Targets)
	}
	c.UploadF32(d.loss.coef.View(m.Targets.Len()), m.Targets.Coefficients(m.Factor))
}

// Forward records the pass from Backbone.Features to Z and the head's activations.
func (d *Draft) Forward(c *ops.Context, m *Micro) {
	Q, R := m.Layout.DraftRows(), m.Targets.Len()
	if Q == 0 {
		return
	}
	c.Embedding(d.Backbone.X0.Slice(0, Q), d.target.Embed, d.noiseIDs.View(Q))
	if d.noise != nil {
		c.Embedding(d.Backbone.SharedInput(), d.target.Embed, d.distinct.View(d.noise.Count))
	}
	if d.head != nil && R > 0 {
		d.head.scan(c, d.target.Embed, m.Layout)
	}
	d.Backbone.Forward(c, m.shape())
	d.loss.Z = d.Backbone.Z.Slice(0, Q)
}

// Record records a whole micro-batch: forward, loss, and the gradients added to Params. Upload
// came before, and the features are recorded. Once that has run, Results has the results. D-PACE
// submits and waits once between its two visits of the logits, so it cannot be recorded ahead.
func (d *Draft) Record(c *ops.Context, m *Micro) error {
	c.Phase(ops.PhaseForward)
	d.Forward(c, m)
	var err error
	if m.Targets.options.Objective == ObjectiveDPACE {
		err = d.twoVisits(c, m)
	} else {
		c.Phase(ops.PhaseBackward)
		d.startBackward(c, m)
		d.loss.rowChunks(m.Targets.Len(), func(lo, hi int) {
			c.Phase(ops.PhaseForward)
			d.loss.logits(c, lo, hi, m.Hidden, true)
			c.Phase(ops.PhaseBackward)
			if m.Factor != 0 {
				d.loss.backward(c, d.dZ, lo, hi, m.Lambda)
			}
		})
	}
	if err != nil {
		return err
	}
	c.Phase(ops.PhaseBackward)
	d.backward(c, m)
	return nil
}

// Losses is what the losses of a micro-batch's head rows are written to, [R, ops.ResultCols]
// F32; a zero Tensor where it has none.
func (d *Draft) Losses(m *Micro) tensors.Tensor {
	if m.Targets.Len() == 0 {
		return tensors.Tensor{}
	}
	return d.loss.ce.Result.Slice(0, m.Targets.Len())
}

// Results reads the losses of a micro-batch's head rows, before another one starts.
func (d *Draft) Results(c *ops.Context, m *Micro) (*Results, error) {
	return d.results(c, m.Targets.Len())
}

// twoVisits is the loss under D-PACE, whose weights need every row's cross-entropy first.
func (d *Draft) twoVisits(c *ops.Context, m *Micro) error {
	R := m.Targets.Len()
	d.loss.rowChunks(R, func(lo, hi int) { d.loss.logits(c, lo, hi, m.Hidden, true) })
	if err := c.Submit(); err != nil {
		return err
	}
	r, err := d.results(c, R)
	if err != nil {
		return err
	}
	if err := m.Targets.ApplyDPACE(r.CEBase); err != nil {
		return err
	}
	m.Factor = m.Share * Normalize([]float64{m.Targets.SumWeights()}, m.Options)[0]
	if m.Factor == 0 {
		return nil
	}
	c.UploadF32(d.loss.coef.View(R), m.Targets.Coefficients(m.Factor))
	c.Phase(ops.PhaseBackward)
	d.startBackward(c, m)
	d.loss.rowChunks(R, func(lo, hi int) {
		if R > d.loss.chunkRows { // otherwise the logits are still there
			d.loss.logits(c, lo, hi, m.Hidden, false)
		}
		d.loss.backward(c, d.dZ, lo, hi, m.Lambda)
	})
	return nil
}

// noGradient says that a micro-batch has none: no row counts.
func (m *Micro) noGradient() bool { return m.Factor == 0 || m.Targets.Len() == 0 }

// startBackward records that no draft row and no GRU state has a gradient yet.
func (d *Draft) startBackward(c *ops.Context, m *Micro) {
	if m.noGradient() {
		return
	}
	c.Zero(d.dZ.Slice(0, m.Layout.DraftRows()))
	if d.head != nil && m.Lambda != 1 {
		d.head.startBackward(c, m.Layout)
	}
}

// backward records what follows from dZ and the gradients of the GRU's states.
func (d *Draft) backward(c *ops.Context, m *Micro) {
	if m.noGradient() {
		return
	}
	if d.head != nil && m.Lambda != 1 {
		d.head.backward(c, m.Layout)
	}
	d.Backbone.Backward(c, m.shape(), d.dZ.Slice(0, m.Layout.DraftRows()))
}

// results reads the losses of R head rows.
func (d *Draft) results(c *ops.Context, R int) (*Results, error) {
	values, err := c.Float32s(d.loss.ce.Result.Slice(0, R))
	if err != nil {
		return nil, err
	}
	r := &Results{CEBase: make([]float32, R), CEFinal: make([]float32, R), LossBase: make([]float32, R), LossFinal: make([]float32, R),
		ArgmaxBase: make([]int32, R), ArgmaxFinal: make([]int32, R)}
	for i := range R {
		row := values[i*ops.ResultCols:]
		r.CEBase[i], r.CEFinal[i] = row[ops.CEBase], row[ops.CEFinal]
		r.LossBase[i], r.LossFinal[i] = row[ops.LossBase], row[ops.LossFinal]
		r.ArgmaxBase[i], r.ArgmaxFinal[i] = int32(row[ops.ArgmaxBase]), int32(row[ops.ArgmaxFinal])
	}
	return r, nil
}

// AllRows lists every draft row of a layout as a head row without weight, so that Logits
// gives logits of rows that no label needs.
func AllRows(l *Layout, opt LabelOptions) *Targets {
	t := &Targets{BlockSize: l.BlockSize, Blocks: len(l.Blocks), options: opt}
	for q := range l.DraftRows() {
		t.add(int32(q), 0, 0, q%l.BlockSize, 0, 0)
	}
	return t
}

// Logits records the base and, for Domino, final logits [Q, V] of every draft row, after a
// Forward over AllRows. It allocates them: for selftest and tests, never in training.
func (d *Draft) Logits(c *ops.Context, m *Micro) (base, final tensors.Tensor) {
	Q := m.Layout.DraftRows()
	base = c.Alloc("inspected base logits", tensors.F32, Q, d.Config.VocabSize)
	Z := d.Backbone.Z.Slice(0, Q)
	c.Gemm(ops.NT, base, Z, d.target.LMHead)
	if d.head != nil {
		final = c.Alloc("inspected final logits", tensors.F32, Q, d.Config.VocabSize)
		d.loss.rowChunks(Q, func(lo, hi int) {
			c.GemmAdd(ops.NT, final.Slice(lo, hi), base.Slice(lo, hi), d.head.activate(c, Z, lo, hi), d.head.w2.Weight)
		})
	}
	return base, final
}
