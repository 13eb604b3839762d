package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// TestParamsLieInSlabs: small tensors share a slab, in order and without touching, and a large
// one has its own.
func TestParamsLieInSlabs(t *testing.T) {
	shapes := []ParamShape{{"a", []int{3, 5}}, {"b", []int{128}}, {"big", []int{slabElements / 1024, 1024}}, {"c", []int{7}}, {"d", []int{2, 2}}}
	c := ops.NewDry()
	p := NewParams(c, shapes, tensors.BF16)
	require.Len(t, p.Slabs, 3)
	require.Equal(t, []int{256, slabElements, 256}, []int{p.Slabs[0].Grad.Len(), p.Slabs[1].Grad.Len(), p.Slabs[2].Grad.Len()})
	require.Equal(t, "small draft tensors (gradient)", p.Slabs[0].Grad.Name)
	require.Equal(t, "big", p.Slabs[1].Weight.Name)
	for i, s := range shapes {
		q := p.List[i]
		require.Equal(t, s.Name, q.Name)
		for _, x := range []tensors.Tensor{q.Weight, q.Master, q.Grad, q.M, q.V} {
			require.Equal(t, s.Shape, x.Shape)
		}
		require.Zero(t, q.Grad.Region.Offset%(slabAlign*4))
	}
	require.Equal(t, p.List[0].Grad.Region.Offset+slabAlign*4, p.List[1].Grad.Region.Offset)
	require.Equal(t, p.List[0].Weight.Region.Offset+slabAlign*2, p.List[1].Weight.Region.Offset)

	weights := NewWeights(ops.NewDry(), shapes, tensors.F32)
	require.Nil(t, weights.List[0].Grad.Shape)
	require.Equal(t, []int{3, 5}, weights.List[0].Weight.Shape)
}

// TestUpdateGoesOverAllTensors: one update of a set equals the update of each of its tensors.
func TestUpdateGoesOverAllTensors(t *testing.T) {
	c := ops.New(testgpu.Device(t))
	defer c.Release()
	shapes := []ParamShape{{"a", []int{3, 5}}, {"b", []int{130}}, {"c", []int{1}}}
	state := func(update func(p *Params, norm tensors.Tensor)) (all [][]float32) {
		p := NewParams(c, shapes, tensors.BF16)
		norm := c.AllocHost("norm", tensors.F32, 4)
		require.NoError(t, c.Submit())
		for i, q := range p.List {
			values := make([]float32, q.Grad.Len())
			for j := range values {
				values[j] = float32(i+1) / float32(j+2)
			}
			for _, x := range []tensors.Tensor{q.Grad, q.M, q.V} {
				c.UploadF32(x, values)
			}
			require.NoError(t, p.Set(c, q.Name, values))
		}
		update(p, norm)
		require.NoError(t, c.Submit())
		for _, q := range p.List {
			for _, x := range []tensors.Tensor{q.Weight, q.Master, q.M, q.V} {
				v, err := c.Float32s(x)
				require.NoError(t, err)
				all = append(all, v)
			}
		}
		v, err := c.Float32s(norm)
		require.NoError(t, err)
		return append(all, v[2:])
	}
	a := ops.AdamWParams{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Step: 2}
	const far = 1e9 // nothing is clipped: the norm's rounding does not matter
	want := state(func(p *Params, norm tensors.Tensor) {
		var grads []tensors.Tensor
		for _, q := range p.List {
			grads = append(grads, q.Grad)
		}
		c.GradNorm(norm, grads, tensors.Tensor{}, far)
		for _, q := range p.List {
			c.AdamW(q.Master, q.Weight, q.M, q.V, q.Grad, norm, a)
		}
	})
	got := state(func(p *Params, norm tensors.Tensor) {
		c.GradNorm(norm, p.Grads(), tensors.Tensor{}, far)
		p.Update(c, norm, a)
	})
	require.Equal(t, want, got)
}
