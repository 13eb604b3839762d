package ops

import "vkdomino/tensors"

// cellRows is the largest number of rows that one workgroup of a decoding step's kernels handles.
const cellRows = 8

// tileRows is the number of rows of a workgroup for n rows: a power of two.
func tileRows(n int) int {
	rows := 1
	for rows < n && rows < cellRows {
		rows *= 2
	}
	return rows
}

// GRUCell is one step of a GRU on rows that go on for themselves, without bias:
//
//	r = sigma(W_ir x + W_hr h)   z = sigma(W_iz x + W_hz h)   q = W_hn h
//	n = tanh(W_in x + r q)       h' = (1-z) n + z h
//
// x is [n, H] P; wih is [3G, H] and whh [3G, G] P, gates in the order r, z, n; h
// and next are [n, G] F32 and do not overlap; next is overwritten. A zero Tensor h
// stands for zeros. As in GRU, the products read h rounded to P. There is no
// gradient: training scans whole blocks with GRU. Source: spec.md §6.1, §14.2.
func (c *Context) GRUCell(next, x, h, wih, whh tensors.Tensor) {
	const op = "gru cell"
	n, G := next.Rows(), next.Cols()
	c.wantStorage(op, x)
	c.wantDType(op, x.DType, wih, whh)
	c.wantDType(op, tensors.F32, next)
	c.want(op, "x", x, n, x.Cols())
	c.want(op, "wih", wih, 3*G, x.Cols())
	c.want(op, "whh", whh, 3*G, G)
	first := h.Shape == nil
	if first {
		h = next // bound and not read
	} else {
		c.wantDType(op, tensors.F32, h)
		c.want(op, "h", h, n, G)
	}
	if c.err != nil || c.Dry() || n == 0 {
		return
	}
	_, vector := width(x.Cols(), x, wih)
	_, states := width(G, h, whh)
	rows := tileRows(n)
	uses := []use{out(next), in(x), in(h), in(wih), in(whh)}
	if first {
		uses[2] = inout(h)
		uses[0] = inout(next)
	}
	c.run(launch{kernel: "gru_cell." + storage(x), spec: c.rowSpec(flag(vector && states), 0, flag(first), uint32(rows)),
		uses: uses, params: []uint32{uint32(n), uint32(x.Cols()), uint32(G)},
		groups: fold(G * ceilDiv(n, rows)), work: 6 * float64(n*G) * float64(x.Cols()+G)})
}
