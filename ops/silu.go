package ops

import "vkdomino/tensors"

// SiLU writes result = x * sigmoid(x) of the bottleneck's pre-activations x.
// x is F32, result is F32 or BF16 and is overwritten; one length.
// Source: spec.md §6.1.
func (c *Context) SiLU(result, x tensors.Tensor) {
	c.wantStorage("silu", result)
	c.wantDType("silu", tensors.F32, x)
	c.wantLength("silu", result, x)
	c.flat("silu_forward."+storage(result), out(result), in(x))
}

// SiLUBackward writes dIn = dOut * s * (1 + x*(1-s)) with s = sigmoid(x).
// dOut and x are F32, dIn is F32 or BF16 and is overwritten; one length. An F32
// dIn may be dOut or x. Source: spec.md §9.3.
func (c *Context) SiLUBackward(dIn, dOut, x tensors.Tensor) {
	c.wantStorage("silu backward", dIn)
	c.wantDType("silu backward", tensors.F32, dOut, x)
	c.wantLength("silu backward", dIn, dOut, x)
	c.flat("silu_backward."+storage(dIn), out(dIn), in(dOut), in(x))
}
