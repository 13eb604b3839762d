package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

const normEps = 1e-6

// normCase is one RMSNorm on the device with its inputs on the host.
type normCase struct {
	n, cols                       int
	x, w, dOut, dIn, dWeight      tensors.Tensor
	result, rstd                  tensors.Tensor
	xv, wv, dOutv, dInv, dWeight0 []float64
}

func newNormCase(r *rig, dt tensors.DType, n, cols int) (p normCase) {
	p.n, p.cols = n, cols
	p.x, p.xv = r.input(dt, n, cols)
	p.w, p.wv = r.input(dt, cols)
	p.dOut, p.dOutv = r.input(dt, n, cols)
	p.dIn, p.dInv = r.input(dt, n, cols)
	p.dWeight, p.dWeight0 = r.input(tensors.F32, cols)
	p.result, p.rstd = r.tensor(dt, 0, n, cols), r.tensor(tensors.F32, 0, n)
	if cols == 0 {
		p.rstd = r.tensor(tensors.F32, 0, 0) // rows of no columns have no norm
	}
	return p
}

// check compares everything with the oracle.
func (p normCase) check(r *rig, eps float64, accumulate bool) {
	r.t.Helper()
	at := []int{p.n, p.cols}
	want, rstd := oracle.RMSNorm(p.xv, p.wv, p.n, p.cols, eps)
	r.near(p.result, want, rowwise, at)
	if p.cols > 0 {
		r.near(p.rstd, rstd, rowwise, at)
	}
	dIn, dWeight := oracle.RMSNormBackward(p.dOutv, p.xv, p.wv, rstd, p.n, p.cols)
	if accumulate {
		dIn = oracle.Add(dIn, p.dInv)
	}
	r.near(p.dIn, dIn, rowwise, at)
	r.near(p.dWeight, oracle.Add(p.dWeight0, dWeight), rowwise, at)
}

func TestRMSNorm(t *testing.T) {
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for i, s := range oracle.Sweep(2, 5, 40, 1<<16) {
				eps := normEps
				if s[1] < 4 {
					eps = 1 // with one column dIn is what eps leaves of a difference of equals
				}
				p, accumulate := newNormCase(r, dt, s[0], s[1]), i%2 == 1
				r.c.RMSNorm(p.result, p.rstd, p.x, p.w, eps)
				r.c.RMSNormBackward(p.dIn, p.dWeight, p.dOut, p.x, p.rstd, p.w, accumulate)
				r.submit()
				p.check(r, eps, accumulate)
				r.clear()
			}
		})
	}
}

// TestRMSNormSizes holds the sizes of real models: norms per head and over the hidden size, and
// more rows than a grid has groups in one dimension; half of them read without texels.
func TestRMSNormSizes(t *testing.T) {
	r := newRig(t, 2)
	for i, s := range [][2]int{{300, 128}, {310, 128}, {40, 2560}, {30, 2560}, {9, 8192}, {70001, 8}, {200, 64}, {201, 64}, {200, 32}, {99, 32}, {200, 256}} {
		r.c.NoTexels = i%2 == 1
		p := newNormCase(r, tensors.BF16, s[0], s[1])
		r.c.RMSNorm(p.result, p.rstd, p.x, p.w, normEps)
		r.c.RMSNormBackward(p.dIn, p.dWeight, p.dOut, p.x, p.rstd, p.w, false)
		r.submit()
		p.check(r, normEps, false)
		r.clear()
	}
}

// TestRMSNormRoundsBeforeTheWeight tells w*round(x*rstd) from round(w*x*rstd).
func TestRMSNormRoundsBeforeTheWeight(t *testing.T) {
	r := newRig(t, 3)
	p := newNormCase(r, tensors.BF16, 20, 64)
	r.c.RMSNorm(p.result, p.rstd, p.x, p.w, normEps)
	r.submit()
	_, rstd := oracle.RMSNorm(p.xv, p.wv, p.n, p.cols, normEps)
	round := func(x float64) float64 { return float64(tensors.F32FromBF16(tensors.BF16FromF32(float32(x)))) }
	same, naive := 0, 0
	for i, got := range r.read(p.result) {
		w, x := p.wv[i%p.cols], p.xv[i]*rstd[i/p.cols]
		if got == round(w*round(x)) {
			same++
		}
		if got == round(w*x) {
			naive++
		}
	}
	require.GreaterOrEqual(t, same, p.n*p.cols-5) // a product on the edge of two bf16 may fall to either side
	require.Less(t, naive, same-100)
}

// TestRMSNormInPlace lets the result overwrite x, dIn overwrite dOut, and leaves dIn out.
func TestRMSNormInPlace(t *testing.T) {
	for _, cols := range []int{24, 30, 1000} {
		r := newRig(t, 4)
		p := newNormCase(r, tensors.BF16, 50, cols)
		want := p
		y := r.tensor(tensors.BF16, 0, 50, cols)
		r.fill(y, r.floats(p.x))
		dWeight := r.tensor(tensors.F32, 0, cols)
		r.fill(dWeight, r.floats(p.dWeight))
		dIn := r.tensor(tensors.BF16, 0, 50, cols)
		r.fill(dIn, r.floats(p.dOut))
		r.c.RMSNorm(want.result, want.rstd, p.x, p.w, normEps)
		r.c.RMSNormBackward(want.dIn, want.dWeight, p.dOut, p.x, want.rstd, p.w, false)
		r.c.RMSNorm(y, p.rstd, y, p.w, normEps)
		r.c.RMSNormBackward(dIn, dWeight, dIn, p.x, p.rstd, p.w, false)
		r.submit()
		require.Equal(t, r.floats(want.result), r.floats(y))
		require.Equal(t, r.floats(want.dIn), r.floats(dIn))
		require.Equal(t, r.floats(want.dWeight), r.floats(dWeight))

		r.c.RMSNormBackward(tensors.Tensor{}, dWeight, p.dOut, p.x, p.rstd, p.w, false)
		r.submit()
		require.Equal(t, r.floats(want.dIn), r.floats(dIn), "dIn was not wanted")
		_, twice := oracle.RMSNormBackward(p.dOutv, p.xv, p.wv, r.read(p.rstd), 50, cols)
		r.near(dWeight, oracle.Add(r.read(want.dWeight), twice), rowwise)
	}
}

// TestRMSNormOffsets starts tensors at offsets that four-wide loads cannot use, and cuts them into many bindings.
func TestRMSNormOffsets(t *testing.T) {
	for _, skip := range []int{0, 2} {
		r := newRig(t, 5)
		r.bindings(16 << 10)
		p := newNormCase(r, tensors.BF16, 100, 256)
		x := r.tensor(tensors.BF16, skip, 100, 256)
		r.fill(x, r.floats(p.x))
		r.c.RMSNorm(p.result, p.rstd, x, p.w, normEps)
		r.c.RMSNormBackward(p.dIn, p.dWeight, p.dOut, x, p.rstd, p.w, true)
		r.submit()
		p.check(r, normEps, true)
	}
}

// TestRMSNormValues: zero rows stay zero, and a non-finite element spoils its row and no other.
func TestRMSNormValues(t *testing.T) {
	for _, cols := range []int{64, 70, 600} {
		r := newRig(t, 6)
		p := newNormCase(r, tensors.F32, 5, cols)
		v := r.floats(p.x)
		clear(v[cols : 2*cols])
		v[2*cols+3] = float32(math.NaN())
		v[3*cols+3] = float32(math.Inf(1))
		for i := range cols {
			v[4*cols+i] = 1e-30
		}
		p.xv = r.fill(p.x, v)
		r.c.RMSNorm(p.result, p.rstd, p.x, p.w, normEps)
		r.submit()
		got := r.floats(p.result)
		want, _ := oracle.RMSNorm(p.xv, p.wv, 5, cols, normEps)
		for row := range 5 {
			g, w := got[row*cols:(row+1)*cols], want[row*cols:(row+1)*cols]
			if row == 3 { // infinity times a zero reciprocal
				require.True(t, math.IsNaN(float64(g[3])))
				g, w = g[4:], w[4:]
			}
			nmse, _ := oracle.Compare(g, w)
			require.LessOrEqual(t, nmse, rowwise.f32, "row %d of %d", row, cols)
		}
	}
}

func TestRMSNormErrors(t *testing.T) {
	r := newRig(t, 7)
	p := newNormCase(r, tensors.F32, 3, 8)
	r.c.RMSNorm(p.result, p.rstd, p.x, p.w.View(7), normEps)
	require.ErrorContains(t, r.c.Submit(), "ops: rmsnorm: weight: want [8], got [7]")
	r.c.RMSNorm(p.result, p.rstd.View(2), p.x, p.w, normEps)
	require.ErrorContains(t, r.c.Submit(), "ops: rmsnorm: rstd: want [3], got [2]")
	r.c.RMSNormBackward(p.dIn, r.tensor(tensors.BF16, 0, 8), p.dOut, p.x, p.rstd, p.w, false)
	require.ErrorContains(t, r.c.Submit(), "want dtype F32, got BF16")
	r.c.RMSNormBackward(p.dIn.View(2, 8), p.dWeight, p.dOut, p.x, p.rstd, p.w, false)
	require.ErrorContains(t, r.c.Submit(), "ops: rmsnorm backward")
}

func BenchmarkRMSNorm(b *testing.B) {
	for _, s := range [][2]int{{1024, 128}, {4096, 32}, {1024, 1024}} {
		for _, dt := range storages {
			r := newRig(b, 8)
			p := newNormCase(r, dt, s[0], s[1])
			r.bench(b, "forward", dt, s[:], func() { r.c.RMSNorm(p.result, p.rstd, p.x, p.w, normEps) })
			r.bench(b, "backward", dt, s[:], func() { r.c.RMSNormBackward(p.dIn, p.dWeight, p.dOut, p.x, p.rstd, p.w, false) })
		}
	}
}
