package ops

import (
	"slices"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// eightWide is the number of elements that the variants FROM=texel of a kernel handle at a time.
const eightWide = 8

// texels reports whether rows of cols elements of the tensors can be read in texels, eight elements
// at a time: on a CPU, whose driver runs a loop over the lanes for each access to a storage buffer.
func (c *Context) texels(cols int, list ...tensors.Tensor) bool {
	if c.NoTexels || !c.Device.CPU || cols%eightWide != 0 {
		return false
	}
	for _, t := range list {
		if t.Region.Offset%vk.TexelBytes != 0 || t.Region.Bytes+vk.Align > vk.TexelBytes*c.Device.MaxTexels {
			return false
		}
	}
	return true
}

// read is a tensor that a kernel with the variants of FROM reads, in texels where that is possible.
func read(t tensors.Tensor) use { return use{t, vk.Read, true} }

// readsTexels reports whether a kernel has the variants of FROM.
func readsTexels(uses []use) bool {
	return slices.ContainsFunc(uses, func(u use) bool { return u.texels })
}

// reading is the suffix of such a kernel's variant; in the one without texels nothing is bound as texels.
func reading(texels bool, uses []use) string {
	if texels {
		return ".texel"
	}
	for i := range uses {
		uses[i].texels = false
	}
	return ".buffer"
}
