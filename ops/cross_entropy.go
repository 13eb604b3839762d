package ops

import "vkdomino/tensors"

// Columns of CrossEntropy.Result.
const (
	CEBase      = iota // cross-entropy of the base logits on the label
	CEFinal            // of the final logits
	LossBase           // cross-entropy of the base logits on the soft label; CEBase without distillation
	LossFinal          // of the final logits
	ArgmaxBase         // smallest index of the largest base logit
	ArgmaxFinal        // of the final logits
	LSEBase            // logsumexp of the base logits
	LSEFinal           // of the final logits
	ResultCols
)

const (
	statsCols        = 16      // of a row of CrossEntropy.Stats
	crossEntropyWork = 50      // the time of a logit, as floating-point operations
	maxVocabulary    = 1 << 24 // indices are kept as f32, exactly
)

// CrossEntropy holds the losses of rows of logits that are visited in
// vocabulary chunks, so that no more than a chunk of logits exists at a time.
// With one stream (plain DFlash) the columns of final repeat those of base.
type CrossEntropy struct {
	Rows   int
	Stats  tensors.Tensor // [Rows, 16] F32: running statistics, in the layout of shaders/include/cross_entropy.glsl
	Result tensors.Tensor // [Rows, ResultCols] F32, host-visible: written by CrossEntropyFinish
}

// NewCrossEntropy allocates a CrossEntropy for rows rows.
func NewCrossEntropy(c *Context, rows int) CrossEntropy {
	return CrossEntropy{Rows: rows, Stats: c.Alloc("cross entropy stats", tensors.F32, rows, statsCols),
		Result: c.AllocHost("cross entropy result", tensors.F32, rows, ResultCols)}
}

// Slice is the part of s for rows lo to hi-1.
func (s CrossEntropy) Slice(lo, hi int) CrossEntropy {
	return CrossEntropy{Rows: hi - lo, Stats: s.Stats.Slice(lo, hi), Result: s.Result.Slice(lo, hi)}
}

// Logits are one vocabulary chunk of logits, columns Start to Start+Vc-1 of the vocabulary.
type Logits struct {
	Base    tensors.Tensor // [R, Vc] F32
	Final   tensors.Tensor // [R, Vc] F32; the zero Tensor where there is one stream
	Teacher tensors.Tensor // [Rt, Vc] F32, the target's logits; the zero Tensor without distillation
	Start   int
}

func absent(t tensors.Tensor) bool { return t.Shape == nil }

// orElse is t, or other where t is absent: every binding of a kernel needs a buffer.
func orElse(t, other tensors.Tensor) tensors.Tensor {
	if absent(t) {
		return other
	}
	return t
}

// tensors are the logits, with Base in the place of what is absent.
func (l Logits) tensors() []tensors.Tensor {
	return []tensors.Tensor{l.Base, orElse(l.Final, l.Base), orElse(l.Teacher, l.Base)}
}

// CrossEntropyVisit merges one vocabulary chunk into s: of both streams the
// running maximum m, Σ exp(x-m), argmax and value at the label, and with a
// teacher Σ p (m-x), p = softmax(teacher). Chunks come in ascending order, and
// first says that this is the first; they all have the same streams.
//
// label is [R] I32, the row's label in the whole vocabulary. teacherRow is [R]
// I32, the row of l.Teacher for each row (the zero Tensor without a teacher).
// A label that no chunk contains makes the row's losses NaN, and so does a NaN
// logit; a teacher row that does not exist makes its soft losses NaN.
// Source: spec.md §7.3, §7.5, §9.5.
func (c *Context) CrossEntropyVisit(s CrossEntropy, l Logits, label, teacherRow tensors.Tensor, first bool) {
	const op = "cross entropy"
	if !c.wantLogits(op, s, l) || !c.want(op, "label", label, s.Rows) {
		return
	}
	c.wantDType(op, tensors.I32, label)
	if !absent(l.Teacher) && c.want(op, "teacherRow", teacherRow, s.Rows) {
		c.wantDType(op, tensors.I32, teacherRow)
	}
	cols := l.Base.Cols()
	if c.err != nil || s.Rows == 0 || cols == 0 || c.Dry() {
		return
	}
	stats := inout(s.Stats)
	if first {
		stats = out(s.Stats)
	}
	list := l.tensors()
	uses := []use{read(list[0]), read(list[1]), read(list[2]), in(label), in(orElse(teacherRow, label)), stats}
	_, vector, variant := c.wide(uses, cols, list...)
	c.run(launch{kernel: "cross_entropy_forward" + variant, spec: c.rowSpec(flag(vector), flag(!absent(l.Final)), flag(!absent(l.Teacher))), uses: uses,
		params: []uint32{uint32(s.Rows), uint32(cols), uint32(l.teacherRows()), uint32(l.Start), flag(first)},
		groups: fold(s.Rows), work: crossEntropyWork * float64(s.Rows*cols)})
}

// teacherRows is the number of rows of Teacher, 0 without one.
func (l Logits) teacherRows() int {
	if absent(l.Teacher) {
		return 0
	}
	return l.Teacher.Rows()
}

// wantLogits records an error unless the chunk fits s and itself.
func (c *Context) wantLogits(op string, s CrossEntropy, l Logits) bool {
	cols := l.Base.Cols()
	ok := c.want(op, "stats", s.Stats, s.Rows, statsCols) && c.want(op, "base", l.Base, s.Rows, cols)
	if !absent(l.Final) {
		ok = ok && c.want(op, "final", l.Final, s.Rows, cols)
	}
	if !absent(l.Teacher) {
		ok = ok && c.want(op, "teacher", l.Teacher, l.Teacher.Rows(), cols)
		if ok && l.Teacher.Rows() == 0 && s.Rows > 0 && cols > 0 {
			c.failf("%s: teacher: want at least one row, got %v", op, l.Teacher.Shape)
		}
	}
	c.wantDType(op, tensors.F32, l.Base, orElse(l.Final, l.Base), orElse(l.Teacher, l.Base))
	if l.Start < 0 || l.Start+cols > maxVocabulary {
		c.failf("%s: start: want columns within 0 and %d, got %d to %d", op, maxVocabulary, l.Start, l.Start+cols)
	}
	return ok && c.err == nil
}

// CrossEntropyFinish writes s.Result after the last chunk. With m the maximum and
// y the label, of each stream x:
//
//	CE = lse - x_y    L = lse - (1-a) x_y - a Σ p_v x_v    lse = ln Σ exp(x_v)
//
// a in [0, 1] is the distillation weight; above 0 every visit must have had a
// teacher (else L is NaN). Both losses are formed from m - x_y, ln Σ exp(x-m) and
// m - Σ p x, which do not cancel. Source: spec.md §7.3, §7.5.
func (c *Context) CrossEntropyFinish(s CrossEntropy, a float64) {
	const op = "cross entropy finish"
	ok := c.want(op, "stats", s.Stats, s.Rows, statsCols) && c.want(op, "result", s.Result, s.Rows, ResultCols)
	if !ok || s.Rows == 0 || c.Dry() {
		return
	}
	c.run(launch{kernel: "cross_entropy_finish", spec: c.flatSpec(), uses: []use{in(s.Stats), out(s.Result)},
		params: []uint32{uint32(s.Rows), f32bits(a)}, groups: fold(ceilDiv(s.Rows, c.flatGroup())),
		work: crossEntropyWork * float64(s.Rows)})
}

// CrossEntropyBackward writes the gradients of Σ c_i ((1-lambda) L_F + lambda L_B)
// by one chunk of logits, after all chunks were visited:
//
//	gFinal = (1-lambda) c (softmax(final) - t)          gradient of the correction
//	gSum   = gFinal + lambda c (softmax(base) - t)      gradient of the base logits
//	t      = (1-a) onehot(y) + a softmax(teacher)
//
// gFinal and gSum are [R, Vc] of one dtype P, overwritten; in F32, gFinal may be
// l.Final and gSum l.Base. coef is [R] F32, c_i. With one stream gFinal is the
// zero Tensor and gSum = c (softmax(base) - t), whatever lambda. lambda 1 gives
// gFinal = 0 and lambda 0 gSum = gFinal, exactly, and the stream that does not
// count is not read; neither is the teacher where a is 0. Labels and teacher
// rows are those of the visits. Source: spec.md §7.5, §9.1.
func (c *Context) CrossEntropyBackward(gFinal, gSum tensors.Tensor, s CrossEntropy, l Logits, coef tensors.Tensor, lambda, a float64) {
	const op = "cross entropy backward"
	if !c.wantLogits(op, s, l) || !c.wantGradients(op, gFinal, gSum, s, l, coef) {
		return
	}
	if a == 0 {
		l.Teacher = tensors.Tensor{}
	} else if absent(l.Teacher) {
		c.failf("%s: teacher: want one for distillation weight %g, got none", op, a)
		return
	}
	if s.Rows == 0 || l.Base.Cols() == 0 || c.Dry() {
		return
	}
	final, corrected := withoutFinal, gFinal
	switch {
	case absent(l.Final):
		lambda, corrected = 1, gSum
	case lambda == 1:
		final, l.Final = zeroFinal, tensors.Tensor{}
	default:
		final = gradientFinal
	}
	cols := l.Base.Cols()
	list := l.tensors()
	uses := []use{read(list[0]), read(list[1]), read(list[2]), in(coef), in(s.Stats), out(corrected), out(gSum)}
	_, vector, variant := c.wide(uses, cols, append(list, gSum, corrected)...)
	c.run(launch{kernel: "cross_entropy_backward." + storage(gSum) + variant, uses: uses,
		spec:   c.rowSpec(flag(vector), flag(lambda != 0), final, flag(!absent(l.Teacher))),
		params: []uint32{uint32(s.Rows), uint32(cols), uint32(l.Start), f32bits(lambda), f32bits(1 - lambda), f32bits(a)},
		groups: fold(s.Rows), work: crossEntropyWork * float64(s.Rows*cols)})
}

// What cross_entropy_backward does about the final stream.
const (
	withoutFinal uint32 = iota
	gradientFinal
	zeroFinal
)

// wantGradients records an error unless the outputs and coefficients fit the logits.
func (c *Context) wantGradients(op string, gFinal, gSum tensors.Tensor, s CrossEntropy, l Logits, coef tensors.Tensor) bool {
	cols := l.Base.Cols()
	c.wantStorage(op, gSum)
	c.wantDType(op, tensors.F32, coef)
	ok := c.want(op, "gSum", gSum, s.Rows, cols) && c.want(op, "coef", coef, s.Rows)
	if absent(l.Final) != absent(gFinal) {
		c.failf("%s: gFinal: want it with final logits and only then, got %v beside final %v", op, gFinal.Shape, l.Final.Shape)
	}
	if !absent(gFinal) {
		c.wantDType(op, gSum.DType, gFinal)
		ok = ok && c.want(op, "gFinal", gFinal, s.Rows, cols)
	}
	return ok && c.err == nil
}
