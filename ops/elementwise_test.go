package ops_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestAdd(t *testing.T) {
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for i, s := range oracle.Sweep(2, 9, 40, 1<<16) {
				a, av := r.input(dt, s...)
				b, bv := r.input(dt, s...)
				result := []tensors.Tensor{r.tensor(dt, 0, s...), a, b}[i%3]
				r.c.Add(result, a, b)
				r.submit()
				r.near(result, oracle.Add(av, bv), elementwise, s)
				r.clear()
			}
		})
	}
}

// TestCastEveryBF16 takes all 65,536 bfloat16 values to f32 and back; of a NaN, tensors' rounding sets the quiet bit.
func TestCastEveryBF16(t *testing.T) {
	r := newRig(t, 2)
	const n = 1 << 16
	all := make([]byte, 2*n)
	for i := range n {
		binary.LittleEndian.PutUint16(all[2*i:], uint16(i))
	}
	a, wide, b := r.tensor(tensors.BF16, 0, n), r.tensor(tensors.F32, 0, n), r.tensor(tensors.BF16, 0, n)
	r.c.Upload(a, all)
	r.c.Cast(wide, a)
	r.c.Cast(b, wide)
	r.submit()
	f32, err := r.c.Download(wide)
	require.NoError(t, err)
	bf16, err := r.c.Download(b)
	require.NoError(t, err)
	for i := range n {
		require.Equal(t, uint32(i)<<16, binary.LittleEndian.Uint32(f32[4*i:]), "f32 of %#04x", i)
		want := tensors.BF16FromF32(math.Float32frombits(uint32(i) << 16))
		require.Equal(t, want, binary.LittleEndian.Uint16(bf16[2*i:]), "back from %#04x", i)
	}
}

// TestCastRounds holds ties, and both sides of them, of every exponent and both signs.
func TestCastRounds(t *testing.T) {
	r := newRig(t, 3)
	var values []float32
	for high := uint32(0); high < 1<<16; high += 61 {
		for _, low := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			values = append(values, math.Float32frombits(high<<16|low))
		}
	}
	for _, skip := range []int{0, 1} {
		a, b := r.tensor(tensors.F32, skip, len(values)), r.tensor(tensors.BF16, skip, len(values))
		r.c.UploadF32(a, values)
		r.c.Cast(b, a)
		r.submit()
		got, err := r.c.Download(b)
		require.NoError(t, err)
		require.Equal(t, tensors.BF16Bytes(values), got)
	}
}

func TestCastEqualDTypesCopies(t *testing.T) {
	r := newRig(t, 4)
	for _, dt := range storages {
		a, v := r.input(dt, 30, 2)
		b := r.tensor(dt, 0, 60)
		r.c.Cast(b, a)
		r.submit()
		r.near(b, v, exact)
	}
}

func TestElementwiseErrors(t *testing.T) {
	r := newRig(t, 5)
	a, i := r.tensor(tensors.F32, 0, 4), r.tensor(tensors.I32, 0, 4)
	r.c.Add(a, a, a.View(3))
	require.ErrorContains(t, r.c.Submit(), "ops: add: tensor: want [4] F32, got [3] F32")
	r.c.Cast(a, i)
	require.ErrorContains(t, r.c.Submit(), "ops: cast: tensor: want dtype F32 or BF16, got I32")
	r.c.Cast(a, a.View(3))
	require.ErrorContains(t, r.c.Submit(), "ops: cast: tensor: want [4], got [3]")
}
