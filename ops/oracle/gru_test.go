package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGRUConformance holds case C34 of spec.md §19.A: one unit, three steps.
func TestGRUConformance(t *testing.T) {
	wi, whh := []float64{.5, -.3, .8}, []float64{.2, .4, -.6}
	gi := GEMMNT([]float64{1, 2, -1}, wi, 3, 3, 1, nil)
	tape := GRU(gi, whh, 3, 1, 1)
	near(t, []float64{.38145095, .69260926, .17419418}, tape.States, 5e-9)
	near(t, []float64{.62245933, .74579129, .41060180}, tape.R, 5e-9)
	near(t, []float64{.42555748, .38997445, .64038688}, tape.Z, 5e-9)
	near(t, []float64{.66403677, .89152518, -.74898187}, tape.N, 5e-9)
	near(t, []float64{0, -.6 * .38145095, -.6 * .69260926}, tape.Q, 5e-9)
}

// TestGRUBlocksAreIndependent runs two blocks together and each alone.
func TestGRUBlocksAreIndependent(t *testing.T) {
	const bs, nb, g = 4, 2, 3
	gi, whh := random(1, bs*nb*3*g), random(2, 3*g*g)
	both := GRU(gi, whh, bs, nb, g)
	for n := range nb {
		var alone, states []float64
		for j := range bs {
			alone = append(alone, gi[(j*nb+n)*3*g:(j*nb+n+1)*3*g]...)
			states = append(states, both.States[(j*nb+n)*g:(j*nb+n+1)*g]...)
		}
		require.Equal(t, states, GRU(alone, whh, bs, 1, g).States)
	}
}

func TestGRUGradients(t *testing.T) {
	shapes := [][]int{{1, 1, 1}, {2, 1, 1}, {1, 2, 2}, {3, 1, 2}, {2, 3, 1}, {4, 2, 3}, {8, 1, 2}, {3, 4, 3}, {16, 2, 1}}
	eachShape(t, shapes, func(t *testing.T, s []int, seed uint64) {
		bs, nb, g := s[0], s[1], s[2]
		gi, whh, dStates := random(seed, bs*nb*3*g), random(seed+1, 3*g*g), random(seed+2, bs*nb*g)
		loss := func() float64 { return dot(dStates, GRU(gi, whh, bs, nb, g).States) }
		tape := GRU(gi, whh, bs, nb, g)
		dGI, dGH, dWhh := GRUBackward(dStates, whh, tape, bs, nb, g)
		gradCheck(t, "gi", gi, dGI, loss)
		gradCheck(t, "whh", whh, dWhh, loss)
		requireHiddenGates(t, dGI, dGH, tape, g)
	})
}

// requireHiddenGates checks that dGH is dGI with the candidate's part multiplied by r.
func requireHiddenGates(t *testing.T, dGI, dGH []float64, tape GRUTape, g int) {
	t.Helper()
	require.Len(t, dGH, len(dGI))
	for at, r := range tape.R {
		row, i := at/g*3*g, at%g
		require.Equal(t, dGI[row+i], dGH[row+i])
		require.Equal(t, dGI[row+g+i], dGH[row+g+i])
		require.Equal(t, dGI[row+2*g+i]*r, dGH[row+2*g+i])
	}
}

func TestGRUEmpty(t *testing.T) {
	for _, s := range [][3]int{{0, 2, 2}, {3, 0, 2}, {3, 2, 0}} {
		whh := random(1, 3*s[2]*s[2])
		tape := GRU(nil, whh, s[0], s[1], s[2])
		require.Empty(t, tape.States)
		dGI, dGH, dWhh := GRUBackward(nil, whh, tape, s[0], s[1], s[2])
		require.Empty(t, dGI)
		require.Empty(t, dGH)
		require.Equal(t, make([]float64, 3*s[2]*s[2]), dWhh)
	}
}
