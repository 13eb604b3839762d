package oracle

import (
	"math"
	"testing"

	"github.com/go-gl/mathgl/mgl64"
	"github.com/stretchr/testify/require"
)

// TestRoPEConformance holds cases C38 and C39 of spec.md §19.A.
func TestRoPEConformance(t *testing.T) {
	cos, sin := RoPETable(4, 4, 1e4)
	out := RoPE([]float64{1, 2, 3, 4}, cos, sin, []int{3}, 1, 1, 4)
	near(t, []float64{-1.413353, 1.879118, -2.828857, 4.058191}, out, 1e-6)

	for _, c := range []struct{ theta, second, last float64 }{
		{1e6, .80584219, 1.24093776e-6},
		{1e4, .86596432, 1.15478198e-4},
	} {
		inv := InvFreq(128, c.theta)
		require.Len(t, inv, 64)
		require.Equal(t, 1.0, inv[0])
		require.InEpsilon(t, c.second, inv[1], 1e-7)
		require.InEpsilon(t, c.last, inv[63], 1e-7)
	}
}

// TestRoPEAgainstMgl64 checks one pair per head (hd = 2) against a rotation of the plane.
func TestRoPEAgainstMgl64(t *testing.T) {
	const rows, heads = 5, 3
	cos, sin := RoPETable(40, 2, 1e6)
	pos := []int{0, 1, 7, 31, 39}
	in := random(1, rows*heads*2)
	out := RoPE(in, cos, sin, pos, rows, heads, 2)
	for i := range rows * heads {
		angle := float64(pos[i/heads]) // inv_freq is 1 for hd = 2
		want := mgl64.Rotate2D(angle).Mul2x1(mgl64.Vec2{in[2*i], in[2*i+1]})
		near(t, want[:], out[2*i:2*i+2], 1e-14)
	}
}

// TestRoPETable checks that the angle is rounded to float32 before its cosine is taken.
func TestRoPETable(t *testing.T) {
	cos, sin := RoPETable(40960, 128, 1e6)
	require.Len(t, cos, 40960*64)
	at := 40959*64 + 1
	angle := float64(float32(40959) * float32(InvFreq(128, 1e6)[1]))
	require.Equal(t, math.Cos(angle), cos[at])
	require.Equal(t, math.Sin(angle), sin[at])
	require.NotEqual(t, math.Cos(40959*InvFreq(128, 1e6)[1]), cos[at])
}

func TestRoPEGradients(t *testing.T) {
	shapes := [][]int{{1, 1, 2}, {2, 1, 4}, {1, 3, 2}, {3, 2, 6}, {4, 1, 8}, {2, 2, 2}, {5, 3, 4}, {1, 1, 16}}
	eachShape(t, shapes, func(t *testing.T, s []int, seed uint64) {
		n, heads, hd := s[0], s[1], s[2]
		cos, sin := RoPETable(32, hd, 100)
		pos := randomInts(seed, n, 32)
		in, dOut := random(seed, n*heads*hd), random(seed+1, n*heads*hd)
		loss := func() float64 { return dot(dOut, RoPE(in, cos, sin, pos, n, heads, hd)) }
		gradCheck(t, "in", in, RoPEBackward(dOut, cos, sin, pos, n, heads, hd), loss)
	})
}

// TestRoPEBackwardInverts checks that the backward of a rotation undoes it.
func TestRoPEBackwardInverts(t *testing.T) {
	cos, sin := RoPETable(64, 8, 1e4)
	pos := randomInts(3, 6, 64)
	in := random(4, 6*2*8)
	out := RoPE(in, cos, sin, pos, 6, 2, 8)
	near(t, in, RoPEBackward(out, cos, sin, pos, 6, 2, 8), 1e-14)
}
