package tensors

import (
	"fmt"

	"vkdomino/vk"
)

// Arena hands out parts of a tensor's memory as other tensors. Two arenas over one tensor share
// it: what they hand out must not be in use at the same time.
type Arena struct {
	memory Tensor
	used   int64
}

// NewArena starts at the beginning of t's memory.
func NewArena(t Tensor) *Arena { return &Arena{memory: t} }

// ArenaBytes is how much of an arena tensors of these sizes in bytes take.
func ArenaBytes(sizes ...int64) int64 {
	var sum int64
	for _, n := range sizes {
		sum += (n + vk.Align - 1) / vk.Align * vk.Align
	}
	return sum
}

// Take returns the next part, of the given shape; it starts at a multiple of vk.Align from the
// memory's beginning.
func (a *Arena) Take(name string, dtype DType, shape ...int) Tensor {
	t := Tensor{Name: name, DType: dtype, Shape: shape, Region: a.memory.Region}
	if a.used+t.Bytes() > a.memory.Bytes() {
		panic(fmt.Sprintf("tensors: %s %v: %d bytes of %s left, want %d", name, shape, a.memory.Bytes()-a.used, a.memory.Name, t.Bytes()))
	}
	t.Region.Offset += a.used
	t.Region.Bytes = t.Bytes()
	a.used += ArenaBytes(t.Bytes())
	return t
}
