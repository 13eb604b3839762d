package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// State is f32 throughout, so the figures of bf16 serve no tensor.
var (
	oneStep       = tolerance{1e-13, 1e-13, 1e-6}
	thousandSteps = tolerance{1e-9, 1e-9, 3e-5} // the weight is rounded a thousand times
)

var adamwParams = ops.AdamWParams{LR: 6e-4, Beta1: .9, Beta2: .999, Eps: 1e-8, WeightDecay: .1, Step: 3}

func oracleParams(p ops.AdamWParams) oracle.AdamW {
	return oracle.AdamW{LR: p.LR, Beta1: p.Beta1, Beta2: p.Beta2, Eps: p.Eps, WeightDecay: p.WeightDecay}
}

// adamwCase is the state of one parameter on the device and, in p to g, on the host.
type adamwCase struct {
	master, compute, first, second, grad, norm tensors.Tensor
	p, m, v, g                                 []float64
}

// newAdamwCase makes n parameters; their tensors start skip elements behind an aligned offset.
func newAdamwCase(r *rig, skip, n int) (a adamwCase) {
	make1 := func(values []float32) (tensors.Tensor, []float64) {
		t := r.tensor(tensors.F32, skip, n)
		return t, r.fill(t, values)
	}
	squares := r.values(n)
	for i := range squares {
		squares[i] *= squares[i]
	}
	a.master, a.p = make1(r.values(n))
	a.first, a.m = make1(r.values(n))
	a.second, a.v = make1(squares)
	a.grad, a.g = make1(r.values(n))
	a.compute, a.norm = r.tensor(tensors.BF16, skip, n), r.tensor(tensors.F32, 0, 4)
	return a
}

// clip sets the norm's result, and scales the host's gradients alike.
func (a *adamwCase) clip(r *rig, coefficient float32) {
	r.fill(a.norm, []float32{1, coefficient, 1, 0})
	for i := range a.g {
		a.g[i] *= float64(coefficient)
	}
}

// check compares with the oracle's next step.
func (a adamwCase) check(r *rig, p ops.AdamWParams) {
	r.t.Helper()
	weights, m, v := oracle.AdamWStep(oracleParams(p), a.p, a.m, a.v, a.g, p.Step)
	r.near(a.master, weights, oneStep)
	r.near(a.first, m, oneStep)
	r.near(a.second, v, oneStep)
	require.Equal(r.t, tensors.F32s(tensors.BF16s(r.floats(a.master))), r.floats(a.compute))
}

func TestAdamW(t *testing.T) {
	r := newRig(t, 1)
	for _, n := range oracle.SweepSizes() {
		for _, skip := range []int{0, 1} {
			a := newAdamwCase(r, skip, n)
			a.clip(r, .37)
			r.c.AdamW(a.master, a.compute, a.first, a.second, a.grad, a.norm, adamwParams)
			r.submit()
			a.check(r, adamwParams)
			r.clear()
		}
	}
}

// TestAdamWBindings cuts the tensors into many bindings.
func TestAdamWBindings(t *testing.T) {
	r := newRig(t, 2)
	r.bindings(80 << 10)
	a := newAdamwCase(r, 0, 70003)
	a.clip(r, 1)
	r.c.AdamW(a.master, a.compute, a.first, a.second, a.grad, a.norm, adamwParams)
	r.submit()
	a.check(r, adamwParams)
}

// TestAdamWWithoutCompute leaves the rounded copy out.
func TestAdamWWithoutCompute(t *testing.T) {
	r := newRig(t, 3)
	a := newAdamwCase(r, 0, 1000)
	a.clip(r, 1)
	r.c.AdamW(a.master, tensors.Tensor{}, a.first, a.second, a.grad, a.norm, adamwParams)
	r.submit()
	weights, _, _ := oracle.AdamWStep(oracleParams(adamwParams), a.p, a.m, a.v, a.g, adamwParams.Step)
	r.near(a.master, weights, oneStep)
}

// TestAdamWThousandSteps follows a trajectory from zero moments, with the clip coefficient of GradNorm.
func TestAdamWThousandSteps(t *testing.T) {
	const n, steps, perSubmit = 64, 1000, 50
	r := newRig(t, 4)
	a := newAdamwCase(r, 0, n)
	clear(a.m)
	clear(a.v)
	r.fill(a.first, make([]float32, n))
	r.fill(a.second, make([]float32, n))
	grads, host := make([]tensors.Tensor, perSubmit), make([][]float64, perSubmit)
	for i := range grads {
		grads[i], host[i] = r.input(tensors.F32, n)
	}
	p := adamwParams
	p.LR, p.WeightDecay = 1e-3, .01
	for p.Step = 1; p.Step <= steps; p.Step++ {
		i := p.Step % perSubmit
		r.c.GradNorm(a.norm, grads[i:i+1], tensors.Tensor{}, 1)
		r.c.AdamW(a.master, a.compute, a.first, a.second, grads[i], a.norm, p)
		coefficient := oracle.ClipCoefficient(oracle.GlobalNorm(host[i]), 1)
		g := make([]float64, n)
		for j := range g {
			g[j] = host[i][j] * coefficient
		}
		a.p, a.m, a.v = oracle.AdamWStep(oracleParams(p), a.p, a.m, a.v, g, p.Step)
		if i == 0 {
			r.submit()
		}
	}
	r.near(a.master, a.p, thousandSteps)
	r.near(a.first, a.m, thousandSteps)
	r.near(a.second, a.v, thousandSteps)
}

// TestAdamWConformance is the case of spec.md §10: p = 1, gradients .5 and -.25, learning rate 6e-4.
func TestAdamWConformance(t *testing.T) {
	r := newRig(t, 5)
	a := newAdamwCase(r, 0, 1)
	a.clip(r, 1)
	for _, x := range []tensors.Tensor{a.first, a.second} {
		r.fill(x, []float32{0})
	}
	r.fill(a.master, []float32{1})
	p := ops.AdamWParams{LR: 6e-4, Beta1: .9, Beta2: .999, Eps: 1e-8}
	for i, g := range []float32{.5, -.25} {
		r.fill(a.grad, []float32{g})
		p.Step = i + 1
		r.c.AdamW(a.master, a.compute, a.first, a.second, a.grad, a.norm, p)
		r.submit()
		require.InDelta(t, []float64{.9994, .9992401978}[i], r.read(a.master)[0], 1e-7)
	}
}

// TestAdamWSkipsNonFinite: where one gradient anywhere is not finite, no bit of any state changes.
func TestAdamWSkipsNonFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r := newRig(t, 6)
		a := newAdamwCase(r, 0, 1001)
		other, _ := r.input(tensors.F32, 50)
		v := r.values(50)
		v[49] = float32(bad)
		r.fill(other, v)
		r.fill(a.compute, r.values(1001))
		state := []tensors.Tensor{a.master, a.compute, a.first, a.second}
		var before [][]byte
		for _, x := range state {
			b, err := r.c.Download(x)
			require.NoError(t, err)
			before = append(before, b)
		}
		r.c.GradNorm(a.norm, []tensors.Tensor{a.grad, other}, tensors.Tensor{}, 1)
		r.c.AdamW(a.master, a.compute, a.first, a.second, a.grad, a.norm, adamwParams)
		r.submit()
		for i, x := range state {
			b, err := r.c.Download(x)
			require.NoError(t, err)
			require.Equal(t, before[i], b, "state %d, %g", i, bad)
		}
	}
}

// TestAdamWZeroGradient: moments and weights decay, nothing becomes NaN.
func TestAdamWZeroGradient(t *testing.T) {
	r := newRig(t, 7)
	a := newAdamwCase(r, 0, 100)
	a.clip(r, 0)
	for _, x := range [][]float64{a.m, a.v} {
		clear(x[50:])
	}
	r.fill(a.first, narrow(a.m))
	r.fill(a.second, narrow(a.v))
	r.c.Zero(a.grad)
	r.c.AdamW(a.master, a.compute, a.first, a.second, a.grad, a.norm, adamwParams)
	r.submit()
	a.check(r, adamwParams)
}

func TestAdamWErrors(t *testing.T) {
	r := newRig(t, 8)
	a := newAdamwCase(r, 0, 8)
	wrong := adamwParams
	wrong.Step = 0
	r.c.AdamW(a.master, a.compute, a.first, a.second, a.grad, a.norm, wrong)
	require.ErrorContains(t, r.c.Submit(), "ops: adamw: step: want 1 or more, got 0")
	r.c.AdamW(a.master, a.compute.View(7), a.first, a.second, a.grad, a.norm, adamwParams)
	require.ErrorContains(t, r.c.Submit(), "ops: adamw: tensor: want [8], got [7]")
	r.c.AdamW(a.master, a.master, a.first, a.second, a.grad, a.norm, adamwParams)
	require.ErrorContains(t, r.c.Submit(), "ops: adamw: tensor: want dtype BF16, got F32")
	r.c.AdamW(a.master, a.compute, a.first, a.second.View(7), a.grad, a.norm, adamwParams)
	require.ErrorContains(t, r.c.Submit(), "ops: adamw: tensor: want [8] F32, got [7] F32")
}

func BenchmarkAdamW(b *testing.B) {
	r := newRig(b, 9)
	a := newAdamwCase(r, 0, 1<<20)
	a.clip(r, 1)
	r.bench(b, "one", tensors.F32, a.master.Shape, func() {
		r.c.AdamW(a.master, a.compute, a.first, a.second, a.grad, a.norm, adamwParams)
	})
}
