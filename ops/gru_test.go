package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// Rounding of 16 steps in f32; with bf16 storage every stored state and gate is rounded.
var (
	gruForward  = tolerance{1e-11, 5e-5, 1e-4}
	gruBackward = tolerance{1e-10, 1e-4, 1e-4}
)

// gruCase is a scan on the device, with its inputs as the device holds them.
type gruCase struct {
	*rig
	bs, nb, g                   int
	saved                       ops.GRUSaved
	gi, whh, dStates            tensors.Tensor
	dGi, dGh, dWhh              tensors.Tensor
	giIn, whhIn, dStatesIn, dIn []float64 // dIn: dWhh before the backward
}

// newGRUCase allocates spare rows, so that a run uses the first part of every saved tensor.
func newGRUCase(r *rig, dtype tensors.DType, bs, nb, g int) *gruCase {
	k := &gruCase{rig: r, bs: bs, nb: nb, g: g, saved: ops.NewGRUSaved(r.c, bs+1, nb+2, g, dtype)}
	k.gi, k.giIn = r.input(tensors.F32, bs*nb, 3*g)
	k.dStates, k.dStatesIn = r.input(tensors.F32, bs*nb, g)
	k.dWhh, k.dIn = r.input(tensors.F32, 3*g, g)
	weights := r.values(3 * g * g)
	for i := range weights {
		weights[i] /= float32(math.Sqrt(float64(g)))
	}
	k.whh = r.tensor(dtype, 0, 3*g, g)
	k.whhIn = r.fill(k.whh, weights)
	k.dGi, k.dGh = r.tensor(dtype, 0, bs*nb, 3*g), r.tensor(dtype, 0, bs*nb, 3*g)
	return k
}

// states and gates are the rows that a run uses.
func (k *gruCase) states() tensors.Tensor { return k.saved.States.View(k.bs*k.nb, k.g) }
func (k *gruCase) gates() tensors.Tensor  { return k.saved.Gates.View(k.bs*k.nb, 4*k.g) }

func (k *gruCase) run() {
	k.t.Helper()
	k.c.GRU(k.saved, k.gi, tensors.Tensor{}, k.whh, k.bs, k.nb)
	k.backward()
	k.submit()
}

// backward records the backward pass with the gradient of W_hh, which is a GEMM of the caller.
func (k *gruCase) backward() {
	k.c.GRUBackward(k.dGi, k.dGh, k.dStates, k.saved, k.whh, k.bs, k.nb)
	if k.bs > 1 {
		k.c.GemmAdd(ops.TN, k.dWhh, k.dWhh, k.dGh.Slice(k.nb, k.bs*k.nb), k.states().Slice(0, (k.bs-1)*k.nb))
	}
}

// check compares everything with the oracle.
func (k *gruCase) check() {
	k.t.Helper()
	rows := k.bs * k.nb
	tape := oracle.GRU(k.giIn, k.whhIn, k.bs, k.nb, k.g)
	dGi, dGh, dWhh := oracle.GRUBackward(k.dStatesIn, k.whhIn, tape, k.bs, k.nb, k.g)
	gates := make([]float64, 0, rows*4*k.g)
	for row := range rows {
		for _, gate := range [][]float64{tape.R, tape.Z, tape.N, tape.Q} {
			gates = append(gates, gate[row*k.g:(row+1)*k.g]...)
		}
	}
	k.near(k.states(), tape.States, gruForward, "states")
	k.near(k.gates(), gates, gruForward, "gates")
	k.near(k.dGi, dGi, gruBackward, "dGi")
	k.near(k.dGh, dGh, gruBackward, "dGh")
	limit := gruBackward
	if k.whh.DType == tensors.BF16 { // an f32 sum of products of rounded states and gates
		limit = tolerance{f32: gruBackward.bf16, scaled: math.Sqrt(gruBackward.bf16) * 10}
	}
	k.near(k.dWhh, oracle.Add(dWhh, k.dIn), limit, "dWhh")
}

// gruShapes are bs, nb, G.
var gruShapes = [][]int{
	{1, 1, 1}, {2, 1, 4}, {3, 5, 7}, {16, 3, 8}, {8, 17, 16}, {4, 33, 31}, {15, 2, 64}, {2, 65, 63},
	{16, 8, 128}, {7, 1, 257}, {3, 129, 32}, {5, 4, 260},
}

func TestGRU(t *testing.T) {
	for _, dtype := range storages {
		r := newRig(t, 21)
		for _, s := range gruShapes {
			t.Run(fmt.Sprintf("%s/%v", dtype, s), func(t *testing.T) {
				k := newGRUCase(r, dtype, s[0], s[1], s[2])
				k.run()
				k.check()
				r.clear()
			})
		}
	}
}

// TestGRUEmpty checks that no blocks or no steps write nothing.
func TestGRUEmpty(t *testing.T) {
	for _, s := range [][]int{{4, 0, 8}, {0, 4, 8}} {
		k := newGRUCase(newRig(t, 22), tensors.F32, s[0], s[1], s[2])
		k.run()
		require.Equal(t, k.dIn, k.read(k.dWhh))
	}
}

// TestGRUScalar holds case C34 of spec.md §19.A on the device.
func TestGRUScalar(t *testing.T) {
	r := newRig(t, 23)
	saved := ops.NewGRUSaved(r.c, 3, 1, 1, tensors.F32)
	gi, whh := r.tensor(tensors.F32, 0, 3, 3), r.tensor(tensors.F32, 0, 3, 1)
	r.fill(gi, []float32{.5, -.3, .8, 1, -.6, 1.6, -.5, .3, -.8})
	r.fill(whh, []float32{.2, .4, -.6})
	r.c.GRU(saved, gi, tensors.Tensor{}, whh, 3, 1)
	r.submit()
	require.InDeltaSlice(t, []float64{.38145095, .69260926, .17419418}, r.read(saved.States), 1e-7)
	require.InDeltaSlice(t, []float64{
		.62245933, .42555748, .66403677, 0,
		.74579129, .38997445, .89152518, -.6 * .38145095,
		.41060180, .64038688, -.74898187, -.6 * .69260926}, r.read(saved.Gates), 1e-7)
}

// TestGRUSaturates checks that pre-activations far beyond the range of exp give the limits, and
// that the candidate keeps its relative precision down to small values.
func TestGRUSaturates(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, k := range []struct {
		z, n float32
		want float64
	}{
		{-1e30, 1e30, 1}, {-200, -200, -1}, {-inf, inf, 1}, {1e4, 3, 0}, {-1e4, 0, 0}, {-1e4, 1e-6, 1e-6},
		{-1e4, .69, math.Tanh(.69)}, {-1e4, -.71, math.Tanh(-.71)}, {-1e4, 2, math.Tanh(2)},
	} {
		r := newRig(t, 24)
		saved := ops.NewGRUSaved(r.c, 1, 1, 1, tensors.F32)
		gi, whh := r.tensor(tensors.F32, 0, 1, 3), r.tensor(tensors.F32, 0, 3, 1)
		r.fill(gi, []float32{0, k.z, k.n})
		r.fill(whh, []float32{1, 1, 1})
		r.c.GRU(saved, gi, tensors.Tensor{}, whh, 1, 1)
		r.submit()
		require.InDelta(t, k.want, r.read(saved.States)[0], 3e-7*math.Abs(k.want), "n = %g", k.n)
	}
}

// TestGRUBlocksStayApart puts a NaN into one block's first step: it reaches that block's later
// steps, and every other block keeps its bits.
func TestGRUBlocksStayApart(t *testing.T) {
	const bs, nb, g, hit, unit = 4, 5, 8, 2, 3
	k := newGRUCase(newRig(t, 25), tensors.F32, bs, nb, g)
	k.run()
	states, dGi := k.read(k.states()), k.read(k.dGi)
	values := k.floats(k.gi)
	values[hit*3*g+g+unit] = float32(math.NaN()) // an update gate
	k.fill(k.gi, values)
	k.run()
	hitStates, hitGi := k.read(k.states()), k.read(k.dGi)
	for row := range bs * nb {
		lo, hi := row*g, (row+1)*g
		if row%nb != hit {
			require.Equal(t, states[lo:hi], hitStates[lo:hi], "row %d", row)
			require.Equal(t, dGi[3*lo:3*hi], hitGi[3*lo:3*hi], "row %d", row)
			continue
		}
		for i := range g {
			require.Equal(t, row >= nb || i == unit, math.IsNaN(hitStates[lo+i]), "row %d unit %d", row, i)
		}
	}
}

// TestGRURepeats runs one scan ten times from the same inputs: the same bits.
func TestGRURepeats(t *testing.T) {
	k := newGRUCase(newRig(t, 26), tensors.BF16, 6, 9, 16)
	start, err := k.c.Download(k.dWhh)
	require.NoError(t, err)
	var first []byte
	for range 10 {
		k.c.Upload(k.dWhh, start)
		k.run()
		var all []byte
		for _, x := range []tensors.Tensor{k.states(), k.gates(), k.dGi, k.dGh, k.dWhh} {
			data, err := k.c.Download(x)
			require.NoError(t, err)
			all = append(all, data...)
		}
		if first == nil {
			first = all
		}
		require.Equal(t, first, all)
	}
}

func TestGRURefuses(t *testing.T) {
	k := newGRUCase(newRig(t, 27), tensors.F32, 2, 3, 4)
	c := k.c
	c.GRU(k.saved, k.gi, tensors.Tensor{}, k.gi, 2, 3)
	require.ErrorContains(t, c.Submit(), "ops: gru: whh: want [12 4], got [6 12]")
	c.GRU(k.saved, k.gi, tensors.Tensor{}, k.whh, 9, 3)
	require.ErrorContains(t, c.Submit(), "ops: gru: saved: want room for 9 steps of 3 blocks, got 15 rows for 5 blocks")
	c.GRUBackward(k.dGi, k.dGh, k.dGh, k.saved, k.whh, 2, 3)
	require.ErrorContains(t, c.Submit(), "ops: gru backward: dStates: want [6 4], got [6 12]")
	c.GRUBackward(k.dGi, c.Alloc("d", tensors.BF16, 6, 12), k.dStates, k.saved, k.whh, 2, 3)
	require.ErrorContains(t, c.Submit(), "ops: gru backward: d: want dtype F32, got BF16")
}

// TestGRUPlan checks that a dry context counts the memory and runs nothing.
func TestGRUPlan(t *testing.T) {
	c := ops.NewDry()
	saved := ops.NewGRUSaved(c, 8, 16, 64, tensors.BF16)
	_, total := c.Plan()
	require.EqualValues(t, 8*16*64*2*5+16*64*4*4, total)
	c.GRU(saved, c.Alloc("gi", tensors.F32, 128, 192), tensors.Tensor{}, c.Alloc("whh", tensors.BF16, 192, 64), 8, 16)
	require.NoError(t, c.Submit())
}

func BenchmarkGRU(b *testing.B) {
	for _, dtype := range storages {
		for _, s := range [][]int{{8, 32, 64}, {8, 128, 128}} {
			k := newGRUCase(newRig(b, 28), dtype, s[0], s[1], s[2])
			c := k.c
			b.Run(fmt.Sprintf("%s/%v/forward", dtype, s), func(b *testing.B) {
				for b.Loop() {
					c.GRU(k.saved, k.gi, tensors.Tensor{}, k.whh, k.bs, k.nb)
					require.NoError(b, c.Submit())
				}
			})
			b.Run(fmt.Sprintf("%s/%v/backward", dtype, s), func(b *testing.B) {
				for b.Loop() {
					k.backward()
					require.NoError(b, c.Submit())
				}
			})
		}
	}
}
