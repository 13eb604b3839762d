package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// ropeTables are tables of the first p positions, on the device and as stored.
func ropeTables(r *rig, p, hd int) (cosT, sinT tensors.Tensor, cos, sin []float64) {
	cos, sin = oracle.RoPETable(p, hd, 1e4)
	cosT, sinT = r.tensor(tensors.F32, 0, p, hd/2), r.tensor(tensors.F32, 0, p, hd/2)
	return cosT, sinT, r.fill(cosT, narrow(cos)), r.fill(sinT, narrow(sin))
}

// positions draws a position below p for each of n rows.
func (r *rig) positions(n, p int) ([]int, tensors.Tensor) {
	pos := make([]int, n)
	for i := range pos {
		pos[i] = r.random.IntN(p)
	}
	return pos, r.indices(pos...)
}

func TestRoPE(t *testing.T) {
	const positions = 40
	sizes := [][]int{{0, 1, 2, 7, 17, 64, 129}, {1, 2, 3, 8}, {2, 6, 8, 10, 16, 64, 128}}
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, s := range oracle.SweepOf(sizes, 3, 40, 1<<16) {
				n, heads, hd := s[0], s[1], s[2]
				cosT, sinT, cos, sin := ropeTables(r, positions, hd)
				pos, posT := r.positions(n, positions)
				x, xv := r.input(dt, n, heads*hd)
				dx, dv := r.input(dt, n, heads*hd)
				r.c.RoPE(x, x, tensors.Tensor{}, cosT, sinT, posT, hd)
				r.c.RoPEBackward(dx, cosT, sinT, posT, hd)
				r.submit()
				r.near(x, oracle.RoPE(xv, cos, sin, pos, n, heads, hd), elementwise, s)
				r.near(dx, oracle.RoPEBackward(dv, cos, sin, pos, n, heads, hd), elementwise, s)
				r.clear()
			}
		})
	}
}

// TestRoPEOffsets cuts x into many bindings, at offsets for four-wide loads and others.
func TestRoPEOffsets(t *testing.T) {
	for _, skip := range []int{0, 2} {
		r := newRig(t, 2)
		r.bindings(8 << 10)
		cosT, sinT, cos, sin := ropeTables(r, 30, 16)
		pos, posT := r.positions(200, 30)
		x := r.tensor(tensors.BF16, skip, 200, 48)
		xv := r.fill(x, r.values(x.Len()))
		r.c.RoPE(x, x, tensors.Tensor{}, cosT, sinT, posT, 16)
		r.submit()
		r.near(x, oracle.RoPE(xv, cos, sin, pos, 200, 3, 16), elementwise)
	}
}

func TestRoPEErrors(t *testing.T) {
	r := newRig(t, 3)
	cos, sin, _, _ := ropeTables(r, 4, 8)
	x, pos := r.tensor(tensors.F32, 0, 2, 16), r.indices(0, 1)
	for _, f := range []struct {
		run  func()
		want string
	}{
		{func() { r.c.RoPE(x, x, tensors.Tensor{}, cos, sin, pos, 7) }, "want heads of 7 elements, an even number, got [2 16]"},
		{func() { r.c.RoPE(x, x, tensors.Tensor{}, cos, sin, pos, 0) }, "want heads of 0 elements"},
		{func() { r.c.RoPE(x, x, tensors.Tensor{}, cos, sin, pos, 4) }, "ops: rope: cos: want [4 2], got [4 4]"},
		{func() { r.c.RoPE(x, x, tensors.Tensor{}, cos, sin, r.indices(0), 8) }, "ops: rope: pos: want [2], got [1]"},
		{func() { r.c.RoPEBackward(x, cos, sin, r.tensor(tensors.F32, 0, 2), 8) }, "want dtype I32"},
	} {
		f.run()
		require.ErrorContains(t, r.c.Submit(), f.want)
	}
}

func BenchmarkRoPE(b *testing.B) {
	r := newRig(b, 4)
	cos, sin, _, _ := ropeTables(r, 1024, 32)
	pos := make([]int, 1024)
	for i := range pos {
		pos[i] = i
	}
	posT := r.indices(pos...)
	for _, dt := range storages {
		x, _ := r.input(dt, 1024, 128)
		r.bench(b, "forward", dt, x.Shape, func() { r.c.RoPE(x, x, tensors.Tensor{}, cos, sin, posT, 32) })
	}
}
