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
	// Summed says that Grad holds gradients of this step. Before that its contents count for
	// nothing, and what comes first overwrites them.
	Summed bool
}

// AddGrad records dW += dOutᵀ in, the gradient of a linear layer out = in Wᵀ.
func (p *Param) AddGrad(c *ops.Context, dOut, in tensors.Tensor) {
	c.GemmOnto(p.Summed, ops.TN, p.Grad, dOut, in)
	p.Summed = true
}

// Params are the trainable tensors of a draft, in a fixed order. Small tensors that follow one
// another lie in one slab, so that what goes over all of them is a few commands.
type Params struct {
	List  []*Param
	Slabs []Slab

	by map[string]*Param
}

// Slab is tensors of a set side by side, each padded to a multiple of slabAlign elements; a
// tensor of slabElements or more has a slab to itself. The fields are those of Param, 1-D. What
// lies in the padding counts for nothing: its gradient is 0.
type Slab struct{ Weight, Master, Grad, M, V tensors.Tensor }

const (
	slabElements = 16 << 20
	slabAlign    = 128 // elements: two tensors then never share an aligned binding
)

// ParamShape names a tensor and its shape.
type ParamShape struct {
	Name  string
	Shape []int
}

// NewParams allocates a draft's tensors for training: f32 masters, gradients and moments,
// and in bf16 mode the compute copies. Contents are undefined but for the moments, which
// the caller sets too.
func NewParams(c *ops.Context, shapes []ParamShape, dtype tensors.DType) *Params {
	return newParams(shapes, func(name string, n int) Slab {
		s := Slab{Weight: c.Alloc(name, dtype, n)}
		s.Master = s.Weight
		if dtype != tensors.F32 {
			s.Master = c.Alloc(name+" (master)", tensors.F32, n)
		}
		s.Grad = newGrad(c, name, n)
		s.M = c.Alloc(name+" (first moment)", tensors.F32, n)
		s.V = c.Alloc(name+" (second moment)", tensors.F32, n)
		return s
	})
}

// NewGradients allocates weights and their f32 gradients alone: for passes without an update.
func NewGradients(c *ops.Context, shapes []ParamShape, dtype tensors.DType) *Params {
	return newParams(shapes, func(name string, n int) Slab {
		return Slab{Weight: c.Alloc(name, dtype, n), Grad: newGrad(c, name, n)}
	})
}

// newGrad allocates a slab's gradient and records zeros, for what pads its tensors.
func newGrad(c *ops.Context, name string, n int) tensors.Tensor {
	g := c.Alloc(name+" (gradient)", tensors.F32, n)
	c.Zero(g)
	return g
}

// NewWeights allocates a draft's tensors for inference: weights alone.
func NewWeights(c *ops.Context, shapes []ParamShape, dtype tensors.DType) *Params {
	return newParams(shapes, func(name string, n int) Slab { return Slab{Weight: c.Alloc(name, dtype, n)} })
}

// newParams packs tensors into slabs that alloc makes.
func newParams(shapes []ParamShape, alloc func(name string, n int) Slab) *Params {
	p := &Params{by: map[string]*Param{}}
	padded := func(s ParamShape) int { return (elements(s.Shape) + slabAlign - 1) / slabAlign * slabAlign }
	for first := 0; first < len(shapes); {
		end, n := first+1, padded(shapes[first])
		for end < len(shapes) && n+padded(shapes[end]) <= slabElements {
			n += padded(shapes[end])
			end++
		}
		name := "small draft tensors"
		if end == first+1 {
			name, n = shapes[first].Name, elements(shapes[first].Shape)
		}
		slab, at := alloc(name, n), 0
		p.Slabs = append(p.Slabs, slab)
		for _, s := range shapes[first:end] {
			p.add(s, slab, at)
			at += padded(s)
		}
		first = end
	}
	return p
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// add makes the tensor that starts at element at of a slab.
func (p *Params) add(s ParamShape, slab Slab, at int) {
	part := func(t tensors.Tensor, what string) tensors.Tensor {
		if t.Shape == nil {
			return t
		}
		t = t.Slice(at, at+elements(s.Shape)).View(s.Shape...)
		t.Name = s.Name + what
		return t
	}
	q := &Param{Name: s.Name, Shape: s.Shape, Weight: part(slab.Weight, ""), Master: part(slab.Master, " (master)"), Grad: part(slab.Grad, " (gradient)"),
		M: part(slab.M, " (first moment)"), V: part(slab.V, " (second moment)")}
	p.List = append(p.List, q)
	p.by[s.Name] = q
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

// StartGrads begins the sums of a step: those of the norms' weights, which are short, as zero, and
// the others without a value.
func (p *Params) StartGrads(c *ops.Context) {
	for _, q := range p.List {
		q.Summed = len(q.Shape) == 1
		if q.Summed {
			c.Zero(q.Grad)
		}
	}
}

// FinishGrads ends the sums of a step: what got no gradient has zero.
func (p *Params) FinishGrads(c *ops.Context) {
	for _, q := range p.List {
		if !q.Summed {
			c.Zero(q.Grad)
			q.Summed = true
		}
	}
}

// Grads lists the gradients, slab by slab.
func (p *Params) Grads() []tensors.Tensor {
	list := make([]tensors.Tensor, len(p.Slabs))
	for i, s := range p.Slabs {
		list[i] = s.Grad
	}
	return list
}

// Update records one optimizer step over all tensors; see ops.AdamW.
func (p *Params) Update(c *ops.Context, norm tensors.Tensor, a ops.AdamWParams) {
	for _, s := range p.Slabs {
		compute := s.Weight
		if compute.Region == s.Master.Region {
			compute.Shape = nil // f32: the master is what the forward pass reads
		}
		c.AdamW(s.Master, compute, s.M, s.V, s.Grad, norm, a)
	}
}
