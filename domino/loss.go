package domino

import (
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// logitsBytes bounds the logits that exist at one time, unless the layers leave more memory: the
// rows of a chunk times the vocabulary, in all streams, with their gradients.
const logitsBytes = 704 << 20

// vocabLoss is the LM head and the fused cross-entropy, chunk by chunk: never are the
// logits of all rows in memory. Letters are those of spec.md §1.1; R counts head rows.
type vocabLoss struct {
	lmHead tensors.Tensor
	head   *Head // nil for plain DFlash
	kd     *teacher

	chunkRows, chunkVocab int

	row, label   tensors.Tensor // I32 [R]: draft rows and labels of the head rows; host-visible
	coef         tensors.Tensor // F32 [R]: c_i
	Z            tensors.Tensor // [Q, H]: of the current pass
	z            tensors.Tensor // [chunkRows, H]: Z of a chunk's head rows, then the gradient of it
	dz           tensors.Tensor // [chunkRows, H] F32
	base, final  tensors.Tensor // [chunkRows * V] F32, one vocabulary chunk after the other
	gFinal, gSum tensors.Tensor // [chunkRows, chunkVocab]
	ce           ops.CrossEntropy
}

// teacher is what self-logit distillation adds: the target's logits for the tokens that a
// chunk's rows predict. Source: spec.md §7.5.
type teacher struct {
	weight float64
	norm   tensors.Tensor // the target's final norm
	eps    float64

	row      tensors.Tensor // I32 [R]: per chunk the distinct rows of the target; host-visible
	rowOf    tensors.Tensor // I32 [R]: a head row's entry among its chunk's distinct rows
	hidden   tensors.Tensor // [chunkRows, H]
	normed   tensors.Tensor
	rstd     tensors.Tensor
	logits   tensors.Tensor // [chunkRows * V] F32
	distinct []int          // by chunk
}

// newVocabLoss allocates the loss of at most rows head rows, chunk of them at a time. The logits
// lie in room, which must have logitsRoom bytes.
func newVocabLoss(c *ops.Context, cfg DraftConfig, target *model.Target, head *Head, distill float64, rows, chunk int, bindingBytes int64, room tensors.Tensor, dtype tensors.DType) *vocabLoss {
	H, V := cfg.HiddenSize, cfg.VocabSize
	v := &vocabLoss{lmHead: target.LMHead, head: head, chunkRows: chunk, chunkVocab: chunkVocab(cfg, chunk, bindingBytes, dtype)}
	v.row = c.AllocHost("head rows", tensors.I32, rows)
	v.label = c.AllocHost("labels", tensors.I32, rows)
	v.coef = c.AllocHost("loss coefficients", tensors.F32, rows)
	v.z = c.Alloc("head hidden", dtype, v.chunkRows, H)
	v.dz = c.Alloc("head hidden gradient", tensors.F32, v.chunkRows, H)
	a := tensors.NewArena(room)
	v.base = a.Take("base logits", tensors.F32, chunk*V)
	v.gSum = a.Take("logit gradients", dtype, chunk, v.chunkVocab)
	if head != nil {
		v.final = a.Take("final logits", tensors.F32, chunk*V)
		v.gFinal = a.Take("logit gradients", dtype, chunk, v.chunkVocab)
	}
	v.ce = ops.NewCrossEntropy(c, rows)
	if distill > 0 {
		v.kd = &teacher{weight: distill, norm: target.Norm, eps: target.Config.RMSNormEps,
			row:    c.AllocHost("teacher rows", tensors.I32, rows),
			rowOf:  c.AllocHost("teacher rows by head row", tensors.I32, rows),
			hidden: c.Alloc("teacher hidden", dtype, v.chunkRows, H),
			normed: c.Alloc("teacher normed", dtype, v.chunkRows, H),
			rstd:   c.Alloc("teacher rstd", tensors.F32, v.chunkRows),
			logits: a.Take("teacher logits", tensors.F32, chunk*V)}
	}
	return v
}

// chunkRows is how many of rows head rows have their logits in memory at one time: as many as
// logitsBytes hold, or the memory that the layers leave meanwhile, in whole tiles.
func chunkRows(cfg DraftConfig, distill float64, rows int, dtype tensors.DType) int {
	const tile = 64
	bytes := max(logitsBytes, model.RoomBytes(cfg.backboneConfig(), rows, dtype))
	perRow := logitsRoom(cfg, distill, 1, cfg.VocabSize, dtype)
	return min(rows, max(tile, int(bytes/perRow)/tile*tile))
}

// logitsRoom is how many bytes the logits of a chunk of rows and their gradients take.
func logitsRoom(cfg DraftConfig, distill float64, rows, vocab int, dtype tensors.DType) int64 {
	logits, gradients := int64(rows)*int64(cfg.VocabSize)*4, int64(rows)*int64(vocab)*int64(dtype.Size())
	sizes := []int64{logits, gradients}
	if cfg.Domino {
		sizes = append(sizes, logits, gradients)
	}
	if distill > 0 {
		sizes = append(sizes, logits)
	}
	return tensors.ArenaBytes(sizes...)
}

// chunkVocab is how much of the vocabulary one kernel sees, for chunks of rows rows: what a binding holds.
func chunkVocab(cfg DraftConfig, rows int, bindingBytes int64, dtype tensors.DType) int {
	most := int(bindingBytes) - 4096
	n := min(cfg.VocabSize, most/(cfg.HiddenSize*dtype.Size()), most/(4*rows))
	if n < cfg.VocabSize {
		n = n / 64 * 64
	}
	return n
}

// upload writes the index lists of a micro-batch.
func (v *vocabLoss) upload(c *ops.Context, l *Layout, t *Targets) {
	R := t.Len()
	c.UploadI32(v.row.View(R), t.Row)
	c.UploadI32(v.label.View(R), t.Label)
	if v.kd != nil {
		v.kd.upload(c, l, t.Teacher, v.chunkRows)
	}
}

// upload lists each chunk's distinct teacher rows, in the order of first use, by their place among the context rows.
func (k *teacher) upload(c *ops.Context, l *Layout, rows []int32, chunk int) {
	list, of := make([]int32, len(rows)), make([]int32, len(rows))
	k.distinct = k.distinct[:0]
	for lo := 0; lo < len(rows); lo += chunk {
		seen := map[int32]int32{}
		for r := lo; r < min(lo+chunk, len(rows)); r++ {
			at, ok := seen[rows[r]]
			if !ok {
				at = int32(len(seen))
				seen[rows[r]] = at
				b := rows[r] / int32(l.SeqLen)
				list[lo+int(at)] = l.ContextStart[b] + rows[r]%int32(l.SeqLen)
			}
			of[r] = at
		}
		k.distinct = append(k.distinct, len(seen))
	}
	c.UploadI32(k.row.View(len(rows)), list)
	c.UploadI32(k.rowOf.View(len(rows)), of)
}

// chunk is the part of a step's loss that is in memory at one time: head rows lo to hi-1
// and vocabulary v0 to v1-1.
type chunk struct{ lo, hi, v0, v1 int }

// tile is a chunk's part of a [chunkRows * V] logits buffer.
func (v *vocabLoss) tile(logits tensors.Tensor, k chunk, rows int) tensors.Tensor {
	if logits.Shape == nil {
		return logits
	}
	n := k.v1 - k.v0
	at := v.chunkRows * k.v0
	return logits.Slice(at, at+rows*n).View(rows, n)
}

// vocabulary calls do for each vocabulary chunk of head rows lo to hi-1.
func (v *vocabLoss) vocabulary(lo, hi int, do func(k chunk)) {
	V := v.lmHead.Shape[0]
	for v0 := 0; v0 < V; v0 += v.chunkVocab {
		do(chunk{lo, hi, v0, min(V, v0+v.chunkVocab)})
	}
}

// rowChunks calls do for each chunk of the head rows.
func (v *vocabLoss) rowChunks(R int, do func(lo, hi int)) {
	for lo := 0; lo < R; lo += v.chunkRows {
		do(lo, min(R, lo+v.chunkRows))
	}
}

// logits records a row chunk's logits and the statistics of its losses.
// Source: spec.md §9.5, pass 1.
func (v *vocabLoss) logits(c *ops.Context, lo, hi int, targetHidden tensors.Tensor, statistics bool) {
	if v.kd != nil {
		v.kd.forward(c, lo, v.chunkRows, targetHidden)
	}
	z, act := v.z.Slice(0, hi-lo), tensors.Tensor{}
	c.Gather(z, 0, v.Z, 0, v.Z.Cols(), v.row.Slice(lo, hi))
	if v.head != nil {
		act = v.head.activate(c, v.Z, lo, hi)
	}
	v.vocabulary(lo, hi, func(k chunk) {
		lm := v.lmHead.Slice(k.v0, k.v1)
		base, final := v.tile(v.base, k, hi-lo), v.tile(v.final, k, hi-lo)
		c.Gemm(ops.NT, base, z, lm)
		if v.head != nil {
			c.GemmAdd(ops.NT, final, base, act, v.head.w2.Weight.Slice(k.v0, k.v1))
		}
		soft, rowOf := v.teacherTile(c, k, true)
		if statistics {
			l := ops.Logits{Base: base, Final: final, Teacher: soft, Start: k.v0}
			c.CrossEntropyVisit(v.ce.Slice(lo, hi), l, v.label.Slice(lo, hi), rowOf, k.v0 == 0)
		}
	})
	if statistics {
		c.CrossEntropyFinish(v.ce.Slice(lo, hi), v.distillWeight())
	}
}

func (v *vocabLoss) distillWeight() float64 {
	if v.kd == nil {
		return 0
	}
	return v.kd.weight
}

// forward records the final-normed hidden states of a chunk's distinct teacher rows.
func (k *teacher) forward(c *ops.Context, lo, chunkRows int, targetHidden tensors.Tensor) {
	n := k.distinct[lo/chunkRows]
	hidden := k.hidden.Slice(0, n)
	c.Gather(hidden, 0, targetHidden, 0, targetHidden.Cols(), k.row.Slice(lo, lo+n))
	c.RMSNorm(k.normed.Slice(0, n), k.rstd.View(n), hidden, k.norm, k.eps)
}

// teacherTile is a vocabulary chunk of the teacher's logits, computed if asked, and the
// rows' entries in it; both empty without distillation.
func (v *vocabLoss) teacherTile(c *ops.Context, k chunk, compute bool) (soft, rowOf tensors.Tensor) {
	if v.kd == nil {
		return soft, rowOf
	}
	n := v.kd.distinct[k.lo/v.chunkRows]
	soft = v.tile(v.kd.logits, k, n)
	if compute {
		c.Gemm(ops.NT, soft, v.kd.normed.Slice(0, n), v.lmHead.Slice(k.v0, k.v1))
	}
	return soft, v.kd.rowOf.Slice(k.lo, k.hi)
}

// backward records, from the logits that logits left, a row chunk's rows of dZ [Q, H] and of the
// GRU states' gradient, and adds the gradients of W1 and W2. The other rows of dZ are left
// as they are. Source: spec.md §9.1 to §9.3.
func (v *vocabLoss) backward(c *ops.Context, dZ tensors.Tensor, lo, hi int, lambda float64) {
	R := hi - lo
	v.gradients(c, lo, hi, lambda)
	z := v.z.Slice(0, R)
	c.Cast(z, v.dz.Slice(0, R))
	if v.head != nil && lambda != 1 {
		c.Add(z, z, v.head.activateBackward(c, lo, hi))
	}
	c.Scatter(dZ, z, v.row.Slice(lo, hi))
}

// gradients records a row chunk's dz and dAct and adds the gradient of W2.
func (v *vocabLoss) gradients(c *ops.Context, lo, hi int, lambda float64) {
	R := hi - lo
	dz := v.dz.Slice(0, R)
	v.vocabulary(lo, hi, func(k chunk) {
		n := k.v1 - k.v0
		gSum, gFinal := v.gSum.View(R, n), tensors.Tensor{}
		if v.head != nil {
			gFinal = v.gFinal.View(R, n)
		}
		soft, _ := v.teacherTile(c, k, false)
		l := ops.Logits{Base: v.tile(v.base, k, R), Final: v.tile(v.final, k, R), Teacher: soft, Start: k.v0}
		c.CrossEntropyBackward(gFinal, gSum, v.ce.Slice(lo, hi), l, v.coef.Slice(lo, hi), lambda, v.distillWeight())
		c.GemmOnto(k.v0 > 0, ops.NN, dz, gSum, v.lmHead.Slice(k.v0, k.v1))
		if v.head == nil || lambda == 1 {
			return // at λ = 1 the head's gradient is exactly zero
		}
		c.GemmOnto(k.v0 > 0, ops.NN, v.head.dAct.Slice(0, R), gFinal, v.head.w2.Weight.Slice(k.v0, k.v1))
		c.GemmOnto(v.head.w2.Summed, ops.TN, v.head.w2.Grad.Slice(k.v0, k.v1), gFinal, v.head.act.Slice(0, R))
	})
	if v.head != nil && lambda != 1 {
		v.head.w2.Summed = true
	}
}
