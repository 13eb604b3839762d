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

func TestCausalSegments(t *testing.T) {
	require.Equal(t, []int32{0, 8, 0, 0, 8, 1, 0, 8, 9, 3, 90, 40, 12, 8, 200, 5}, ops.CausalSegments([]int{9, 0, 3, 8}, []int{0, 7, 40, 5}, []int{0, 50, 90, 200}))
	require.Empty(t, ops.CausalSegments(nil, nil, nil))
	require.Empty(t, ops.CausalSegments([]int{0}, []int{3}, []int{0}))
}

// causalShape is a case of CausalAttention: rows and start are those of each slot.
type causalShape struct {
	name        string
	heads       ops.Heads
	stride      int
	rows, start []int
}

// causalRig is a case on the device.
type causalRig struct {
	*rig
	causalShape
	out, q, k, v, segments tensors.Tensor
	n                      int
}

func newCausalRig(r *rig, dt tensors.DType, s causalShape) *causalRig {
	c := &causalRig{rig: r, causalShape: s}
	queries := 0
	for _, n := range s.rows {
		queries += n
	}
	h, slots := s.heads, len(s.rows)
	c.q, _ = r.input(dt, queries, h.Query*h.Dim)
	c.k, _ = r.input(dt, slots*s.stride, h.KV*h.Dim)
	c.v, _ = r.input(dt, slots*s.stride, h.KV*h.Dim)
	c.out, _ = r.input(dt, queries, h.Query*h.Dim)
	c.cut(ops.CausalSegments(s.rows, s.start, c.bases()))
	return c
}

// bases are the first key rows of the slots.
func (c *causalRig) bases() []int {
	list := make([]int, len(c.rows))
	for slot := range list {
		list[slot] = slot * c.stride
	}
	return list
}

// cut sets the segments.
func (c *causalRig) cut(segments []int32) {
	list := make([]int, len(segments))
	for i, v := range segments {
		list[i] = int(v)
	}
	c.n = len(list) / 4
	c.segments = c.indices(list...).View(c.n, 4)
}

func (c *causalRig) run() []float32 {
	c.t.Helper()
	c.c.CausalAttention(c.out, c.q, c.k, c.v, c.segments, c.n, c.stride, c.heads)
	c.submit()
	return c.floats(c.out)
}

// want is the oracle's output, slot by slot.
func (c *causalRig) want() []float64 {
	var all []float64
	h, q, k, v := c.heads, c.read(c.q), c.read(c.k), c.read(c.v)
	row := 0
	for slot, rows := range c.rows {
		from, to := slot*c.stride*h.KV*h.Dim, (slot*c.stride+c.start[slot]+rows)*h.KV*h.Dim
		width := h.Query * h.Dim
		out, _ := oracle.CausalAttention(q[row*width:(row+rows)*width], k[from:to], v[from:to],
			oracle.CausalShape{Batch: 1, Queries: rows, Past: c.start[slot], Heads: h.Query, KVHeads: h.KV, HeadDim: h.Dim})
		all = append(all, out...)
		row += rows
	}
	return all
}

var causalShapes = []causalShape{
	{"training", demo, 33, []int{33, 33}, []int{0, 0}},
	{"one row", demo, 1, []int{1, 1, 1}, []int{0, 0, 0}},
	{"decode", demo, 70, []int{1, 1, 0, 1}, []int{0, 69, 7, 40}},
	{"verify", demo, 64, []int{17, 9, 16}, []int{40, 0, 48}},
	{"no rows", demo, 8, []int{0, 0}, []int{0, 3}},
	{"long", ops.Heads{Query: 2, KV: 1, Dim: 4}, 4096, []int{20, 9}, []int{4076, 1023}},
	{"heads of 10, three for one key head", ops.Heads{Query: 3, KV: 1, Dim: 10}, 21, []int{21, 2}, []int{0, 9}},
	{"heads of 128", ops.Heads{Query: 32, KV: 8, Dim: 128}, 20, []int{9}, []int{11}},
	{"heads of 256", ops.Heads{Query: 1, KV: 1, Dim: 256}, 20, []int{9}, []int{11}},
}

// eachCausal runs a test on every shape in both dtypes.
func eachCausal(t *testing.T, shapes []causalShape, test func(c *causalRig)) {
	r := newRig(t, 4)
	for _, s := range shapes {
		for _, dt := range storages {
			t.Run(fmt.Sprintf("%s %s", s.name, dt), func(t *testing.T) {
				r.clear()
				r.t = t
				test(newCausalRig(r, dt, s))
			})
		}
	}
}

func TestCausalAttention(t *testing.T) {
	eachCausal(t, causalShapes, func(c *causalRig) {
		c.run()
		c.near(c.out, c.want(), attention)
	})
}

// TestCausalAttentionFuture holds that later positions and other slots change nothing, not even as
// NaN, and that a row's bits do not depend on how rows are cut into segments.
func TestCausalAttentionFuture(t *testing.T) {
	s := causalShape{"verify", demo, 40, []int{9, 7}, []int{20, 3}}
	eachCausal(t, []causalShape{s}, func(c *causalRig) {
		first := c.run()
		for range 9 {
			require.Equal(c.t, first, c.run(), "ten runs")
		}
		var single []int32
		for row := range 16 {
			slot, position := row/9, 20+row
			if slot == 1 {
				position = 3 + row - 9
			}
			single = append(single, int32(row), 1, int32(slot*s.stride), int32(position))
		}
		c.cut(single)
		require.Equal(c.t, first, c.run(), "segments of one row")

		width := demo.KV * demo.Dim
		for _, x := range []tensors.Tensor{c.k, c.v} {
			values := c.floats(x)
			for i := 25 * width; i < 40*width; i++ { // slot 0 from position 25: the rows from 5 on
				values[i] = float32(math.NaN())
			}
			c.c.UploadF32(x, values)
		}
		c.cut(ops.CausalSegments(c.rows, c.start, c.bases()))
		after := c.run()
		row := demo.Query * demo.Dim
		require.Equal(c.t, first[:5*row], after[:5*row], "rows that do not see position 25")
		require.True(c.t, allNaN(after[5*row:9*row]), "rows that see it")
		require.Equal(c.t, first[9*row:], after[9*row:], "rows of the other slot")
	})
}

// TestCausalAttentionTexels: on a CPU, the kernel that reads texels gives the bits of the one that reads storage buffers.
func TestCausalAttentionTexels(t *testing.T) {
	eachCausal(t, []causalShape{
		{"verify", demo, 64, []int{17, 9, 16}, []int{40, 0, 48}},
		{"heads of 40", ops.Heads{Query: 3, KV: 1, Dim: 40}, 21, []int{21, 2}, []int{0, 9}},
		{"heads of 128", ops.Heads{Query: 4, KV: 2, Dim: 128}, 20, []int{9}, []int{11}},
	}, func(c *causalRig) {
		c.c.NoTexels, c.c.PlainAttention = true, true
		buffers := c.run()
		c.c.NoTexels = false
		require.Equal(c.t, buffers, c.run())
	})
}

// TestCausalAttentionRest holds that rows in no segment stay as they are.
func TestCausalAttentionRest(t *testing.T) {
	eachCausal(t, causalShapes[:1], func(c *causalRig) {
		before := c.floats(c.out)
		c.n = 2 // rows 0 to 15 of slot 0
		after := c.run()
		row := demo.Query * demo.Dim
		require.Equal(c.t, before[16*row:], after[16*row:])
		require.NotEqual(c.t, before[:16*row], after[:16*row])
	})
}

func TestCausalAttentionErrors(t *testing.T) {
	r := newRig(t, 5)
	other := r.tensor(tensors.F32, 0, 3, 5)
	for _, e := range []struct {
		want string
		f    func(c *causalRig)
	}{
		{"causal attention: q: want [3 128], got [3 5]", func(c *causalRig) { c.q = other }},
		{"causal attention: k: want [3 64], got [3 5]", func(c *causalRig) { c.k = other }},
		{"causal attention: v: want [66 64], got [3 5]", func(c *causalRig) { c.v = other }},
		{"causal attention: out: want [66 128], got [3 5]", func(c *causalRig) { c.out = other }},
		{"causal attention: segments: want [3 4], got [3 5]", func(c *causalRig) { c.segments.Shape = []int{3, 5} }},
		{"want dtype I32, got F32", func(c *causalRig) { c.segments.DType = tensors.F32 }},
		{"want dtype F32, got BF16", func(c *causalRig) { c.k.DType = tensors.BF16 }},
		{"want at most 10 segments, got 11", func(c *causalRig) { c.n++ }},
		{"heads: want key heads that divide the query heads", func(c *causalRig) { c.heads.Query = 0 }},
	} {
		c := newCausalRig(r, tensors.F32, causalShapes[0])
		e.f(c)
		c.c.CausalAttention(c.out, c.q, c.k, c.v, c.segments, c.n, c.stride, c.heads)
		require.ErrorContains(t, c.c.Submit(), e.want)
	}
	c := newCausalRig(r, tensors.F32, causalShapes[0])
	r.bindings(66 * 64 * 4)
	c.c.CausalAttention(c.out, c.q, c.k, c.v, c.segments, c.n, c.stride, c.heads)
	err := c.c.Submit()
	require.ErrorContains(t, err, "what this device binds at once")
	require.Contains(t, fail.HintOf(err), "training.training_seq_len")
}

func BenchmarkCausalAttention(b *testing.B) {
	s := causalShape{"", demo, 160, make([]int, 8), make([]int, 8)}
	for slot := range s.rows {
		s.rows[slot] = s.stride
	}
	for _, dt := range storages {
		c := newCausalRig(newRig(b, 1), dt, s)
		c.bench(b, "forward", dt, []int{8, 160}, func() { c.c.CausalAttention(c.out, c.q, c.k, c.v, c.segments, c.n, c.stride, c.heads) })
	}
}
