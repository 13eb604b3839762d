package ops

import "vkdomino/tensors"

// GRUToken is GRUCell on tokens whose input side is known: gi = W_ih x of every
// token. gi is [V, 3G] F32, gates in the order r, z, n; tokens is [n] I32 with
// 0 <= token < V, which the caller warrants; whh is [3G, G] P; h and next are [n, G]
// F32 and do not overlap; next is overwritten. A zero Tensor h stands for zeros.
// gi is bound whole. Source: spec.md §6.1, §14.2.
func (c *Context) GRUToken(next, gi, tokens, h, whh tensors.Tensor) {
	const op = "gru token"
	n, G := next.Rows(), next.Cols()
	c.wantStorage(op, whh)
	c.wantDType(op, tensors.F32, next, gi)
	c.wantDType(op, tensors.I32, tokens)
	c.want(op, "gi", gi, gi.Rows(), 3*G)
	c.want(op, "tokens", tokens, n)
	c.want(op, "whh", whh, 3*G, G)
	first := h.Shape == nil
	if !first {
		c.wantDType(op, tensors.F32, h)
		c.want(op, "h", h, n, G)
	}
	if c.err != nil || c.Dry() || n == 0 {
		return
	}
	to, from := out(next), in(h)
	if first {
		to, from = inout(next), inout(next) // bound and not read
	}
	_, vector := width(G, from.Tensor, whh)
	rows := tileRows(n)
	c.run(launch{kernel: "gru_token." + storage(whh), spec: c.rowSpec(flag(vector), 0, flag(first), uint32(rows)),
		uses: []use{to, in(gi), in(tokens), from, in(whh)}, params: []uint32{uint32(n), uint32(G)},
		groups: fold(G * ceilDiv(n, rows)), work: 6 * float64(n*G*G)})
}
