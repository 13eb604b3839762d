package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// cell is exp's error through two gates, as the scan's.
var cell = tolerance{1e-11, 5e-5, 1e-4}

func TestGRUCell(t *testing.T) {
	sizes := [][]int{{0, 1, 2, 5, 8, 9, 33}, {1, 3, 8, 33, 64, 129}, {1, 2, 7, 8, 31, 64}}
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for i, s := range oracle.SweepOf(sizes, 13, 24, 1<<18) {
				n, H, G := s[0], s[1], s[2]
				x, xv := r.input(dt, n, H)
				wih, wv := r.input(dt, 3*G, H)
				whh, hv := r.input(dt, 3*G, G)
				h := r.tensor(tensors.F32, 0, n, G)
				states := r.fill(h, narrow(asStored(widen(r.values(n*G)), dt))) // as the products read them
				next := r.tensor(tensors.F32, 0, n, G)
				if i%3 == 0 {
					h.Shape, states = nil, make([]float64, n*G)
				}
				r.c.GRUCell(next, x, h, wih, whh)
				r.submit()
				r.near(next, oracle.GRUCell(xv, states, wv, hv, n, G), cell, s)
				r.clear()
			}
		})
	}
}

// TestGRUCellScan holds the cell to the scan that training uses.
func TestGRUCellScan(t *testing.T) {
	const steps, nb, H, G = 5, 3, 24, 16
	for _, dt := range storages {
		r := newRig(t, 2)
		wih, wv := r.input(dt, 3*G, H)
		whh, hv := r.input(dt, 3*G, G)
		x, xv := r.input(dt, steps*nb, H)
		var h tensors.Tensor
		var got []float64
		for j := range steps {
			next := r.tensor(tensors.F32, 0, nb, G)
			r.c.GRUCell(next, x.Slice(j*nb, (j+1)*nb), h, wih, whh)
			h = next
			r.submit()
			got = append(got, r.read(next)...)
		}
		gi := oracle.GEMMNT(xv, wv, steps*nb, 3*G, H, nil)
		nmse, _ := oracle.Compare(narrow(got), oracle.GRU(gi, hv, steps, nb, G).States)
		most := cell.f32
		if dt == tensors.BF16 {
			most = cell.bf16 // of the states that the products read
		}
		require.LessOrEqual(t, nmse, most)
	}
}

// TestGRUCellRows wants the same bits of a row whatever the others are.
func TestGRUCellRows(t *testing.T) {
	for _, dt := range storages {
		r := newRig(t, 3)
		wih, _ := r.input(dt, 3*16, 24)
		whh, _ := r.input(dt, 3*16, 16)
		x, _ := r.input(dt, 11, 24)
		h, _ := r.input(tensors.F32, 11, 16)
		all, one := r.tensor(tensors.F32, 0, 11, 16), r.tensor(tensors.F32, 0, 1, 16)
		r.c.GRUCell(all, x, h, wih, whh)
		r.c.GRUCell(one, x.Slice(9, 10), h.Slice(9, 10), wih, whh)
		r.submit()
		require.Equal(t, r.floats(all)[9*16:10*16], r.floats(one))
	}
}

func TestGRUCellErrors(t *testing.T) {
	r := newRig(t, 4)
	f := func(shape ...int) tensors.Tensor { return r.tensor(tensors.F32, 0, shape...) }
	r.c.GRUCell(f(2, 4), f(2, 3), f(2, 4), f(12, 3), f(11, 4))
	require.ErrorContains(t, r.c.Submit(), "ops: gru cell: whh: want [12 4], got [11 4]")
	r.c.GRUCell(f(2, 4), f(3, 3), f(2, 4), f(12, 3), f(12, 4))
	require.ErrorContains(t, r.c.Submit(), "ops: gru cell: x: want [2 3], got [3 3]")
}
