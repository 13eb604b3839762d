package domino

import (
	"vkdomino/internal/draftnames"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// tableBytes bounds the table of the head's input side of every token: a small vocabulary's
// is worth having, because a step then needs neither the embedding nor W_ih.
const tableBytes = 64 << 20

// drafter is a decoder's draft: it proposes K tokens for each of n slots without going back
// to the host between them. Lists by step have the n slots of a step together. Letters are
// those of spec.md §1.1.
type drafter struct {
	cfg      DraftConfig
	embed    tensors.Tensor // the target's [V, H]
	lmHead   tensors.Tensor
	backbone *model.BackboneCache

	gruIn, gruHidden, w1, w2 tensors.Tensor // the head's; empty for plain DFlash

	// Host-visible, I32 and F32: the block's tokens, block rows by step, anchors and drafted
	// tokens by step, their order by slot, and uniform numbers by step.
	noise, rows, tokens, order, uniform tensors.Tensor

	z, byStep  tensors.Tensor    // [K*slots, H]: Z by step, and that of the current cycle
	table      tensors.Tensor    // F32 [V, 3G]: W_ih x of every token; empty where it would be large
	logits     tensors.Tensor    // F32 [K*slots, V] by step: base, then corrected, then probabilities
	corrected  tensors.Tensor    // F32 [K*slots, V]: the same of candidates alone
	candidates tensors.Tensor    // I32 [K*slots, candidates]
	x          tensors.Tensor    // [slots, H]: embedded tokens of a step
	state      [2]tensors.Tensor // F32 [slots, G], in turns
	act        tensors.Tensor    // [slots, E]
}

func newDrafter(c *ops.Context, cfg DecoderConfig, cache *model.TargetCache) (*drafter, error) {
	draft, params, slots, K := cfg.Draft.Config, cfg.Draft.Params, cfg.Slots, cfg.DraftTokens
	H, V, dtype := draft.HiddenSize, draft.VocabSize, cfg.Target.Embed.DType
	backbone, err := model.NewBackboneCache(c, draft.backboneConfig(), params, cache, slots)
	if err != nil {
		return nil, err
	}
	d := &drafter{cfg: draft, embed: cfg.Target.Embed, lmHead: cfg.Target.LMHead, backbone: backbone,
		noise:   c.AllocHost("noise ids", tensors.I32, slots*draft.BlockSize),
		rows:    c.AllocHost("block rows", tensors.I32, K*slots),
		tokens:  c.AllocHost("drafted tokens", tensors.I32, (K+1)*slots),
		order:   c.AllocHost("drafted tokens by slot", tensors.I32, (K+1)*slots),
		uniform: c.AllocHost("draft uniform numbers", tensors.F32, K*slots),
		z:       c.Alloc("block hidden by step", dtype, K*slots, H),
		logits:  c.Alloc("draft logits", tensors.F32, K*slots, V)}
	if !draft.Domino {
		return d, nil
	}
	weight := func(name string) tensors.Tensor { return params.Get(name).Weight }
	d.gruIn, d.gruHidden, d.w1, d.w2 = weight(draftnames.GRUInput), weight(draftnames.GRUHidden), weight(draftnames.EmbedIn), weight(draftnames.EmbedOut)
	if G := draft.GRUHiddenDim; V*3*G*tensors.F32.Size() <= tableBytes {
		d.table = c.Alloc("input side of every token", tensors.F32, V, 3*G)
	} else {
		d.x = c.Alloc("rollout embeddings", dtype, slots, H)
	}
	d.state = [2]tensors.Tensor{c.Alloc("rollout states", tensors.F32, slots, draft.GRUHiddenDim), c.Alloc("rollout states", tensors.F32, slots, draft.GRUHiddenDim)}
	d.act = c.Alloc("rollout activations", dtype, slots, draft.EmbDim)
	if cfg.Candidates > 0 {
		d.corrected = c.Alloc("candidate logits", tensors.F32, K*slots, V)
		d.candidates = c.Alloc("candidates", tensors.I32, K*slots, cfg.Candidates)
	}
	return d, nil
}

// prepare records what every cycle needs of the weights, which training changes.
func (d *drafter) prepare(c *ops.Context) {
	if d.table.Shape != nil {
		c.Gemm(ops.NT, d.table, d.embed, d.gruIn)
	}
}

// proposal is one cycle's drafting: for each slot the anchor token and its position.
type proposal struct {
	slots, starts []int
	anchors       []int32
	steps         int // drafted tokens of each slot, at most K
	head          bool
	filter        ops.Filter // of the drafted tokens
	probs         bool       // leave the probabilities that they were drawn from
	uniform       []float32  // by step; empty where drafting is greedy
}

func (p *proposal) greedy() bool { return p.filter.Greedy() }

// upload writes a proposal's inputs. The device must be idle.
func (d *drafter) upload(c *ops.Context, p *proposal) {
	n, bs := len(p.slots), d.cfg.BlockSize
	noise := filled(n*bs, int32(d.cfg.MaskTokenID))
	rows, order := make([]int32, p.steps*n), make([]int32, (p.steps+1)*n)
	for i := range n {
		noise[i*bs] = p.anchors[i]
		for j := range p.steps + 1 {
			order[i*(p.steps+1)+j] = int32(j*n + i)
			if j < p.steps {
				rows[j*n+i] = int32(i*bs + d.cfg.rowOf(j))
			}
		}
	}
	d.backbone.Place(c, p.slots, p.starts)
	c.UploadI32(d.noise.View(n*bs), noise)
	c.UploadI32(d.rows.View(len(rows)), rows)
	c.UploadI32(d.order.View(len(order)), order)
	c.UploadI32(d.tokens.View(n), p.anchors)
	if !p.greedy() {
		c.UploadF32(d.uniform.View(len(p.uniform)), p.uniform)
	}
}

// block records the block's hidden states and base logits. Source: spec.md §14.2, steps 2 and 3.
func (d *drafter) block(c *ops.Context, p *proposal) {
	n := p.steps * len(p.slots)
	Z := d.backbone.Forward(c, d.embed, d.noise)
	if len(p.slots) == 1 { // one block's rows are in the order of its steps
		d.byStep = Z.Slice(d.cfg.rowOf(0), d.cfg.rowOf(0)+n)
	} else {
		d.byStep = d.z.Slice(0, n)
		c.Gather(d.byStep, 0, Z, 0, Z.Cols(), d.rows.View(n))
	}
	c.Gemm(ops.NT, d.logits.Slice(0, n), d.byStep, d.lmHead)
}

// rollout records the drafted tokens, one step after the other, and returns the logits or
// probabilities that they come from, by step. Source: spec.md §14.2, step 4.
func (d *drafter) rollout(c *ops.Context, p *proposal) tensors.Tensor {
	n, from := len(p.slots), d.cfg.correctedFrom()
	logits := d.logits.Slice(0, p.steps*n)
	if !p.head || !d.cfg.Domino || from >= p.steps {
		d.draw(c, p, logits, 0, p.steps)
		return logits
	}
	out := logits
	if d.candidates.Shape != nil {
		out = d.corrected.Slice(0, p.steps*n)
		c.Candidates(d.candidates.Slice(0, p.steps*n), logits)
		if from > 0 {
			c.Copy(out.Slice(0, from*n), logits.Slice(0, from*n))
		}
	}
	for s := range p.steps {
		d.advance(c, s, n)
		if s >= from {
			d.correct(c, out, s, n)
		}
		d.draw(c, p, out, s, s+1)
	}
	return out
}

// advance feeds the tokens that step s follows to the GRU: the anchors for step 0.
func (d *drafter) advance(c *ops.Context, s, n int) {
	tokens, next, before := d.tokens.Slice(s*n, (s+1)*n), d.state[s%2].Slice(0, n), tensors.Tensor{}
	if s > 0 {
		before = d.state[(s-1)%2].Slice(0, n)
	}
	if d.table.Shape != nil {
		c.GRUToken(next, d.table, tokens, before, d.gruHidden)
		return
	}
	x := d.x.Slice(0, n)
	c.Embedding(x, d.embed, tokens)
	c.GRUCell(next, x, before, d.gruIn, d.gruHidden)
}

// correct adds the head's correction to the base logits of step s.
func (d *drafter) correct(c *ops.Context, out tensors.Tensor, s, n int) {
	lo, hi := s*n, (s+1)*n
	act, base := d.act.Slice(0, n), d.logits.Slice(lo, hi)
	c.HeadActivation(act, d.byStep.Slice(lo, hi), d.state[s%2].Slice(0, n), d.w1)
	if d.candidates.Shape == nil {
		c.GemmAdd(ops.NT, base, base, act, d.w2)
		return
	}
	c.CorrectCandidates(out.Slice(lo, hi), base, d.candidates.Slice(lo, hi), act, d.w2)
}

// draw records the tokens of steps lo to hi-1 from their logits.
func (d *drafter) draw(c *ops.Context, p *proposal, logits tensors.Tensor, lo, hi int) {
	n := len(p.slots)
	rows, tokens := logits.Slice(lo*n, hi*n), d.tokens.Slice((lo+1)*n, (hi+1)*n)
	if p.greedy() {
		c.Argmax(tokens, rows)
	}
	if p.probs || !p.greedy() {
		c.SamplingProbs(rows, rows, p.filter)
	}
	if !p.greedy() {
		c.SampleIndex(tokens, rows, d.uniform.Slice(lo*n, hi*n))
	}
}

// bySlot records the anchors and drafted tokens slot by slot, as verification wants them.
func (d *drafter) bySlot(c *ops.Context, to tensors.Tensor, p *proposal) {
	n := (p.steps + 1) * len(p.slots)
	if len(p.slots) == 1 {
		c.Copy(to.View(n), d.tokens.View(n))
		return
	}
	c.GatherIDs(to.View(n), d.tokens.View(n), d.order.View(n))
}
