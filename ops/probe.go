package ops

import (
	"fmt"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// probeFLOP are the floating-point operations of one invocation and step of probe_fma:
// 16 times 2 vectors of 4, a multiplication and an addition each.
const probeFLOP = 16 * 2 * 4 * 2

// ProbeFMA records steps of f32 multiplications and additions on registers alone, one invocation
// for each element of result [n] F32, and returns how many floating-point operations that are:
// their rate is the most that kernels without matrix instructions can reach.
func (c *Context) ProbeFMA(result tensors.Tensor, steps int) float64 {
	c.wantDType("probe", tensors.F32, result)
	n := result.Len()
	flop := probeFLOP * float64(n) * float64(steps)
	if c.err != nil || c.Dry() || n == 0 {
		return flop
	}
	c.run(launch{kernel: "probe_fma", spec: c.flatSpec(flag(false)), uses: []use{out(result)},
		params: []uint32{uint32(n), uint32(steps), f32bits(0.5)}, groups: fold(ceilDiv(n, c.flatGroup())), work: flop})
	return flop
}

// What one workgroup of probe_matrix has, and the sums of one of its subgroups.
const (
	probeSubgroups = 4
	probeSums      = 8
)

// HasMatrices reports whether the tier in use multiplies cooperative matrices of a subgroup.
func (c *Context) HasMatrices() bool {
	return c.Device != nil && c.Device.Tier() >= vk.T2 && len(c.Device.Matrices) > 0
}

// ProbeMatrixLen is how many elements ProbeMatrix writes with so many workgroups.
func (c *Context) ProbeMatrixLen(groups int) int {
	m := c.Device.Matrices[0]
	return groups * probeSubgroups * m.M * m.N
}

// ProbeMatrix records steps of products of cooperative matrices in registers alone, in groups
// workgroups, and returns how many floating-point operations that are: their rate is the most
// that kernels on matrices of a subgroup can reach. result is F32 of ProbeMatrixLen elements;
// HasMatrices must be true.
func (c *Context) ProbeMatrix(result tensors.Tensor, groups, steps int) float64 {
	c.wantDType("probe", tensors.F32, result)
	c.want("probe", "result", result, c.ProbeMatrixLen(groups))
	m, lanes := c.Device.Matrices[0], c.Device.MatrixLanes
	element := "f16"
	if m.BF16 {
		element = "bf16"
	}
	flop := 2 * float64(m.M*m.N*m.K) * probeSums * probeSubgroups * float64(groups) * float64(steps)
	c.run(launch{kernel: "probe_matrix." + element + "." + m.Size(), lanes: lanes, spec: []uint32{uint32(probeSubgroups * lanes), probeSubgroups},
		uses: []use{out(result)}, params: []uint32{uint32(steps), f32bits(1.0 / 64)}, groups: [3]uint32{uint32(groups), 1, 1}, work: flop})
	return flop
}

// workgroupProbe is the tile of probe_workgroup: the largest of gemm_t3 that the device can run, where the tier in use has one.
func (c *Context) workgroupProbe() (s matrixShape, ok bool) {
	if c.Device == nil || c.Device.Tier() < vk.T3 {
		return s, false
	}
	for _, s := range workgroupShapes {
		if s.fitsWorkgroup(c.Device) {
			return s, true
		}
	}
	return s, false
}

// WorkgroupProbe names the product that a workgroup of ProbeWorkgroup does in one step, as rows x columns x depth by
// invocations, and says how many elements each workgroup writes: "" and 0 where the tier in use has no matrices of a workgroup.
func (c *Context) WorkgroupProbe() (name string, elements int) {
	s, ok := c.workgroupProbe()
	if !ok {
		return "", 0
	}
	return fmt.Sprintf("%dx%dx%d by %d", s.bm, s.bn, s.bk, s.invocations), s.bm * s.bn
}

// ProbeWorkgroup records steps of products of cooperative matrices of a workgroup, with nothing fetched, in groups
// workgroups, and returns how many floating-point operations that are: their rate is the most that kernels on such matrices
// can reach. result is F32 of groups times WorkgroupProbe's elements; a device that has none is an error.
func (c *Context) ProbeWorkgroup(result tensors.Tensor, groups, steps int) float64 {
	s, ok := c.workgroupProbe()
	if !ok {
		c.failf("probe: the tier in use has no matrices of a workgroup")
		return 0
	}
	c.wantDType("probe", tensors.F32, result)
	c.want("probe", "result", result, groups*s.bm*s.bn)
	flop := 2 * float64(s.bm*s.bn*s.bk) * float64(groups) * float64(steps)
	c.run(launch{kernel: "probe_workgroup", spec: []uint32{uint32(s.invocations), uint32(s.bm), uint32(s.bn), uint32(s.bk)},
		uses: []use{out(result)}, params: []uint32{uint32(steps), f32bits(1.0 / 64)}, groups: [3]uint32{uint32(groups), 1, 1}, work: flop})
	return flop
}
