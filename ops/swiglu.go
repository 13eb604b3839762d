package ops

import "vkdomino/tensors"

// SwiGLU writes result = SiLU(gate) * up, element by element, with SiLU(x) = x*sigmoid(x) in f32.
// All have one length and dtype, F32 or BF16; result is overwritten and may be gate or up.
// Source: spec.md §5.1, step 7.
func (c *Context) SwiGLU(result, gate, up tensors.Tensor) {
	c.wantStorage("swiglu", result)
	c.wantLike("swiglu", result, gate, up)
	c.flat("swiglu_forward."+storage(result), out(result), read(gate), read(up))
}

// SwiGLUBackward writes dUp = dOut * SiLU(gate) and
// dGate = dOut * up * s * (1 + gate*(1-s)) with s = sigmoid(gate).
// All have one length and dtype, F32 or BF16; dGate and dUp are overwritten.
// dGate may be gate and dUp may be up. Source: spec.md §9.6.
func (c *Context) SwiGLUBackward(dGate, dUp, dOut, gate, up tensors.Tensor) {
	c.wantStorage("swiglu backward", dGate)
	c.wantLike("swiglu backward", dGate, dUp, dOut, gate, up)
	c.flat("swiglu_backward."+storage(dGate), out(dGate), out(dUp), read(dOut), read(gate), read(up))
}
