package oracle

import "math"

// GRUTape is what GRU returns: the states, and what GRUBackward needs.
// Every field is [bs, nb, G], step-major.
type GRUTape struct {
	States []float64 // h after each step
	R, Z   []float64 // reset and update gates
	N      []float64 // candidate (spec.md's c)
	Q      []float64 // W_hn·h_{j-1}, before the reset gate
}

// GRU runs nb independent blocks for bs steps from h = 0, without bias:
//
//	r = sigma(gi_r + W_hr·h)    z = sigma(gi_z + W_hz·h)    q = W_hn·h
//	n = tanh(gi_n + r*q)        h' = (1-z)*n + z*h
//
// gi = W_ih·x is [bs, nb, 3G], step-major, gates in the order r, z, n; whh is [3G, G].
// Source: spec.md §6.1.
func GRU(gi, whh []float64, bs, nb, g int) GRUTape {
	size := bs * nb * g
	t := GRUTape{
		States: make([]float64, size), R: make([]float64, size), Z: make([]float64, size),
		N: make([]float64, size), Q: make([]float64, size),
	}
	for row := range bs * nb {
		h := previousState(t.States, row, nb, g)
		in := gi[row*3*g : (row+1)*3*g]
		for i := range g {
			at := row*g + i
			t.R[at] = sigmoid(in[i] + dot(whh[i*g:(i+1)*g], h))
			t.Z[at] = sigmoid(in[g+i] + dot(whh[(g+i)*g:(g+i+1)*g], h))
			t.Q[at] = dot(whh[(2*g+i)*g:(2*g+i+1)*g], h)
			t.N[at] = math.Tanh(in[2*g+i] + t.R[at]*t.Q[at])
			t.States[at] = (1-t.Z[at])*t.N[at] + t.Z[at]*h[i]
		}
	}
	return t
}

// previousState returns h_{j-1} of a row = j*nb + block: [G], zeros for j = 0.
func previousState(states []float64, row, nb, g int) []float64 {
	if row < nb {
		return make([]float64, g)
	}
	return states[(row-nb)*g : (row-nb+1)*g]
}

// GRUBackward propagates dStates back through all steps. Per row, with dh = dStates + carry:
//
//	dz = dh*(h-n)*z*(1-z)    dn = dh*(1-z)*(1-n²)    dr = dn*q*r*(1-r)
//	dGI = [dr dz dn]         dGH = [dr dz dn*r]      carry = dh*z + W_hhᵀ·dGH
//	dWhh = Σ dGHᵀ·h          (h is the state before the step)
//
// dStates is [bs, nb, G]; dGI and dGH are [bs, nb, 3G]; whh and dWhh are [3G, G]. The gradient
// of W_ih is GEMMTN(dGI, x). Source: spec.md §9.4.
func GRUBackward(dStates, whh []float64, t GRUTape, bs, nb, g int) (dGI, dGH, dWhh []float64) {
	dGI, dGH = make([]float64, bs*nb*3*g), make([]float64, bs*nb*3*g)
	dWhh = make([]float64, 3*g*g)
	carry := make([]float64, nb*g)
	for row := bs*nb - 1; row >= 0; row-- {
		h := previousState(t.States, row, nb, g)
		c := carry[row%nb*g : (row%nb+1)*g]
		gi, gh := dGI[row*3*g:(row+1)*3*g], dGH[row*3*g:(row+1)*3*g]
		for i := range g {
			at := row*g + i
			r, z, n := t.R[at], t.Z[at], t.N[at]
			dh := dStates[at] + c[i]
			dz, dn := dh*(h[i]-n)*z*(1-z), dh*(1-z)*(1-n*n)
			dr := dn * t.Q[at] * r * (1 - r)
			gi[i], gi[g+i], gi[2*g+i] = dr, dz, dn
			gh[i], gh[g+i], gh[2*g+i] = dr, dz, dn*r
			c[i] = dh * z
		}
		for k := range 3 * g {
			for i := range g {
				c[i] += whh[k*g+i] * gh[k]
				dWhh[k*g+i] += gh[k] * h[i]
			}
		}
	}
	return dGI, dGH, dWhh
}
