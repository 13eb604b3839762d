package model

import (
	"fmt"

	"vkdomino/ops"
	"vkdomino/tensors"
)

// Param is one trainable tensor of a draft with everything the optimizer keeps for it.
type Param struct {
	Name  string // export name
	Shape []int
	// Weight is what the forward pass reads: BF16, or in f32 mode Master itself.
	Weight             tensors.Tensor
	Master, Grad, M, V tensors.Tensor // F32; empty where the set has none
}

// Params are the trainable tensors of a draft, in a fixed order.
type Params struct {
	List []*Param
	by   map[string]*Param
}

// ParamShape names a tensor and its shape.
type ParamShape struct {
	Name  string
	Shape []int
}

// NewParams allocates a draft's tensors for training: f32 masters, gradients and moments,
// and in bf16 mode the compute copies. Contents are undefined but for the moments, which
// the caller sets too.
func NewParams(c *ops.Context, shapes []ParamShape, dtype tensors.DType) *Params {
	p := NewGradients(c, shapes, dtype)
	for _, q := range p.List {
		q.Master = q.Weight
		if dtype != tensors.F32 {
			q.Master = c.Alloc(q.Name+" (master)", tensors.F32, q.Shape...)
		}
		q.M = c.Alloc(q.Name+" (first moment)", tensors.F32, q.Shape...)
		q.V = c.Alloc(q.Name+" (second moment)", tensors.F32, q.Shape...)
	}
	return p
}

// NewGradients allocates weights and their f32 gradients alone: for passes without an update.
func NewGradients(c *ops.Context, shapes []ParamShape, dtype tensors.DType) *Params {
	p := newParams(c, shapes, dtype)
	for _, q := range p.List {
		q.Grad = c.Alloc(q.Name+" (gradient)", tensors.F32, q.Shape...)
	}
	return p
}

// NewWeights allocates a draft's tensors for inference: weights alone.
func NewWeights(c *ops.Context, shapes []ParamShape, dtype tensors.DType) *Params {
	return newParams(c, shapes, dtype)
}

func newParams(c *ops.Context, shapes []ParamShape, dtype tensors.DType) *Params {
	p := &Params{by: map[string]*Param{}}
	for _, s := range shapes {
		q := &Param{Name: s.Name, Shape: s.Shape, Weight: c.Alloc(s.Name, dtype, s.Shape...)}
		p.List = append(p.List, q)
		p.by[s.Name] = q
	}
	return p
}

// Get returns a tensor by its export name; nil where there is none.
func (p *Params) Get(name string) *Param { return p.by[name] }

// Set writes a tensor's values: the master and the compute copy. The device must be idle.
func (p *Params) Set(c *ops.Context, name string, values []float32) error {
	q := p.by[name]
	if q == nil {
		return fmt.Errorf("model: no draft tensor %s", name)
	}
	c.UploadF32(q.Weight, values)
	if q.Master.Shape != nil && q.Master.DType != q.Weight.DType {
		c.UploadF32(q.Master, values)
	}
	return c.Err()
}

// ZeroGrads records setting every gradient to zero.
func (p *Params) ZeroGrads(c *ops.Context) {
	for _, q := range p.List {
		c.Zero(q.Grad)
	}
}

// Grads lists the gradients.
func (p *Params) Grads() []tensors.Tensor {
	list := make([]tensors.Tensor, len(p.List))
	for i, q := range p.List {
		list[i] = q.Grad
	}
	return list
}
