package ops_test

import (
	"fmt"
	"testing"

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
	window  int
	anchors [][]int
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
		ranges = append(ranges, len(b.blocks), len(b.blocks)+len(anchors))
		for _, a := range anchors {
			b.blocks = append(b.blocks, oracle.Block{Batch: slot, Anchor: a})
			list = append(list, slot, a)
		}
	}
	rows, h := len(b.blocks)*s.bs, s.heads
	draft, context := []int{rows, h.KV * h.Dim}, []int{len(s.anchors) * s.stride, h.KV * h.Dim}
	queries := []int{rows, h.Query * h.Dim}
	input := func(shape []int) tensors.Tensor { t, _ := r.input(dt, shape...); return t }
	output := func(shape ...int) tensors.Tensor { return r.tensor(dt, 0, shape...) }
	b.in = ops.BlockInputs{Q: input(queries), K: input(draft), V: input(draft), CK: input(context), CV: input(context),
		Blocks: r.indices(list...).View(len(b.blocks), 2), Ranges: r.indices(ranges...).View(len(s.anchors), 2),
		Count: len(b.blocks), BlockSize: s.bs, Slots: len(s.anchors), Stride: s.stride, Window: s.window, Heads: h}
	b.out, b.dOut = output(queries...), input(queries)
	b.lse, b.records = r.tensor(tensors.F32, 0, rows, h.Query), r.tensor(tensors.I32, 0, rows, h.Query, 4)
	b.grads = ops.BlockGrads{Q: output(queries...), K: output(draft...), V: output(draft...), CK: output(context...), CV: output(context...)}
	return b
}

func (b *blockRig) shape() oracle.BlockShape {
	a := b.in
	return oracle.BlockShape{Seq: a.Stride, BlockSize: a.BlockSize, Heads: a.Heads.Query, KVHeads: a.Heads.KV, HeadDim: a.Heads.Dim, Window: a.Window}
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
	{"demo", demo, 8, 41, 0, [][]int{{0, 1, 7, 8, 16, 17, 40}, {}, {33}}},
	{"invalid blocks", demo, 8, 24, 0, [][]int{{-1, -1, 0, 5}, {-1}, {3, 23}}},
	{"window as wide as a block", demo, 8, 41, 8, [][]int{{0, 1, 7, 8, 9, 40}, {20, 20, 39}}},
	{"window", demo, 8, 70, 19, [][]int{{0, 5, 18, 19, 20, 37, 69}, {-1, 64}}},
	{"window beyond the context", demo, 8, 30, 1000, [][]int{{0, 3, 29}}},
	{"block of 17", demo, 17, 33, 20, [][]int{{0, 4, 32}, {31}}},
	{"block of 32", demo, 32, 20, 0, [][]int{{2, 19}}},
	{"context of one row", demo, 8, 1, 0, [][]int{{0}, {0, 0}}},
	{"no context", demo, 8, 0, 0, [][]int{{0, 0}, {0}}},
	{"no blocks", demo, 8, 12, 0, [][]int{{}, {}}},
	{"long context", ops.Heads{Query: 2, KV: 1, Dim: 4}, 8, 4096, 0, [][]int{{1, 255, 1000, 2047, 4000, 4095}}},
	{"many blocks", ops.Heads{Query: 2, KV: 1, Dim: 4}, 8, 512, 40, [][]int{ascending(128)}},
	{"heads of 10, three for one key head", ops.Heads{Query: 3, KV: 1, Dim: 10}, 5, 37, 0, [][]int{{0, 3, 36}, {9}}},
	{"heads of 2", ops.Heads{Query: 1, KV: 1, Dim: 2}, 2, 9, 3, [][]int{{0, 1, 8}, {5, 6}}},
	{"heads of 128", ops.Heads{Query: 32, KV: 8, Dim: 128}, 4, 19, 0, [][]int{{0, 18}}},
}

// ascending is n anchors that share a context of 4n rows.
func ascending(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = 4*i + i%3
	}
	return list
}

func TestBlockAttention(t *testing.T) {
	for i, s := range blockShapes {
		for _, dt := range storages {
			t.Run(fmt.Sprintf("%s %s", s.name, dt), func(t *testing.T) {
				newBlockRig(newRig(t, uint64(i)), dt, s).check()
			})
		}
	}
}
