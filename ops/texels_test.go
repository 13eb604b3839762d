package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/tensors"
)

// bothWays records an op with texels and without, and returns its results of each.
func bothWays(r *rig, record func() []tensors.Tensor) (got [2][][]float32) {
	r.t.Helper()
	for i := range got {
		r.c.NoTexels = i == 0
		results := record()
		r.submit()
		for _, t := range results {
			got[i] = append(got[i], r.floats(t))
		}
	}
	return got
}

// TestElementwiseTexels: reading texels changes no bit, also where a result overwrites what is read,
// where bindings are small, and at lengths and offsets that texels do not fit.
func TestElementwiseTexels(t *testing.T) {
	for _, n := range []int{8, 40, 44, 1000, 60000} {
		for _, skip := range []int{0, 4} {
			for _, dt := range storages {
				r := newRig(t, 1)
				r.bindings(80 << 10)
				g, u, d := r.values(n), r.values(n), r.values(n)
				got := bothWays(r, func() []tensors.Tensor {
					gate, up, dOut, result := r.tensor(dt, skip, n), r.tensor(dt, 0, n), r.tensor(dt, 0, n), r.tensor(dt, 0, n)
					r.fill(gate, g)
					r.fill(up, u)
					r.fill(dOut, d)
					r.c.SwiGLU(result, gate, up)
					r.c.SwiGLUBackward(gate, up, dOut, gate, up)
					r.c.SwiGLU(dOut, dOut, result)
					return []tensors.Tensor{result, gate, up, dOut}
				})
				require.Equal(t, got[0], got[1], "%d of %s, skipping %d", n, dt, skip)
			}
		}
	}
}

// TestAdamWTexels: neither does it in AdamW, whose results are bound twice.
func TestAdamWTexels(t *testing.T) {
	var got [2][][]float32
	for i := range got {
		r := newRig(t, 2)
		r.c.NoTexels = i == 0
		a := newAdamwCase(r, 0, 1000)
		a.clip(r, 1)
		for range 3 {
			r.c.AdamW(a.master, a.compute, a.first, a.second, a.grad, a.norm, adamwParams)
		}
		r.submit()
		got[i] = [][]float32{r.floats(a.master), r.floats(a.compute), r.floats(a.first), r.floats(a.second)}
	}
	require.Equal(t, got[0], got[1])
}

// TestRowTexels: nor in copies and rotations of rows.
func TestRowTexels(t *testing.T) {
	for _, dt := range storages {
		var got [2][][]float32
		for i := range got {
			r := newRig(t, 3)
			r.c.NoTexels = i == 0
			cos, sin, _, _ := ropeTables(r, 10, 32)
			x, _ := r.input(dt, 50, 96)
			rows, pos := make([]int, 20), make([]int, 20)
			for j := range rows {
				rows[j], pos[j] = j*7%55-2, j%10
			}
			y, z := r.tensor(dt, 0, 20, 120), r.tensor(dt, 0, 20, 64)
			r.c.Zero(y)
			r.c.Gather(y, 16, x, 8, 64, r.indices(rows...))
			r.c.Gather(z, 0, x, 32, 64, r.indices(rows...))
			r.c.RoPE(z, z, tensors.Tensor{}, cos, sin, r.indices(pos...), 32)
			r.submit()
			got[i] = [][]float32{r.floats(y), r.floats(z)}
		}
		require.Equal(t, got[0], got[1], dt)
	}
}
