package ops_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// onMatrices says whether both passes of a case ran on matrices; one alone is an error.
func (b *blockRig) onMatrices() bool {
	b.t.Helper()
	fresh := ops.New(b.c.Device)
	defer fresh.Release()
	fresh.RowStable, fresh.PlainAttention = b.c.RowStable, b.c.PlainAttention
	fresh.BlockAttention(b.out, b.lse, b.in)
	fresh.BlockAttentionBackward(b.grads, b.dOut, b.out, b.lse, b.records, b.in)
	require.NoError(b.t, fresh.Submit())
	stems := map[string]bool{}
	for _, name := range fresh.KernelNames() {
		stem, _, _ := strings.Cut(name, ".")
		stems[stem] = true
	}
	forward := stems["block_attention_t2_forward"]
	require.NotEqual(b.t, forward, stems["block_attention_t1_forward"])
	for _, part := range []string{"q", "kv"} {
		require.Equal(b.t, forward, stems["block_attention_t2_backward_"+part])
		require.NotEqual(b.t, forward, stems["block_attention_t1_backward_"+part])
	}
	return forward
}

// TestBlockAttentionRunsOnMatrices: bf16 does, with heads that are whole matrices, unless the Context says otherwise.
func TestBlockAttentionRunsOnMatrices(t *testing.T) {
	r := matrixRig(t, 21)
	s := blockShape{heads: ops.Heads{Query: 2, KV: 1, Dim: 16}, bs: 4, stride: 9, anchors: [][]int{{0, 8}}}
	require.True(t, newBlockRig(r, tensors.BF16, s).onMatrices())
	require.False(t, newBlockRig(r, tensors.F32, s).onMatrices())
	r.c.PlainAttention = true
	require.False(t, newBlockRig(r, tensors.BF16, s).onMatrices())
	r.c.PlainAttention, r.c.RowStable = false, true
	require.False(t, newBlockRig(r, tensors.BF16, s).onMatrices())
	r.c.RowStable = false

	unaligned := newBlockRig(r, tensors.BF16, s)
	for _, x := range []*tensors.Tensor{&unaligned.in.Q, &unaligned.grads.Q} {
		*x = r.tensor(tensors.BF16, 4, x.Shape...)
		r.fill(*x, r.values(x.Len()))
	}
	require.False(t, unaligned.onMatrices())
	s.heads.Dim = 12
	require.False(t, newBlockRig(r, tensors.BF16, s).onMatrices())
	s.heads.Dim = 256
	require.False(t, newBlockRig(r, tensors.BF16, s).onMatrices())
}

// randomShape draws a case: 1 to 40 blocks of 1 to 3 sequences, of which some see nothing and some are invalid.
func (r *rig) randomShape(dim int) blockShape {
	n := func(low, high int) int { return low + r.random.IntN(high-low+1) }
	s := blockShape{heads: ops.Heads{KV: n(1, 2), Dim: dim}, bs: n(1, 9), stride: n(1, 90)}
	s.heads.Query = s.heads.KV << n(0, 3)
	if n(0, 1) == 1 {
		s.window = s.bs + n(0, 40)
	}
	for left, slot := n(1, 40), n(1, 3); slot > 0; slot-- {
		mine := n(0, left)
		if slot == 1 {
			mine = left
		}
		left -= mine
		list := []int{}
		for range mine {
			list = append(list, max(-1, n(-s.stride/4, s.stride)))
		}
		slices.Sort(list)
		s.anchors = append(s.anchors, list)
	}
	s.name = fmt.Sprintf("%+v", s)
	return s
}

// TestBlockAttentionOnMatrices compares random cases with the oracle and with the plain kernels, and two runs with each other.
func TestBlockAttentionOnMatrices(t *testing.T) {
	r := matrixRig(t, 22)
	cases := map[int]int{16: 8, 32: 4}
	if testgpu.Nightly() {
		cases = map[int]int{16: 40, 32: 20, 48: 10, 64: 10, 128: 6}
	}
	for dim, n := range cases {
		for range n {
			s := r.randomShape(dim)
			b := newBlockRig(r, tensors.BF16, s)
			first := b.run()
			require.Equal(t, first, b.run(), s.name)
			b.check()
			r.c.PlainAttention = true
			for i, values := range b.run() {
				r.close(values, first[i], "%s: %s", s.name, resultNames[i])
			}
			r.c.PlainAttention = false
			r.clear()
		}
	}
}

// close compares two results in bf16 of the same inputs, which may differ by their roundings.
func (r *rig) close(want, got []float32, format string, args ...any) {
	r.t.Helper()
	var off, size float64
	for i, x := range want {
		off += math.Pow(float64(x)-float64(got[i]), 2)
		size += math.Pow(float64(x), 2)
	}
	require.LessOrEqualf(r.t, off, 1e-4*size, format, args...)
}

// TestCausalAttentionOnMatrices compares random cases with the oracle and with the plain kernel, which takes rows that must
// not depend on others, and f32.
func TestCausalAttentionOnMatrices(t *testing.T) {
	r := matrixRig(t, 26)
	kernels := func(dt tensors.DType, stable, plain bool) []string {
		c := newCausalRig(r, dt, causalShape{"rows", ops.Heads{Query: 2, KV: 1, Dim: 16}, 20, []int{9, 3}, []int{0, 17}})
		fresh := ops.New(r.c.Device)
		defer fresh.Release()
		fresh.RowStable, fresh.PlainAttention = stable, plain
		fresh.CausalAttention(c.out, c.q, c.k, c.v, c.segments, c.n, c.stride, c.heads)
		require.NoError(t, fresh.Submit())
		return slices.DeleteFunc(fresh.KernelNames(), func(n string) bool { return strings.HasPrefix(n, "causal_attention_t2_") })
	}
	require.NotContains(t, strings.Join(kernels(tensors.BF16, false, false), " "), "causal_attention")
	for _, names := range [][]string{kernels(tensors.F32, false, false), kernels(tensors.BF16, true, false), kernels(tensors.BF16, false, true)} {
		require.Contains(t, strings.Join(names, " "), "causal_attention_t1_forward")
	}
	for range 8 {
		n := func(low, high int) int { return low + r.random.IntN(high-low+1) }
		s := causalShape{heads: ops.Heads{KV: n(1, 2), Dim: 16}, stride: n(1, 70)}
		s.heads.Query = s.heads.KV << n(0, 3)
		for range n(1, 4) {
			start := n(0, s.stride-1)
			s.start, s.rows = append(s.start, start), append(s.rows, n(0, s.stride-start))
		}
		c := newCausalRig(r, tensors.BF16, s)
		first := c.run()
		c.near(c.out, c.want(), attention, "%+v", s)
		require.Equal(t, first, c.run())
		r.c.PlainAttention = true
		r.close(c.run(), first, "%+v", s)
		r.c.PlainAttention = false
		r.clear()
	}
}

// TestBlockAttentionShapes: every division of the work gives the oracle's results.
func TestBlockAttentionShapes(t *testing.T) {
	r := matrixRig(t, 23)
	s := blockShape{heads: ops.Heads{Query: 4, KV: 1, Dim: 16}, bs: 5, stride: 70, window: 50, anchors: [][]int{{-1, 0, 3, 20, 33, 40, 66, 70}, {9}, {}, {-1, 64, 65}}}
	list := ops.AttentionShapes(r.c.Device, s.heads.Dim)
	require.NotEmpty(t, list)
	if r.c.Device.CPU && !testgpu.Nightly() { // whose driver takes minutes to compile the others
		list = slices.DeleteFunc(list, func(s [3]int) bool { return s[0]*s[1] != 32 || s[1] > 16 })
		require.Len(t, list, 2)
	}
	defer r.c.UseAttentionShape()
	for _, shape := range list {
		r.c.UseAttentionShape(shape[0], shape[1])
		b := newBlockRig(r, tensors.BF16, s)
		b.check()
		r.clear()
	}
}

// TestBlockAttentionMagnitudes: operands and gradients far beyond the range of half precision.
func TestBlockAttentionMagnitudes(t *testing.T) {
	r := matrixRig(t, 24)
	s := blockShape{heads: ops.Heads{Query: 2, KV: 1, Dim: 16}, bs: 4, stride: 40, anchors: [][]int{{3, 17, 40}, {40}}}
	for _, f := range []struct{ keys, values, gradient float64 }{{1e4, 1, 1e-12}, {1e-4, 1e8, 1e-20}, {1, 1e-9, 1e6}} {
		b := newBlockRig(r, tensors.BF16, s)
		for x, factor := range map[*tensors.Tensor]float64{&b.in.Q: 1 / f.keys, &b.in.K: f.keys, &b.in.CK: f.keys,
			&b.in.V: f.values, &b.in.CV: f.values, &b.dOut: f.gradient} {
			values := r.values(x.Len())
			for i := range values {
				values[i] *= float32(factor)
			}
			r.fill(*x, values)
		}
		b.check()
		r.clear()
	}
}

// TestAttentionShapesFit: what a workgroup takes is within the device's limits, also within those that Vulkan
// guarantees, where at least one shape is left for the largest heads.
func TestAttentionShapesFit(t *testing.T) {
	d := testgpu.Device(t)
	for _, m := range []vk.Matrix{{M: 16, N: 16, K: 16}, {M: 16, N: 8, K: 16}, {M: 8, N: 16, K: 16}, {M: 8, N: 8, K: 8}} {
		for _, dim := range []int{16, 32, 64, 96, 128} {
			small, usual := *d, *d
			small.SharedBytes, small.MaxInvocations = 16<<10, 128
			usual.SharedBytes, usual.MaxInvocations = 48<<10, 1024
			for _, v := range []*vk.Device{&small, &usual} {
				v.Matrices, v.MatrixLanes = []vk.Matrix{m}, 2*m.M
				list := ops.AttentionShapes(v, dim)
				require.NotEmpty(t, list, "%v, heads of %d", m, dim)
				for _, s := range list {
					require.LessOrEqual(t, s[2], v.SharedBytes)
					require.LessOrEqual(t, s[0]*v.MatrixLanes, v.MaxInvocations)
				}
			}
			require.Equal(t, 8, ops.AttentionShapes(&usual, dim)[0][0], "%v, heads of %d", m, dim)
		}
	}
	large := *d
	large.Matrices, large.MatrixLanes = []vk.Matrix{{M: 8, N: 8, K: 8}}, 16
	large.SharedBytes, large.MaxInvocations = 1<<20, 1024
	require.Empty(t, ops.AttentionShapes(&large, 256))
	require.Empty(t, ops.AttentionShapes(&large, 12))
}

// BenchmarkBlockAttentionShapes times every division of the work on a GPU, and the plain kernels, in the shape of the presets' drafts.
func BenchmarkBlockAttentionShapes(b *testing.B) {
	r := newRig(b, 1)
	if r.c.Device.CPU || !r.c.HasMatrices() {
		b.Skip("not run: it is for GPUs with cooperative matrices")
	}
	s := blockShape{heads: ops.Heads{Query: 32, KV: 8, Dim: 128}, bs: 16, stride: 1024, anchors: make([][]int, 2)}
	for slot := range s.anchors {
		for n := range 256 {
			s.anchors[slot] = append(s.anchors[slot], 4*n+3)
		}
	}
	p := newBlockRig(r, tensors.BF16, s)
	measure := func(name string) {
		p.bench(b, name+"/forward", tensors.BF16, p.in.Q.Shape, func() { p.c.BlockAttention(p.out, p.lse, p.in) })
		p.bench(b, name+"/backward", tensors.BF16, p.in.Q.Shape, func() { p.c.BlockAttentionBackward(p.grads, p.dOut, p.out, p.lse, p.records, p.in) })
	}
	for _, shape := range ops.AttentionShapes(r.c.Device, s.heads.Dim) {
		r.c.UseAttentionShape(shape[0], shape[1])
		measure(fmt.Sprintf("%d subgroups, %d at a time", shape[0], shape[1]))
	}
	r.c.PlainAttention = true
	measure("plain")
}
