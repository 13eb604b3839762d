package ops

import (
	"cmp"
	"slices"

	"vkdomino/vk"
)

// Compiled is a kernel as the driver's compiler made it.
type Compiled struct {
	Kernel string
	Spec   []uint32 // specialisation constants
	Taken  bool     // by an op; others were refused, because they spill registers
	// Figures are what the compiler tells of it, under the driver's names: none where it does not tell.
	Figures []vk.Statistic
}

// Compare orders kernels by name and constants.
func (k Compiled) Compare(o Compiled) int {
	return cmp.Or(cmp.Compare(k.Kernel, o.Kernel), slices.Compare(k.Spec, o.Spec))
}

// NewCompiling returns a Context that allocates and runs nothing, but compiles the kernels that the ops would run.
func NewCompiling(d *vk.Device) *Context {
	c, _ := NewCounting(d.Info)
	c.Device, c.statistics, c.kernels, c.taken = d, true, map[kernelKey]*vk.Pipeline{}, map[*vk.Pipeline]bool{}
	c.NoTexels = !d.FastTexels
	return c
}

// Compiled lists the kernels that were compiled, in the order of Compare.
func (c *Context) Compiled() []Compiled {
	list := make([]Compiled, 0, len(c.kernels))
	for k, p := range c.kernels {
		list = append(list, Compiled{k.name, slices.Clone(k.spec[:k.count]), c.taken[p], p.Statistics()})
	}
	slices.SortFunc(list, Compiled.Compare)
	return list
}

// Alternatives is the number of ways in which kernels that come in several shapes may be divided; 0 where there are none, and on
// CPU devices, which compile the large ones for minutes and never take them.
func (c *Context) Alternatives() int {
	switch {
	case c.Device.CPU || c.Device.Tier() == vk.T0:
		return 0
	case c.HasMatrices():
		return max(len(subgroupShapes)+len(workgroupShapes), len(attentionShapes))
	}
	return len(plainShapes)
}

// Alternative makes ops take kernels divided in the i-th way, of those that can run what is asked for.
func (c *Context) Alternative(i int) {
	c.pick = func(_ gemm, list []gemmTile) gemmTile { return list[min(i, len(list)-1)] }
	c.shape = &attentionShapes[min(i, len(attentionShapes)-1)]
}
