package ops

import "vkdomino/tensors"

// HeadActivation is the bottleneck of the Domino head on the rows of a decoding
// step: act = SiLU(W1 [Z ; s]), the backbone's hidden state first.
// z is [n, H], w1 is [E, H+G] and act is [n, E], all P; s is [n, G] F32 and read
// as rounded to P; act is overwritten. There is no gradient: training has GEMMs
// and SiLU for it. Source: spec.md §6.1, §14.2.
func (c *Context) HeadActivation(act, z, s, w1 tensors.Tensor) {
	const op = "head activation"
	n, E, H, G := act.Rows(), act.Cols(), z.Cols(), s.Cols()
	c.wantStorage(op, z)
	c.wantDType(op, z.DType, act, w1)
	c.wantDType(op, tensors.F32, s)
	c.want(op, "z", z, n, H)
	c.want(op, "s", s, n, G)
	if !c.want(op, "w1", w1, E, H+G) || c.Dry() || act.Len() == 0 {
		return
	}
	_, hidden := width(H, z, w1)
	_, states := width(G, s)
	rows := tileRows(n)
	c.run(launch{kernel: "head_activation." + storage(z), spec: c.rowSpec(flag(hidden && states), 0, uint32(rows)),
		uses: []use{out(act), in(z), in(s), in(w1)}, params: []uint32{uint32(n), uint32(H), uint32(G), uint32(E)},
		groups: fold(E * ceilDiv(n, rows)), work: 2 * float64(n*E) * float64(H+G)})
}
