package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// lossLimit is the largest relative error of a row's loss in f32.
const lossLimit = 3e-6

// ceCase is a set of rows of logits on the host, with what the device made of them.
type ceCase struct {
	*rig
	rows, vocab             int
	two                     bool    // base and final stream
	a, lambda               float64 // distillation weight (0: no teacher), lambda_base
	base, final, teacher    []float32
	label, teacherRow       []int
	coef                    []float32
	s                       ops.CrossEntropy
	labels, teacherRows, cs tensors.Tensor
	gFinal, gSum            []float64 // gathered from the chunks
}

// newCECase draws logits of the given size. Every third row is a prefix row, whose final logits are its base logits.
func newCECase(r *rig, rows, vocab int, two bool, a, lambda, size float64) *ceCase {
	k := &ceCase{rig: r, rows: rows, vocab: vocab, two: two, a: a, lambda: lambda}
	k.base, k.final, k.coef = r.values(rows*vocab), r.values(rows*vocab), r.values(rows)
	for i := range k.base {
		k.base[i] *= float32(size)
		k.final[i] = k.base[i] + float32(size)*k.final[i]
		if i/vocab%3 == 0 {
			k.final[i] = k.base[i]
		}
	}
	teachers := rows/2 + 1
	k.teacher = r.values(teachers * vocab)
	for i := range k.teacher {
		k.teacher[i] *= 3
	}
	for i := range rows {
		k.label = append(k.label, r.random.IntN(vocab))
		k.teacherRow = append(k.teacherRow, r.random.IntN(teachers))
		k.coef[i] = float32(math.Abs(float64(k.coef[i]))) / float32(rows)
	}
	return k
}

// columns are columns lo to hi-1 of a matrix of k.vocab columns, on the device.
func (k *ceCase) columns(m []float32, lo, hi int) tensors.Tensor {
	rows := len(m) / k.vocab
	part := make([]float32, 0, rows*(hi-lo))
	for i := range rows {
		part = append(part, m[i*k.vocab+lo:i*k.vocab+hi]...)
	}
	t := k.tensor(tensors.F32, 0, rows, hi-lo)
	k.c.UploadF32(t, part)
	return t
}

// chunk is one vocabulary chunk on the device.
func (k *ceCase) chunk(lo, hi int) ops.Logits {
	l := ops.Logits{Base: k.columns(k.base, lo, hi), Start: lo}
	if k.two {
		l.Final = k.columns(k.final, lo, hi)
	}
	if k.a != 0 {
		l.Teacher = k.columns(k.teacher, lo, hi)
	}
	return l
}

// run visits all chunks of `size` columns, finishes, and gathers the gradients in dtype P.
func (k *ceCase) run(dtype tensors.DType, size int) {
	k.t.Helper()
	k.s = ops.CrossEntropy{Rows: k.rows, Stats: k.tensor(tensors.F32, 0, k.rows, 16), Result: k.tensor(tensors.F32, 0, k.rows, ops.ResultCols)}
	k.labels = k.indices(k.label...)
	if k.a != 0 {
		k.teacherRows = k.indices(k.teacherRow...)
	}
	k.cs = k.tensor(tensors.F32, 0, k.rows)
	k.fill(k.cs, k.coef)
	var chunks []ops.Logits
	for lo := 0; lo < k.vocab; lo += size {
		chunks = append(chunks, k.chunk(lo, min(k.vocab, lo+size)))
		k.c.CrossEntropyVisit(k.s, chunks[len(chunks)-1], k.labels, k.teacherRows, lo == 0)
	}
	k.c.CrossEntropyFinish(k.s, k.a)
	k.gFinal, k.gSum = make([]float64, k.rows*k.vocab), make([]float64, k.rows*k.vocab)
	for _, l := range chunks {
		k.backward(dtype, l)
	}
}

func (k *ceCase) backward(dtype tensors.DType, l ops.Logits) {
	k.t.Helper()
	cols := l.Base.Cols()
	var gFinal tensors.Tensor
	if k.two {
		gFinal = k.tensor(dtype, 0, k.rows, cols)
	}
	gSum := k.tensor(dtype, 0, k.rows, cols)
	k.c.CrossEntropyBackward(gFinal, gSum, k.s, l, k.cs, k.lambda, k.a)
	k.submit()
	k.place(k.gSum, gSum, l.Start)
	if k.two {
		k.place(k.gFinal, gFinal, l.Start)
	}
}

// place copies a chunk into the whole matrix.
func (k *ceCase) place(whole []float64, chunk tensors.Tensor, lo int) {
	values, cols := k.read(chunk), chunk.Cols()
	for i := range k.rows {
		copy(whole[i*k.vocab+lo:], values[i*cols:(i+1)*cols])
	}
}

// targets are the oracle's.
func (k *ceCase) targets() oracle.Targets {
	t := oracle.Targets{Labels: k.label, Weight: k.a}
	for _, row := range k.teacherRow {
		t.Teacher = append(t.Teacher, widen(k.teacher[row*k.vocab:(row+1)*k.vocab])...)
	}
	return t
}

// column is one column of the result.
func (k *ceCase) column(col int) []float64 {
	all := k.read(k.s.Result)
	out := make([]float64, k.rows)
	for i := range out {
		out[i] = all[i*ops.ResultCols+col]
	}
	return out
}

// checkLosses compares the result with the oracle row by row.
func (k *ceCase) checkLosses() {
	k.t.Helper()
	final := k.final
	if !k.two {
		final = k.base
	}
	b, f := oracle.CrossEntropyDual(widen(k.base), widen(final), k.targets(), k.rows, k.vocab)
	for i, s := range []oracle.StreamLoss{b, f} {
		k.close(k.column(ops.CEBase+i), s.CE, "ce")
		k.close(k.column(ops.LossBase+i), s.Loss, "loss")
		k.close(k.column(ops.LSEBase+i), s.LSE, "lse")
		for row, at := range k.column(ops.ArgmaxBase + i) {
			require.EqualValues(k.t, s.Argmax[row], at, "argmax of row %d", row)
		}
	}
}

// close allows lossLimit of a value, and of 1 below 1: f32 has no more of ln(1 + little).
func (k *ceCase) close(got, want []float64, what string) {
	k.t.Helper()
	for i := range want {
		require.InDelta(k.t, want[i], got[i], lossLimit*math.Max(1, math.Abs(want[i])), "%s of row %d", what, i)
	}
}

// checkGradients compares with the oracle.
func (k *ceCase) checkGradients(dtype tensors.DType) {
	k.t.Helper()
	final, lambda := k.final, k.lambda
	if !k.two {
		final, lambda = k.base, 1
	}
	gFinal, _, gSum := oracle.CrossEntropyDualBackward(widen(k.base), widen(final), k.targets(), widen(k.coef), lambda, k.rows, k.vocab)
	nearValues(k, k.gSum, gSum, dtype, "gSum")
	nearValues(k, k.gFinal, gFinal, dtype, "gFinal")
}

// nearValues allows an NMSE, and in f32 an error of 1e-6 c_i of every element: a probability is at
// most 1, and the rms that a scaled error divides by is far below the elements at the labels.
func nearValues(k *ceCase, got, want []float64, dtype tensors.DType, what string) {
	k.t.Helper()
	nmse, _ := oracle.Compare(narrow(got), want)
	if dtype == tensors.BF16 {
		require.LessOrEqual(k.t, nmse, rowwise.bf16, what)
		return
	}
	require.LessOrEqual(k.t, nmse, rowwise.f32, what)
	for i := range want {
		require.InDelta(k.t, want[i], got[i], 1e-6*float64(k.coef[i/k.vocab]), "%s %d", what, i)
	}
}

// checkInvariants: every row of gFinal and gSum sums to 0; lambda 1 leaves no gFinal and lambda 0 no gBase.
func (k *ceCase) checkInvariants(dtype tensors.DType) {
	k.t.Helper()
	unit := 1e-6
	if dtype == tensors.BF16 {
		unit = 1.0 / 256
	}
	for _, g := range [][]float64{k.gFinal, k.gSum} {
		for i := range k.rows {
			sum, size := 0.0, 0.0
			for _, v := range g[i*k.vocab : (i+1)*k.vocab] {
				sum += v
				size += math.Abs(v)
			}
			require.InDelta(k.t, 0, sum, unit*size+2e-7*float64(k.coef[i]), "sum of row %d", i)
		}
	}
	if k.lambda == 1 {
		require.Equal(k.t, make([]float64, k.rows*k.vocab), k.gFinal, "lambda 1 leaves the correction without gradient")
	}
	if k.lambda == 0 && k.two {
		require.Equal(k.t, k.gFinal, k.gSum, "lambda 0 leaves the base stream without gradient")
	}
}

// ceShapes are rows, vocabulary and chunk; the latter two with and without a factor of four.
var ceShapes = [][]int{
	{1, 1, 1}, {1, 2, 1}, {2, 3, 2}, {7, 8, 8}, {3, 33, 16}, {17, 64, 64}, {5, 127, 50}, {33, 129, 128}, {2, 257, 64},
	{4, 1000, 256}, {3, 1024, 1024}, {65, 1008, 336}, {2, 1025, 1024}, {9, 4096, 1000},
}

// ceModes are every combination that matters of streams, a and lambda.
var ceModes = []struct {
	two       bool
	a, lambda float64
}{
	{false, 0, 1}, {false, 1, 1}, {false, .5, 0},
	{true, 0, 0}, {true, 0, .35}, {true, 0, 1}, {true, .5, .35}, {true, .5, 0}, {true, 1, .35}, {true, 1, 1},
}

func TestCrossEntropy(t *testing.T) {
	for m, mode := range ceModes {
		t.Run(fmt.Sprintf("%+v", mode), func(t *testing.T) {
			r := newRig(t, uint64(31+m))
			for i, s := range ceShapes {
				dtype := storages[(i+m)%2]
				k := newCECase(r, s[0], s[1], mode.two, mode.a, mode.lambda, 3)
				k.run(dtype, s[2])
				k.checkLosses()
				k.checkGradients(dtype)
				k.checkInvariants(dtype)
				r.clear()
			}
		})
	}
}

// TestCrossEntropyChunks compares chunk sizes: the same argmax, and losses and gradients up to rounding.
func TestCrossEntropyChunks(t *testing.T) {
	r := newRig(t, 41)
	k := newCECase(r, 6, 1008, true, .5, .35, 3)
	k.run(tensors.F32, 1008)
	whole, gFinal, gSum := k.read(k.s.Result), k.gFinal, k.gSum
	for _, size := range []int{1007, 504, 252, 100, 64} {
		k.run(tensors.F32, size)
		for i, v := range k.read(k.s.Result) {
			if col := i % ops.ResultCols; col == ops.ArgmaxBase || col == ops.ArgmaxFinal {
				require.Equal(t, whole[i], v)
			}
		}
		k.nearNMSE(whole, k.read(k.s.Result), size)
		k.nearNMSE(gFinal, k.gFinal, size)
		k.nearNMSE(gSum, k.gSum, size)
	}
}

// nearNMSE is the limit for what differs by the order of sums alone.
func (k *ceCase) nearNMSE(want, got []float64, size int) {
	k.t.Helper()
	nmse, _ := oracle.Compare(narrow(got), want)
	require.LessOrEqual(k.t, nmse, 1e-12, "chunks of %d", size)
}

// TestCrossEntropyTies puts equal largest logits into one lane's four, into several lanes and into
// several chunks: the smallest index wins.
func TestCrossEntropyTies(t *testing.T) {
	const vocab = 256
	for _, at := range [][]int{{3, 2}, {0, 255}, {77, 76, 79}, {200, 100}, {130, 3, 64}} {
		for _, size := range []int{256, 64, 50} {
			k := newCECase(newRig(t, 42), 2, vocab, true, 0, .5, 1)
			for _, i := range at {
				k.base[i], k.final[vocab+i] = 9, 9
			}
			k.run(tensors.F32, size)
			k.checkLosses()
		}
	}
	k := newCECase(newRig(t, 43), 3, 64, false, 0, 1, 0) // all equal
	k.run(tensors.F32, 64)
	k.checkLosses()
	require.Equal(t, []float64{0, 0, 0}, k.column(ops.ArgmaxBase))
}

// TestCrossEntropyRange has logits of 1e4 and more, one huge and all tiny: the losses keep their
// relative precision because they are formed from differences.
func TestCrossEntropyRange(t *testing.T) {
	for _, size := range []float64{1e4, 1e30, 1e-30} {
		for _, a := range []float64{0, .5} {
			k := newCECase(newRig(t, 44), 8, 128, true, a, .35, size)
			for i := range k.teacher {
				k.teacher[i] *= 1e3
			}
			k.run(tensors.F32, 60)
			k.checkLosses()
			k.checkInvariants(tensors.F32)
			k.checkGradients(tensors.F32)
		}
	}
}

// TestCrossEntropyNonFinite puts NaN and infinities into one row each: they reach that row's
// losses, the argmax stays an index, and other rows keep their bits.
func TestCrossEntropyNonFinite(t *testing.T) {
	const rows, vocab, hit = 4, 96, 1
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, size := range []int{96, 32, 25} {
		k := newCECase(newRig(t, 45), rows, vocab, true, .5, .35, 3)
		k.label[hit] = 5
		k.run(tensors.F32, size)
		clean := k.read(k.s.Result)
		for _, v := range []float32{nan, -nan, inf, -inf} {
			for _, col := range []int{0, 3, 5, 50, 95} {
				old := k.final[hit*vocab+col]
				k.final[hit*vocab+col] = v
				k.run(tensors.F32, size)
				k.final[hit*vocab+col] = old
				k.checkHit(clean, hit, v, col)
			}
		}
		k.clear()
	}
}

// checkHit checks the result where only one final logit of one row is not finite.
func (k *ceCase) checkHit(clean []float64, hit int, v float32, col int) {
	k.t.Helper()
	got := k.read(k.s.Result)
	for i := range got {
		if i/ops.ResultCols != hit || i%2 == 0 { // the columns of base are the even ones
			require.Equal(k.t, clean[i], got[i], "row %d column %d", i/ops.ResultCols, i%ops.ResultCols)
		}
	}
	row := got[hit*ops.ResultCols:][:ops.ResultCols]
	at := row[ops.ArgmaxFinal]
	require.True(k.t, at >= 0 && at < float64(k.vocab) && at == math.Trunc(at), "argmax %g", at)
	want := math.Inf(1) // +inf elsewhere, and -inf at the label
	switch atLabel := col == k.label[hit]; {
	case v != v, v > 0 && atLabel:
		want = math.NaN()
	case v < 0 && !atLabel:
		want = 0 // a finite number
	}
	switch {
	case want != want:
		require.True(k.t, math.IsNaN(row[ops.CEFinal]), "%g at %d: ce %g", v, col, row[ops.CEFinal])
	case want == 0:
		require.False(k.t, math.IsNaN(row[ops.CEFinal]) || math.IsInf(row[ops.CEFinal], 0), "%g at %d", v, col)
	default:
		require.Equal(k.t, want, row[ops.CEFinal], "%g at %d", v, col)
	}
	loss := row[ops.LossFinal] // the teacher gives every logit some weight
	require.True(k.t, math.IsNaN(loss) || math.IsInf(loss, 0), "%g at %d: loss %g", v, col, loss)
}

// TestCrossEntropyOutside checks what shows as NaN: a label that no chunk has, a NaN in the teacher,
// a teacher row that does not exist.
func TestCrossEntropyOutside(t *testing.T) {
	k := newCECase(newRig(t, 46), 7, 16, true, .5, .35, 1)
	k.label[1], k.label[2], k.teacherRow = 16, -1, []int{0, 1, 1, 2, 0, 99, -1}
	k.teacher[2*16+7] = float32(math.NaN())
	k.run(tensors.F32, 8)
	for i := range k.rows {
		require.Equal(t, i == 1 || i == 2, math.IsNaN(k.column(ops.CEFinal)[i]), "row %d", i)
		require.Equal(t, i != 0 && i != 4, math.IsNaN(k.column(ops.LossBase)[i]), "row %d", i)
		require.Equal(t, i != 0 && i != 4 && i != 1 && i != 2, math.IsNaN(k.gSum[i*16+9]), "row %d", i)
	}
}

// TestCrossEntropyConformance holds cases C35 and C27 of spec.md §19.A on the device.
func TestCrossEntropyConformance(t *testing.T) {
	k := newCECase(newRig(t, 52), 1, 3, true, 0, .25, 1)
	k.base, k.final, k.label, k.coef = []float32{1, 0, -1}, []float32{0, 2, 1}, []int{1}, []float32{.5}
	k.run(tensors.F32, 3)
	require.InDeltaSlice(t, []float64{.03376146, -.12553464, .09177318}, k.gFinal, 1e-7)
	require.InDeltaSlice(t, []float64{.11691658, -.21994358, .10302700}, k.gSum, 1e-7)
	loss := .5 * (.75*k.column(ops.LossFinal)[0] + .25*k.column(ops.LossBase)[0])
	require.InDelta(t, .32880298, loss, 1e-7)

	const vocab = 151936
	u := newCECase(newRig(t, 53), 1, vocab, false, 0, 1, 0)
	u.run(tensors.F32, 32768)
	require.InDelta(t, 11.9312147, u.column(ops.CEBase)[0], 1e-6)
	require.Zero(t, u.column(ops.ArgmaxBase)[0])
}

// TestCrossEntropyManyRows has more rows than one dimension of a grid.
func TestCrossEntropyManyRows(t *testing.T) {
	k := newCECase(newRig(t, 54), 65600, 4, true, 0, .35, 3)
	k.run(tensors.F32, 4)
	k.checkLosses()
	k.checkGradients(tensors.F32)
}

// TestCrossEntropyInPlace writes the gradients over the logits.
func TestCrossEntropyInPlace(t *testing.T) {
	for _, lambda := range []float64{0, .35, 1} {
		k := newCECase(newRig(t, 47), 5, 72, true, .5, lambda, 2)
		k.run(tensors.F32, 72)
		l := k.chunk(0, 72)
		k.c.CrossEntropyBackward(l.Final, l.Base, k.s, l, k.cs, lambda, .5)
		k.submit()
		require.Equal(t, k.gFinal, k.read(l.Final))
		require.Equal(t, k.gSum, k.read(l.Base))
	}
}

// TestCrossEntropyRepeats runs ten times: the same bits.
func TestCrossEntropyRepeats(t *testing.T) {
	k := newCECase(newRig(t, 48), 9, 300, true, .5, .35, 3)
	var first [][]float64
	for range 10 {
		k.run(tensors.BF16, 100)
		got := [][]float64{k.read(k.s.Result), k.gFinal, k.gSum}
		if first == nil {
			first = got
		}
		require.Equal(t, first, got)
	}
}

func TestCrossEntropySlice(t *testing.T) {
	k := newCECase(newRig(t, 49), 12, 40, true, 0, .35, 3)
	k.run(tensors.F32, 40)
	want := k.read(k.s.Result)
	whole := ops.NewCrossEntropy(k.c, 12)
	l := k.chunk(0, 40)
	for _, s := range [][2]int{{0, 5}, {5, 5}, {5, 12}} {
		lo, hi := s[0], s[1]
		part := ops.Logits{Base: l.Base.Slice(lo, hi), Final: l.Final.Slice(lo, hi)}
		k.c.CrossEntropyVisit(whole.Slice(lo, hi), part, k.labels.Slice(lo, hi), tensors.Tensor{}, true)
		k.c.CrossEntropyFinish(whole.Slice(lo, hi), 0)
	}
	k.submit()
	require.Equal(t, want, k.read(whole.Result))
}

func TestCrossEntropyRefuses(t *testing.T) {
	k := newCECase(newRig(t, 50), 2, 8, true, 0, .35, 1)
	k.run(tensors.F32, 8)
	c, l := k.c, k.chunk(0, 8)
	none, g := tensors.Tensor{}, k.tensor(tensors.F32, 0, 2, 8)
	visit := func(l ops.Logits, label tensors.Tensor) error {
		c.CrossEntropyVisit(k.s, l, label, none, true)
		return c.Submit()
	}
	backward := func(gFinal, gSum tensors.Tensor, a float64) error {
		c.CrossEntropyBackward(gFinal, gSum, k.s, l, k.cs, .35, a)
		return c.Submit()
	}
	require.ErrorContains(t, visit(l, k.cs), "ops: cross entropy: tensor: want dtype I32, got F32")
	require.ErrorContains(t, visit(l, k.indices(1)), "ops: cross entropy: label: want [2], got [1]")
	require.ErrorContains(t, visit(ops.Logits{Base: l.Base, Final: k.tensor(tensors.F32, 0, 2, 9)}, k.labels), "ops: cross entropy: final: want [2 8], got [2 9]")
	require.ErrorContains(t, visit(ops.Logits{Base: l.Base, Teacher: l.Base}, k.labels), "ops: cross entropy: teacherRow: want [2], got []")
	require.ErrorContains(t, visit(ops.Logits{Base: l.Base, Start: 1 << 24}, k.labels), "ops: cross entropy: start: want columns within 0 and 16777216")
	require.ErrorContains(t, backward(none, g, 0), "ops: cross entropy backward: gFinal: want it with final logits and only then")
	require.ErrorContains(t, backward(g, g, .5), "ops: cross entropy backward: teacher: want one for distillation weight 0.5, got none")
	require.ErrorContains(t, backward(g, k.labels, 0), "ops: cross entropy backward: tensor: want dtype F32 or BF16, got I32")
}

func BenchmarkCrossEntropy(b *testing.B) {
	for _, s := range [][]int{{1024, 1008}, {256, 4096}} {
		for _, teacher := range []bool{false, true} {
			a := 0.0
			if teacher {
				a = .5
			}
			k := newCECase(newRig(b, 51), s[0], s[1], true, a, .35, 3)
			k.run(tensors.BF16, s[1])
			l := k.chunk(0, s[1])
			k.bench(b, fmt.Sprintf("visit/teacher=%v", teacher), tensors.F32, s, func() { k.c.CrossEntropyVisit(k.s, l, k.labels, k.teacherRows, true) })
			for _, dtype := range storages {
				gFinal, gSum := k.tensor(dtype, 0, s...), k.tensor(dtype, 0, s...)
				k.bench(b, fmt.Sprintf("backward/teacher=%v", teacher), dtype, s, func() { k.c.CrossEntropyBackward(gFinal, gSum, k.s, l, k.cs, .35, a) })
			}
		}
	}
}
