package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestNormRoPE(t *testing.T) {
	const positions = 40
	sizes := [][]int{{0, 1, 2, 7, 17, 65}, {1, 2, 3, 8}, {2, 6, 8, 10, 12, 32, 64, 128, 256}}
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, s := range oracle.SweepOf(sizes, 3, 30, 1<<16) {
				n, heads, hd := s[0], s[1], s[2]
				cosT, sinT, cos, sin := ropeTables(r, positions, hd)
				pos, posT := r.positions(n, positions)
				x, xv := r.input(dt, n, heads*hd)
				w, wv := r.input(dt, hd)
				result, rstd := r.tensor(dt, 0, n, heads*hd), r.tensor(tensors.F32, 0, n*heads)
				normed, apart := r.tensor(dt, 0, n, heads*hd), r.tensor(tensors.F32, 0, n*heads)
				r.c.NormRoPE(result, rstd, x, w, cosT, sinT, posT, normEps)
				r.c.RMSNorm(normed.View(n*heads, hd), apart, x.View(n*heads, hd), w, normEps)
				r.c.RoPE(normed, normed, tensors.Tensor{}, cosT, sinT, posT, hd)
				r.c.NormRoPE(x, rstd, x, w, cosT, sinT, posT, normEps)
				r.submit()
				want, rstdWant := oracle.NormRoPE(xv, wv, cos, sin, pos, n, heads, hd, normEps)
				limit := rowwise
				limit.bf16 = 3.5e-5 // three roundings at their worst, (3*2^-9)²: of the normed, the weighted and the rotated
				r.near(result, want, limit, s)
				r.near(rstd, rstdWant, rowwise, s)
				require.Equal(t, r.floats(result), r.floats(x), "in place, %v", s)
				r.near(normed, widen(r.floats(result)), limit, "one after the other, %v", s)
				r.clear()
			}
		})
	}
}

// TestNormRoPEBindings cuts rows into many bindings.
func TestNormRoPEBindings(t *testing.T) {
	r := newRig(t, 2)
	r.bindings(8 << 10)
	cosT, sinT, cos, sin := ropeTables(r, 30, 16)
	pos, posT := r.positions(200, 30)
	x, xv := r.input(tensors.F32, 200, 48)
	w, wv := r.input(tensors.F32, 16)
	result, rstd := r.tensor(tensors.F32, 0, 200, 48), r.tensor(tensors.F32, 0, 600)
	r.c.NormRoPE(result, rstd, x, w, cosT, sinT, posT, normEps)
	r.submit()
	want, rstdWant := oracle.NormRoPE(xv, wv, cos, sin, pos, 200, 3, 16, normEps)
	r.near(result, want, rowwise)
	r.near(rstd, rstdWant, rowwise)
}

func TestNormRoPEErrors(t *testing.T) {
	r := newRig(t, 3)
	f := func(shape ...int) tensors.Tensor { return r.tensor(tensors.F32, 0, shape...) }
	r.c.NormRoPE(f(2, 12), f(6), f(2, 12), f(5), f(9, 2), f(9, 2), r.indices(0, 1), normEps)
	require.ErrorContains(t, r.c.Submit(), "ops: norm rope: tensor: want heads of 5 elements, an even number, got [2 12]")
	r.c.NormRoPE(f(2, 12), f(5), f(2, 12), f(4), f(9, 2), f(9, 2), r.indices(0, 1), normEps)
	require.ErrorContains(t, r.c.Submit(), "ops: norm rope: rstd: want [6], got [5]")
}

func BenchmarkNormRoPE(b *testing.B) {
	for _, s := range [][]int{{1024, 4, 32}, {256, 8, 128}} {
		n, heads, hd := s[0], s[1], s[2]
		r := newRig(b, 4)
		cos, sin, _, _ := ropeTables(r, n, hd)
		pos := make([]int, n)
		for i := range pos {
			pos[i] = i
		}
		posT := r.indices(pos...)
		for _, dt := range storages {
			x, _ := r.input(dt, n, heads*hd)
			w, _ := r.input(dt, hd)
			y, rstd := r.tensor(dt, 0, n, heads*hd), r.tensor(tensors.F32, 0, n*heads)
			r.bench(b, "forward", dt, s, func() { r.c.NormRoPE(y, rstd, x, w, cos, sin, posT, normEps) })
		}
	}
}
