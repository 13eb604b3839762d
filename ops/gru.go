package ops

import "vkdomino/tensors"

// GRUSaved is what GRU leaves for GRUBackward, and the work space of both. Rows
// are step-major: row j*nb + b is step j of block b. A GRUSaved made for bs*nb
// rows and nb blocks serves every smaller run too, whose rows come first.
type GRUSaved struct {
	States tensors.Tensor // [bs*nb, G] P: the state after each step
	Gates  tensors.Tensor // [bs*nb, 4G] P: r, z, n and q = W_hn h of each step

	state  tensors.Tensor // [nb, G] F32: the latest state, where States are bf16 or one kernel scans; the backward's carry
	hidden tensors.Tensor // [nb, 3G] F32: W_hh h of the current step
}

// NewGRUSaved allocates a GRUSaved for bs steps of nb blocks and G units, with
// storage dtype P = dtype (F32 or BF16).
func NewGRUSaved(c *Context, bs, nb, G int, dtype tensors.DType) GRUSaved {
	return GRUSaved{
		States: c.Alloc("gru states", dtype, bs*nb, G),
		Gates:  c.Alloc("gru gates", dtype, bs*nb, 4*G),
		state:  c.Alloc("gru carry", tensors.F32, nb, G),
		hidden: c.Alloc("gru hidden gates", tensors.F32, nb, 3*G),
	}
}

// view is the part of s that a run of bs steps of nb blocks uses.
func (s GRUSaved) view(bs, nb int) GRUSaved {
	G := s.States.Cols()
	return GRUSaved{States: s.States.View(bs*nb, G), Gates: s.Gates.View(bs*nb, 4*G),
		state: s.state.View(nb, G), hidden: s.hidden.View(nb, 3*G)}
}

// step is the rows of step j of a step-major tensor.
func step(t tensors.Tensor, j, nb int) tensors.Tensor { return t.Slice(j*nb, (j+1)*nb) }

// GRU scans nb independent blocks for bs steps from h = 0, without bias:
//
//	r = sigma(gi_r + W_hr h)   z = sigma(gi_z + W_hz h)   q = W_hn h
//	n = tanh(gi_n + r q)       h' = (1-z) n + z h
//
// gi = W_ih x is [bs*nb, 3G] F32, step-major, gates in the order r, z, n; or it is
// [M, 3G], of rows that steps share, and step-major row i takes its row index[i], index
// [bs*nb] I32 with 0 <= index < M, which the caller warrants (empty: row i). whh is [3G, G] P. saved.States and saved.Gates are overwritten. The recurrence adds in
// f32; what the next step's GEMM reads of h is rounded to P. Source: spec.md §6.1.
func (c *Context) GRU(saved GRUSaved, gi, index, whh tensors.Tensor, bs, nb int) {
	if !c.wantGRU("gru", saved, whh, bs, nb) {
		return
	}
	G := whh.Cols()
	c.wantDType("gru", tensors.F32, gi)
	rows := bs * nb
	if !absent(index) {
		c.wantDType("gru", tensors.I32, index)
		c.want("gru", "index", index, rows)
		rows = gi.Rows()
	}
	if !c.want("gru", "gi", gi, rows, 3*G) || c.Dry() || nb == 0 {
		return
	}
	s := saved.view(bs, nb)
	if c.gruScan(s, gi, index, whh, bs, nb) {
		return
	}
	for j := range bs {
		before := s.state // written at step 0 and not read
		if whh.DType == tensors.F32 && j > 0 {
			before = step(s.States, j-1, nb)
		}
		if j > 0 {
			c.Gemm(NT, s.hidden, step(s.States, j-1, nb), whh)
		}
		c.gruStep(s, gi, index, before, whh, j, nb)
	}
}

// gruStep is the gates of step j, behind the GEMM of its state before.
func (c *Context) gruStep(s GRUSaved, gi, index, before, whh tensors.Tensor, j, nb int) {
	G := whh.Cols()
	x, of := gi, gi // bound in index's place
	if absent(index) {
		x = step(gi, j, nb)
	} else {
		of = step(index, j, nb)
	}
	states, gates := step(s.States, j, nb), step(s.Gates, j, nb)
	vector := vectors(x, G) && vectors(s.hidden, G) && vectors(before, G) && vectors(states, G) && vectors(gates, G)
	h := inout(before)
	if whh.DType == tensors.F32 {
		h = in(before)
	}
	c.run(launch{kernel: "gru_forward." + storage(whh), spec: c.rowSpec(flag(vector), flag(j == 0), flag(!absent(index))),
		uses:   []use{in(x), in(s.hidden), h, out(states), out(gates), in(of)},
		params: []uint32{uint32(nb), uint32(G)}, groups: fold(nb), work: gruWork * float64(nb*G)})
}

// gruWork is the time of the gates of one unit, as floating-point operations.
const gruWork = 200

// GRUBackward propagates dStates [bs*nb, G] F32, the gradient that arrives at
// every state, back through the scan. With h the state before a step and
// dh = dStates + carry:
//
//	dz = dh (h-n) z (1-z)   dn = dh (1-z) (1-n²)   dr = dn q r (1-r)
//	dGi = [dr dz dn]        dGh = [dr dz dn·r]     carry = dh z + dGh W_hh
//
// dGi and dGh are [bs*nb, 3G] P, overwritten. The weights' gradients are GEMMs of the caller: that
// of W_ih is dGiᵀ X, where rows of gi were shared behind GroupSum, that of W_hh Σ dGhᵀ h, which
// is dGh[nb:]ᵀ States[:(bs-1)*nb]. saved is GRU's and only its work space changes.
// Source: spec.md §9.4.
func (c *Context) GRUBackward(dGi, dGh, dStates tensors.Tensor, saved GRUSaved, whh tensors.Tensor, bs, nb int) {
	const op = "gru backward"
	if !c.wantGRU(op, saved, whh, bs, nb) {
		return
	}
	G := whh.Cols()
	c.wantDType(op, tensors.F32, dStates)
	c.wantDType(op, whh.DType, dGi, dGh)
	ok := c.want(op, "dGi", dGi, bs*nb, 3*G) && c.want(op, "dGh", dGh, bs*nb, 3*G) &&
		c.want(op, "dStates", dStates, bs*nb, G)
	if !ok || c.Dry() || nb == 0 {
		return
	}
	s := saved.view(bs, nb)
	if c.gruScanBackward(dGi, dGh, dStates, s, whh, bs, nb) {
		return
	}
	for j := bs - 1; j >= 0; j-- {
		c.gruStepBackward(s, step(dGi, j, nb), step(dGh, j, nb), step(dStates, j, nb), j, bs, nb)
		if j > 0 {
			c.GemmAdd(NN, s.state, s.state, step(dGh, j, nb), whh)
		}
	}
}

// gruStepBackward is the gates of step j, up to carry = dh z.
func (c *Context) gruStepBackward(s GRUSaved, dGi, dGh, dState tensors.Tensor, j, bs, nb int) {
	G := s.States.Cols()
	before := step(s.States, max(j-1, 0), nb) // not read at step 0
	gates := step(s.Gates, j, nb)
	vector := vectors(dState, G) && vectors(s.state, G) && vectors(gates, G) && vectors(before, G) && vectors(dGi, G) && vectors(dGh, G)
	c.run(launch{kernel: "gru_backward." + storage(s.States), spec: c.rowSpec(flag(vector), flag(j == 0), flag(j == bs-1)),
		uses:   []use{in(dState), inout(s.state), in(gates), in(before), out(dGi), out(dGh)},
		params: []uint32{uint32(nb), uint32(G)}, groups: fold(nb), work: gruWork * float64(nb*G)})
}

// wantGRU records an error unless whh is [3G, G] of saved's dtype and saved has room for bs steps of nb blocks.
func (c *Context) wantGRU(op string, saved GRUSaved, whh tensors.Tensor, bs, nb int) bool {
	G := saved.States.Cols()
	c.wantStorage(op, whh)
	c.wantDType(op, whh.DType, saved.States, saved.Gates)
	if bs*nb > saved.States.Rows() || nb > saved.state.Rows() || bs < 0 || nb < 0 {
		c.failf("%s: saved: want room for %d steps of %d blocks, got %d rows for %d blocks", op, bs, nb, saved.States.Rows(), saved.state.Rows())
	}
	return c.want(op, "whh", whh, 3*G, G)
}
