package ops

import (
	"unsafe"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// use is a tensor bound to a kernel, with how the kernel uses it.
type use struct {
	tensors.Tensor
	access vk.Access
	texels bool // bound as texels of 16 bytes
}

func in(t tensors.Tensor) use    { return use{t, vk.Read, false} }
func out(t tensors.Tensor) use   { return use{t, vk.Write, false} }
func inout(t tensors.Tensor) use { return use{t, vk.ReadWrite, false} }

// launch is one run of a kernel. The kernel's push constants are one element
// offset per tensor, in order, and then the words of params.
type launch struct {
	kernel string // module name
	spec   []uint32
	lanes  int // subgroup size; 0: the device's
	uses   []use
	params []uint32
	groups [3]uint32
	work   float64
}

// maxGroups is the largest grid that every device offers in one dimension.
const maxGroups = 65535

// fold spreads n workgroups over two dimensions; kernels drop the surplus.
func fold(n int) [3]uint32 {
	if n <= maxGroups {
		return [3]uint32{uint32(n), 1, 1}
	}
	y := (n + maxGroups - 1) / maxGroups
	return [3]uint32{uint32((n + y - 1) / y), uint32(y), 1}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func f32bits(x float64) uint32 {
	f := float32(x)
	return *(*uint32)(unsafe.Pointer(&f))
}

// storage is the variant suffix of a dtype.
func storage(t tensors.Tensor) string {
	if t.DType == tensors.BF16 {
		return "bf16"
	}
	return "f32"
}

// rowGroup is the workgroup size and number of subgroups of kernels that give a
// workgroup one row: one subgroup on a CPU, about 128 invocations on a GPU.
func (c *Context) rowGroup() (size, subgroups int) {
	lanes := c.Device.SubgroupSize
	if c.Device.Tier() == vk.T0 {
		return lanes, 1
	}
	n := max(1, min(128, c.Device.MaxInvocations)/lanes)
	return n * lanes, n
}

// flatGroup is the workgroup size of elementwise kernels.
func (c *Context) flatGroup() int {
	lanes := c.Device.SubgroupSize
	return max(lanes, min(64, c.Device.MaxInvocations)/lanes*lanes)
}

// rowSpec are the first specialisation constants of kernels that include workgroup.glsl.
func (c *Context) rowSpec(more ...uint32) []uint32 {
	size, subgroups := c.rowGroup()
	return append([]uint32{uint32(size), uint32(subgroups)}, more...)
}

// flatSpec are the same for elementwise kernels.
func (c *Context) flatSpec(more ...uint32) []uint32 {
	size := c.flatGroup()
	return append([]uint32{uint32(size), uint32(size / c.Device.SubgroupSize)}, more...)
}

// vectors reports whether rows of cols elements that start where t starts can be read four elements at a time.
func vectors(t tensors.Tensor, cols int) bool {
	return cols%4 == 0 && t.Region.Offset/int64(t.DType.Size())%4 == 0
}

// shader is the kernel of a launch; what it needs of the driver.
func (l launch) shader() vk.Shader {
	s := vk.Shader{Name: l.kernel, Buffers: len(l.uses), PushBytes: 4 * (len(l.uses) + len(l.params)), Spec: l.spec, Lanes: l.lanes}
	for i, u := range l.uses {
		s.Texels |= flag(u.texels) << i
	}
	return s
}

// run records a kernel.
func (c *Context) run(l launch) {
	if c.err != nil || c.Dry() {
		return
	}
	if c.tally != nil {
		c.tally.add(l.kernel, l.work)
		if c.kernels == nil {
			return
		}
	}
	p, err := c.pipeline(l.shader())
	if err != nil {
		c.Fail(err)
		return
	}
	if c.taken != nil {
		c.taken[p] = true
	}
	if c.idle() {
		return
	}
	push := make([]uint32, 0, len(l.uses)+len(l.params))
	binds := make([]vk.Bind, len(l.uses))
	for i, u := range l.uses {
		base := u.Region.Offset / vk.Align * vk.Align
		push = append(push, uint32((u.Region.Offset-base)/int64(u.DType.Size())))
		bytes := u.Region.Bytes + u.Region.Offset - base
		binds[i] = vk.Bind{Region: vk.Region{Buffer: u.Region.Buffer, Offset: base, Bytes: (bytes + 15) / 16 * 16}, Access: u.access}
	}
	push = append(push, l.params...)
	c.recorder.Dispatch(vk.Dispatch{Pipeline: p, Binds: binds, Push: asBytes(push), Groups: l.groups, Work: l.work})
}
