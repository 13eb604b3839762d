package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// Sums of exponentials times values: exp of scores near 20 is off by 2.6e-6, and the gradients
// multiply two such terms.
var (
	attention         = tolerance{1e-10, 5e-5, 1e-4}
	attentionGradient = tolerance{1e-9, 1e-4, 1e-4}
)

// blockShape is a case of BlockAttention: anchors are those of each slot, ascending.
type blockShape struct {
	name    string
	heads   ops.Heads
	bs      int
	stride  int
	window  int // 0: none
	anchors [][]int
	f32Only bool
}

// blockRig is a case on the device, with its gradients' destinations.
type blockRig struct {
	*rig
	in                      ops.BlockInputs
	out, lse, dOut, records tensors.Tensor
	grads                   ops.BlockGrads
	blocks                  []oracle.Block
}

func newBlockRig(r *rig, dt tensors.DType, s blockShape) *blockRig {
	b := &blockRig{rig: r}
	var list, ranges []int
	for slot, anchors := range s.anchors {
		ranges = append(ranges, len(b.blocks), len(b.blocks)+len(anchors), slot*s.stride, s.stride)
		for _, a := range anchors {
			b.blocks = append(b.blocks, oracle.Block{Batch: slot, Anchor: a})
			list = append(list, slot*s.stride, a)
		}
	}
	rows, h := len(b.blocks)*s.bs, s.heads
	draft, context := []int{rows, h.KV * h.Dim}, []int{len(s.anchors) * s.stride, h.KV * h.Dim}
	queries := []int{rows, h.Query * h.Dim}
	input := func(shape []int) tensors.Tensor { t, _ := r.input(dt, shape...); return t }
	output := func(shape ...int) tensors.Tensor { return r.tensor(dt, 0, shape...) }
	b.in = ops.BlockInputs{Q: input(queries), K: input(draft), V: input(draft), CK: input(context), CV: input(context),
		Blocks: r.indices(list...).View(len(b.blocks), 2), Ranges: r.indices(ranges...).View(len(s.anchors), 4),
		Count: len(b.blocks), BlockSize: s.bs, Sequences: len(s.anchors), Context: len(s.anchors) * s.stride, Longest: min(s.stride, len(s.anchors)*s.stride), Window: s.window, Heads: h}
	b.out, b.dOut = output(queries...), input(queries)
	b.lse, b.records = r.tensor(tensors.F32, 0, rows, h.Query), r.tensor(tensors.I32, 0, rows, h.Query, 4)
	b.grads = ops.BlockGrads{Q: output(queries...), K: output(draft...), V: output(draft...), CK: output(context...), CV: output(context...)}
	return b
}

func (b *blockRig) shape() oracle.BlockShape {
	a := b.in
	return oracle.BlockShape{Seq: a.Longest, BlockSize: a.BlockSize, Heads: a.Heads.Query, KVHeads: a.Heads.KV, HeadDim: a.Heads.Dim, Window: a.Window}
}

// results are the outputs of a forward and a backward pass.
func (b *blockRig) results() []tensors.Tensor {
	return []tensors.Tensor{b.out, b.lse, b.grads.Q, b.grads.K, b.grads.V, b.grads.CK, b.grads.CV}
}

var resultNames = []string{"out", "lse", "dq", "dk", "dv", "dck", "dcv"}

// run makes both passes and returns the results.
func (b *blockRig) run() [][]float32 {
	b.t.Helper()
	b.c.BlockAttention(b.out, b.lse, b.in)
	b.c.BlockAttentionBackward(b.grads, b.dOut, b.out, b.lse, b.records, b.in)
	b.submit()
	var all [][]float32
	for _, t := range b.results() {
		all = append(all, b.floats(t))
	}
	return all
}

// check compares both passes with the oracle. The backward oracle is given the device's out and lse.
func (b *blockRig) check() {
	b.t.Helper()
	b.run()
	a := b.in
	q, k, v, ck, cv := b.read(a.Q), b.read(a.K), b.read(a.V), b.read(a.CK), b.read(a.CV)
	out, lse := oracle.BlockAttention(q, k, v, ck, cv, b.blocks, b.shape())
	b.near(b.out, out, attention, "out")
	b.near(b.lse, lse, attention, "lse")
	g := oracle.BlockAttentionBackward(b.read(b.dOut), b.read(b.out), b.read(b.lse), q, k, v, ck, cv, b.blocks, b.shape())
	for i, want := range [][]float64{g.Q, g.K, g.V, g.ContextK, g.ContextV} {
		b.near(b.results()[2+i], want, attentionGradient, resultNames[2+i])
	}
}

// demo are the heads of most cases: cases that share heads and rows share compiled kernels.
var demo = ops.Heads{Query: 4, KV: 2, Dim: 32}

var blockShapes = []blockShape{
	{name: "demo", heads: demo, bs: 8, stride: 41, anchors: [][]int{{0, 1, 7, 8, 16, 17, 40}, {}, {33}}},
	{name: "invalid blocks", heads: demo, bs: 8, stride: 24, anchors: [][]int{{-1, -1, 0, 5}, {-1}, {3, 23}}},
	{name: "window as wide as a block", heads: demo, bs: 8, stride: 41, window: 8, anchors: [][]int{{0, 1, 7, 8, 9, 40}, {20, 20, 39}}},
	{name: "window", heads: demo, bs: 8, stride: 70, window: 19, anchors: [][]int{{0, 5, 18, 19, 20, 33, 37, 49, 69}, {-1, 64}}},
	{name: "window beyond the context", heads: demo, bs: 8, stride: 30, window: 1000, anchors: [][]int{{0, 3, 29}}},
	{name: "block of 17", heads: demo, bs: 17, stride: 33, window: 20, anchors: [][]int{{0, 4, 32}, {31}}, f32Only: true},
	{name: "block of 32", heads: demo, bs: 32, stride: 20, anchors: [][]int{{2, 19}}, f32Only: true},
	{name: "context of one row", heads: demo, bs: 8, stride: 1, anchors: [][]int{{0}, {0, 0}}, f32Only: true},
	{name: "no context", heads: demo, bs: 8, anchors: [][]int{{0, 0}, {0}}},
	{name: "no blocks", heads: demo, bs: 8, stride: 12, anchors: [][]int{{}, {}}},
	{name: "no slots", heads: demo, bs: 8, stride: 12},
	{name: "long context", heads: ops.Heads{Query: 2, KV: 1, Dim: 4}, bs: 8, stride: 4096, anchors: [][]int{{1, 255, 1000, 2047, 4000, 4095}}},
	{name: "many blocks", heads: ops.Heads{Query: 2, KV: 1, Dim: 4}, bs: 8, stride: 512, window: 40, anchors: [][]int{ascending(128)}},
	{name: "heads of 10, three for one key head", heads: ops.Heads{Query: 3, KV: 1, Dim: 10}, bs: 5, stride: 37, anchors: [][]int{{0, 3, 36}, {9}}},
	{name: "heads of 2", heads: ops.Heads{Query: 1, KV: 1, Dim: 2}, bs: 2, stride: 9, window: 3, anchors: [][]int{{0, 1, 8}, {5, 6}}, f32Only: true},
	{name: "heads of 128", heads: ops.Heads{Query: 32, KV: 8, Dim: 128}, bs: 4, stride: 19, anchors: [][]int{{0, 18}}},
}

// ascending is n anchors that share a context of 4n rows.
func ascending(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = 4*i + i%3
	}
	return list
}

// eachShape runs a test on every shape in the dtypes that compile a kernel of their own.
func eachShape(t *testing.T, shapes []blockShape, test func(b *blockRig)) {
	r := newRig(t, 3)
	for _, s := range shapes {
		for _, dt := range storages {
			if dt == tensors.BF16 && s.f32Only {
				continue
			}
			t.Run(fmt.Sprintf("%s %s", s.name, dt), func(t *testing.T) {
				r.clear()
				r.t = t
				test(newBlockRig(r, dt, s))
			})
		}
	}
}

func TestBlockAttention(t *testing.T) {
	eachShape(t, blockShapes, func(b *blockRig) { b.check() })
}

// TestBlockAttentionContext holds that what stands at or behind the anchor, or before the window,
// changes nothing, not even as NaN, and that what a row sees reaches it.
func TestBlockAttentionContext(t *testing.T) {
	s := blockShape{name: "window", heads: demo, bs: 8, stride: 41, window: 12, anchors: [][]int{{15, 20}, {3}}}
	eachShape(t, []blockShape{s}, func(b *blockRig) {
		before := b.run()
		width := demo.KV * demo.Dim
		for _, x := range []tensors.Tensor{b.in.CK, b.in.CV} {
			for _, j := range []int{0, 3, 20, 40, 41 + 3, 41 + 40} { // slot 0: 4 to 19 seen; slot 1: 0 to 2
				b.poison(x, j*width, width)
			}
		}
		require.Equal(b.t, before, b.run())

		b.poison(b.in.CV, 10*width, demo.Dim) // key head 0 of position 10, seen by offsets 0 to 6 at anchor 15 and 0 to 1 at anchor 20
		after := b.run()
		queries := demo.Query * demo.Dim
		for i, v := range after[0] {
			block, o, head := i/queries/8, i/queries%8, i%queries/demo.Dim
			if head < 2 && (block == 0 && o < 7 || block == 1 && o < 2) {
				require.True(b.t, v != v, "out of block %d, offset %d, head %d", block, o, head)
			} else {
				require.Equal(b.t, before[0][i], v, "out of block %d, offset %d, head %d", block, o, head)
			}
		}
		require.Equal(b.t, before[1], after[1], "lse does not depend on values")
	})
}

// poison overwrites n elements of a tensor with NaN.
func (b *blockRig) poison(x tensors.Tensor, at, n int) {
	values := b.floats(x)
	for i := range n {
		values[at+i] = float32(math.NaN())
	}
	b.c.UploadF32(x, values)
}

// TestBlockAttentionBlocks holds that a block reaches no other: with NaN in all of its rows, the
// results of the others keep their bits, and the keys that it sees alone become NaN.
func TestBlockAttentionBlocks(t *testing.T) {
	s := blockShape{name: "demo", heads: demo, bs: 8, stride: 41, anchors: [][]int{{9, 20, 30}, {40}}}
	eachShape(t, []blockShape{s}, func(b *blockRig) {
		before := b.run()
		for _, x := range []tensors.Tensor{b.in.Q, b.in.K, b.in.V, b.dOut} {
			n := x.Len() / 4
			b.poison(x, 1*n, n)
		}
		after := b.run()
		for i, name := range resultNames[:5] {
			n := len(after[i]) / 4
			require.Equal(b.t, before[i][:n], after[i][:n], "%s of block 0", name)
			require.Equal(b.t, before[i][2*n:], after[i][2*n:], "%s of blocks 2 and 3", name)
			require.True(b.t, allNaN(after[i][n:2*n]), "%s of block 1", name)
		}
		for i, name := range resultNames[5:] {
			n := demo.KV * demo.Dim
			require.True(b.t, allNaN(after[5+i][:20*n]), "%s of positions that block 1 sees", name)
			require.Equal(b.t, before[5+i][20*n:], after[5+i][20*n:], "%s of other positions", name)
		}
	})
}

func allNaN(values []float32) bool {
	for _, v := range values {
		if v == v {
			return false
		}
	}
	return true
}

// TestBlockAttentionInvalid holds that invalid blocks and unseen context rows give exact zeros.
func TestBlockAttentionInvalid(t *testing.T) {
	s := blockShape{name: "demo", heads: demo, bs: 8, stride: 41, anchors: [][]int{{-1, -1}, {-1, 30}}}
	eachShape(t, []blockShape{s}, func(b *blockRig) {
		for _, x := range []tensors.Tensor{b.in.Q, b.in.K, b.in.V, b.dOut} {
			b.poison(x, 0, x.Len()/4*3)
		}
		for i, values := range b.run() {
			n := len(values) / 4 * 3 // three of four blocks
			if i >= 5 {
				n = (41 + 0) * demo.KV * demo.Dim // slot 0
				require.Zero(b.t, nonZero(values[n+30*demo.KV*demo.Dim:]), "%s at and behind the anchor", resultNames[i])
			}
			require.Zero(b.t, nonZero(values[:n]), resultNames[i])
			require.NotZero(b.t, nonZero(values[n:]), resultNames[i])
			require.False(b.t, anyNaN(values), resultNames[i])
		}
	})
}

func anyNaN(values []float32) bool {
	for _, v := range values {
		if v != v {
			return true
		}
	}
	return false
}

// nonZero counts the values that are not 0.
func nonZero(values []float32) (n int) {
	for _, v := range values {
		if v != 0 {
			n++
		}
	}
	return n
}

// TestBlockAttentionTies holds that equal scores average the values, and that one key far above
// the others takes all the weight.
func TestBlockAttentionTies(t *testing.T) {
	s := blockShape{name: "demo", heads: demo, bs: 8, stride: 41, anchors: [][]int{{24}}}
	eachShape(t, []blockShape{s}, func(b *blockRig) {
		b.c.UploadF32(b.in.Q, make([]float32, b.in.Q.Len()))
		b.check()
		lse := b.floats(b.lse)
		require.InDelta(b.t, math.Log(24+8), lse[0], 1e-5)

		q, ck := make([]float32, b.in.Q.Len()), make([]float32, b.in.CK.Len())
		for i := range q {
			q[i] = 100
		}
		width := demo.KV * demo.Dim
		for i := range width {
			ck[5*width+i] = 100 // scores 100*100*√32 against 0
		}
		b.c.UploadF32(b.in.Q, q)
		b.c.UploadF32(b.in.CK, ck)
		b.c.UploadF32(b.in.K, make([]float32, b.in.K.Len()))
		out, values := b.run()[0], b.floats(b.in.CV)
		for i, v := range out {
			at := i % (demo.Query * demo.Dim)
			require.Equal(b.t, values[5*width+at/demo.Dim/2*demo.Dim+at%demo.Dim], v)
		}
	})
}

// TestBlockAttentionSameBits holds that ten runs give the same bits and leave the inputs alone.
func TestBlockAttentionSameBits(t *testing.T) {
	eachShape(t, blockShapes[:1], func(b *blockRig) {
		inputs := func() (all [][]float32) {
			for _, x := range []tensors.Tensor{b.in.Q, b.in.K, b.in.V, b.in.CK, b.in.CV, b.dOut} {
				all = append(all, b.floats(x))
			}
			return all
		}
		given, first := inputs(), b.run()
		for range 9 {
			require.Equal(b.t, first, b.run())
		}
		require.Equal(b.t, given, inputs())
	})
}

// TestBlockAttentionTexels: on a CPU, the kernels that read texels give the bits of those that read storage buffers.
func TestBlockAttentionTexels(t *testing.T) {
	eachShape(t, []blockShape{
		{name: "demo", heads: demo, bs: 8, stride: 41, anchors: [][]int{{0, 1, 7, 8, 16, 17, 40}, {-1, 33}}},
		{name: "heads of 128", heads: ops.Heads{Query: 4, KV: 2, Dim: 128}, bs: 4, stride: 19, anchors: [][]int{{0, 18}}},
	}, func(b *blockRig) {
		b.c.NoTexels, b.c.PlainAttention = true, true
		buffers := b.run()
		b.c.NoTexels = false
		for i, values := range b.run() {
			require.Equal(b.t, buffers[i], values, resultNames[i])
		}
	})
}

// TestBlockAttentionUnaligned runs on tensors that cannot be read four elements at a time.
func TestBlockAttentionUnaligned(t *testing.T) {
	s := blockShape{name: "heads of 12", heads: ops.Heads{Query: 3, KV: 1, Dim: 12}, bs: 5, stride: 20, anchors: [][]int{{4, 19}}}
	eachShape(t, []blockShape{s}, func(b *blockRig) {
		v := b.tensor(b.in.V.DType, 3, b.in.V.Shape...)
		b.fill(v, b.values(v.Len()))
		b.in.V = v
		b.grads.CK = b.tensor(v.DType, 1, b.grads.CK.Shape...)
		b.check()
	})
}

func TestBlockAttentionErrors(t *testing.T) {
	s := blockShape{heads: demo, bs: 8, stride: 41, anchors: [][]int{{9, 20}}}
	r := newRig(t, 9)
	other := r.tensor(tensors.F32, 0, 3, 5)
	for _, c := range []struct {
		want string
		f    func(b *blockRig)
	}{
		{"block attention: q: want [16 128], got [3 5]", func(b *blockRig) { b.in.Q = other }},
		{"block attention: k: want [16 64], got [3 5]", func(b *blockRig) { b.in.K = other }},
		{"block attention: v: want [16 64], got [3 5]", func(b *blockRig) { b.in.V = other }},
		{"block attention: ck: want [41 64], got [3 5]", func(b *blockRig) { b.in.CK = other }},
		{"block attention: cv: want [41 64], got [3 5]", func(b *blockRig) { b.in.CV = other }},
		{"block attention: blocks: want [2 2], got [3 5]", func(b *blockRig) { b.in.Blocks = b.in.Blocks.View(1, 2); b.in.Blocks.Shape = []int{3, 5} }},
		{"block attention: out: want [16 128], got [3 5]", func(b *blockRig) { b.out = other }},
		{"block attention: lse: want [16 4], got [3 5]", func(b *blockRig) { b.lse = other }},
		{"want dtype F32, got BF16", func(b *blockRig) { b.in.V.DType = tensors.BF16 }},
		{"want dtype F32 or BF16, got I32", func(b *blockRig) { b.in.Q.DType = tensors.I32 }},
		{"want dtype I32, got F32", func(b *blockRig) { b.in.Blocks.DType = tensors.F32 }},
		{"heads: want key heads that divide the query heads", func(b *blockRig) { b.in.Heads.KV = 3 }},
		{"an even size of 2 to 256", func(b *blockRig) { b.in.Heads.Dim = 33 }},
		{"an even size of 2 to 256", func(b *blockRig) { b.in.Heads.Dim = 258 }},
		{"want block size > 0", func(b *blockRig) { b.in.BlockSize = 0 }},
		{"and a longest of 0 to 41 context rows, got 8 and 2, 1, -1 and 41", func(b *blockRig) { b.in.Window = -1 }},
		{"block attention backward: dOut: want [16 128], got [3 5]", func(b *blockRig) { b.dOut = other }},
		{"block attention backward: dcv: want [41 64], got [3 5]", func(b *blockRig) { b.grads.CV = other }},
		{"block attention backward: records: want [16 4 4], got [3 5]", func(b *blockRig) { b.records.Shape = []int{3, 5} }},
		{"block attention backward: ranges: want [1 4], got [3 5]", func(b *blockRig) { b.in.Ranges.Shape = []int{3, 5} }},
	} {
		b := newBlockRig(r, tensors.F32, s)
		c.f(b)
		b.c.BlockAttention(b.out, b.lse, b.in)
		b.c.BlockAttentionBackward(b.grads, b.dOut, b.out, b.lse, b.records, b.in)
		require.ErrorContains(t, b.c.Submit(), c.want)
	}
	b := newBlockRig(r, tensors.F32, s)
	r.bindings(41 * 64 * 4)
	b.c.BlockAttention(b.out, b.lse, b.in)
	err := b.c.Submit()
	require.ErrorContains(t, err, "block attention: tensor: want at most 10240 bytes, what this device binds at once, got 10496 ([41 64] F32)")
	require.Contains(t, fail.HintOf(err), "training.training_seq_len")
}

func BenchmarkBlockAttention(b *testing.B) {
	s := blockShape{heads: demo, bs: 8, stride: 160, anchors: make([][]int, 8)}
	for slot := range s.anchors {
		for n := range 16 {
			s.anchors[slot] = append(s.anchors[slot], 4+9*n)
		}
	}
	for _, dt := range storages {
		p := newBlockRig(newRig(b, 1), dt, s)
		shape := []int{p.in.Sequences, p.in.Longest, p.in.Count, p.in.BlockSize}
		p.bench(b, "forward", dt, shape, func() { p.c.BlockAttention(p.out, p.lse, p.in) })
		p.bench(b, "backward", dt, shape, func() { p.c.BlockAttentionBackward(p.grads, p.dOut, p.out, p.lse, p.records, p.in) })
	}
}
