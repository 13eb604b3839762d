package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestSmoke(t *testing.T) {
	for _, dt := range storages {
		r := newRig(t, 1)
		c := r.c
		x, xv := r.input(dt, 7, 24)
		y, yv := r.input(dt, 7, 24)
		f, fv := r.input(tensors.F32, 7, 24)
		g, gv := r.input(tensors.F32, 7, 24)
		o1, o2, o3 := r.tensor(dt, 0, 7, 24), r.tensor(dt, 0, 7, 24), r.tensor(dt, 0, 7, 24)
		c.Add(o1, x, y)
		c.SiLU(o2, f)
		c.SiLUBackward(o3, g, f)
		cast := r.tensor(tensors.F32, 0, 7, 24)
		c.Cast(cast, x)
		cos, sin := oracle.RoPETable(10, 8, 100)
		ct, st := r.tensor(tensors.F32, 0, 10, 4), r.tensor(tensors.F32, 0, 10, 4)
		f32 := func(v []float64) []float32 {
			o := make([]float32, len(v))
			for i := range v {
				o[i] = float32(v[i])
			}
			return o
		}
		cos, sin = r.fill(ct, f32(cos)), r.fill(st, f32(sin))
		pos := []int{9, 0, 3, 3, 1, 8, 2}
		rot, rv := r.input(dt, 7, 24)
		rot2, rv2 := r.input(dt, 7, 24)
		c.RoPE(rot, ct, st, r.indices(pos...), 8)
		c.RoPEBackward(rot2, ct, st, r.indices(pos...), 8)
		e := r.tensor(dt, 0, 4, 24)
		c.Embedding(e, x, r.indices(3, -1, 6, 0))
		ga, gav := r.input(tensors.F32, 5, 30)
		c.Gather(ga, 3, x, 1, 11, r.indices(2, -1, 0))
		r.submit()
		r.near(o1, oracle.Add(xv, yv), elementwise)
		r.near(o2, oracle.SiLU(fv), elementwise)
		r.near(o3, oracle.SiLUBackward(gv, fv), elementwise)
		r.near(cast, xv, exact)
		r.near(rot, oracle.RoPE(rv, cos, sin, pos, 7, 3, 8), elementwise)
		r.near(rot2, oracle.RoPEBackward(rv2, cos, sin, pos, 7, 3, 8), elementwise)
		r.near(e, oracle.GatherRows(xv, []int{3, -1, 6, 0}, 24), exact)
		for i, from := range []int{2, -1, 0} {
			for j := range 11 {
				gav[i*30+3+j] = 0
				if from >= 0 {
					gav[i*30+3+j] = xv[from*24+1+j]
				}
			}
		}
		r.near(ga, gav, exact)
	}
}

func TestSmokeOptimizer(t *testing.T) {
	r := newRig(t, 1)
	c := r.c
	p, pv := r.input(tensors.F32, 1000)
	m, mv := r.input(tensors.F32, 1000)
	v := r.tensor(tensors.F32, 0, 1000)
	raw := r.values(1000)
	for i := range raw {
		raw[i] *= raw[i]
	}
	vv := r.fill(v, raw)
	g, gv := r.input(tensors.F32, 1000)
	h, hv := r.input(tensors.F32, 33, 2001)
	norm := r.tensor(tensors.F32, 0, 4)
	comp := r.tensor(tensors.BF16, 0, 1000)
	c.GradNorm(norm, []tensors.Tensor{g, h}, 1)
	c.AdamW(p, comp, m, v, g, norm, ops.AdamWParams{LR: 1e-3, Beta1: .9, Beta2: .999, Eps: 1e-8, WeightDecay: .1, Step: 3})
	r.submit()
	n := oracle.GlobalNorm(gv, hv)
	k := oracle.ClipCoefficient(n, 1)
	got := r.read(norm)
	require.InEpsilon(t, n, got[0], 1e-6)
	require.InEpsilon(t, k, got[1], 1e-6)
	require.Equal(t, []float64{1, 0}, got[2:])
	for i := range gv {
		gv[i] *= got[1]
	}
	p1, m1, v1 := oracle.AdamWStep(oracle.AdamW{LR: 1e-3, Beta1: .9, Beta2: .999, Eps: 1e-8, WeightDecay: .1}, pv, mv, vv, gv, 3)
	lim := tolerance{1e-13, 1e-5, 1e-6}
	r.near(p, p1, lim)
	r.near(m, m1, lim)
	r.near(v, v1, lim)
	_ = math.Pi
	r.near(comp, r.read(p), elementwise)
}
