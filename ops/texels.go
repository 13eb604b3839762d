package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

// eightWide is the number of elements that the variants FROM=texel of a kernel handle at a time.
const eightWide = 8

// texels reports whether rows of cols elements that start where t starts can be read in texels of
// 16 bytes: on a CPU, whose driver runs a loop over the lanes for each access to a storage buffer.
func (c *Context) texels(t tensors.Tensor, cols int) bool {
	return !c.NoTexels && c.Device.CPU && cols*t.DType.Size()%vk.TexelBytes == 0 && t.Region.Offset%vk.TexelBytes == 0 &&
		t.Region.Bytes+vk.Align <= vk.TexelBytes*c.Device.MaxTexels
}

// read is a tensor that a kernel with the variants of FROM reads, in texels where that is possible.
func read(t tensors.Tensor) use { return use{t, vk.Read, true} }

// wide is how a kernel with the variants of FROM reads rows of cols elements: how many elements an
// invocation handles at a time, whether loads from storage buffers are of four, and the suffix of the
// variant. rows are the tensors with such rows. Nothing is bound as texels in the variant without.
func (c *Context) wide(uses []use, cols int, rows ...tensors.Tensor) (elements int, vector bool, suffix string) {
	elements, vector = width(cols, rows...)
	all := cols%eightWide == 0
	for _, t := range rows {
		all = all && c.texels(t, cols)
	}
	for _, u := range uses {
		all = all && (!u.texels || c.texels(u.Tensor, cols))
	}
	if all {
		return eightWide, vector, ".texel"
	}
	for i := range uses {
		uses[i].texels = false
	}
	return elements, vector, ".buffer"
}
