package tensors

import (
	"fmt"

	"vkdomino/vk"
)

// Tensor is a row-major array in device memory: a shape over a region of a
// buffer. It is a small value; copies share the memory. In a dry context (the
// memory plan) the region has no buffer.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int
	Region vk.Region
}

// Len is the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bytes is the size of the elements in bytes.
func (t Tensor) Bytes() int64 { return int64(t.Len()) * int64(t.DType.Size()) }

// Rows is the product of all dimensions but the last, 1 for a vector or a scalar.
func (t Tensor) Rows() int {
	n := 1
	for i := range len(t.Shape) - 1 {
		n *= t.Shape[i]
	}
	return n
}

// Cols is the last dimension.
func (t Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// View is the first elements of t under another shape, which must fit into t.
func (t Tensor) View(shape ...int) Tensor {
	v := t
	v.Shape = shape
	if v.Len() > t.Len() {
		panic(fmt.Sprintf("tensors: view %v of %s %v", shape, t.Name, t.Shape))
	}
	v.Region.Bytes = v.Bytes()
	return v
}

// Slice is rows lo to hi-1 along the first dimension.
func (t Tensor) Slice(lo, hi int) Tensor {
	if lo < 0 || hi < lo || hi > t.Shape[0] {
		panic(fmt.Sprintf("tensors: slice %d:%d of %s %v", lo, hi, t.Name, t.Shape))
	}
	v := t
	v.Shape = append([]int{hi - lo}, t.Shape[1:]...)
	row := int64(0)
	if t.Shape[0] > 0 {
		row = t.Bytes() / int64(t.Shape[0])
	}
	v.Region.Offset += int64(lo) * row
	v.Region.Bytes = v.Bytes()
	return v
}

// Is reports whether t has exactly this shape.
func (t Tensor) Is(shape ...int) bool {
	if len(shape) != len(t.Shape) {
		return false
	}
	for i, d := range shape {
		if t.Shape[i] != d {
			return false
		}
	}
	return true
}
