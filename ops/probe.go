package ops

import "vkdomino/tensors"

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
