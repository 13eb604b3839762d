package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// C39 of spec.md §19.A.
func TestRopeInvFreq(t *testing.T) {
	f := RopeInvFreq(128, 1e6)
	require.Len(t, f, 64)
	require.Equal(t, float32(1), f[0])
	require.InDelta(t, 0.80584219, f[1], 3e-8)
	require.InDelta(t, 1.24093776e-6, f[63], 1e-13)
	f = RopeInvFreq(128, 1e4)
	require.InDelta(t, 0.86596432, f[1], 4e-8)
	require.InDelta(t, 1.15478198e-4, f[63], 1e-11)
}

// C38: rotate-half with the tables of position 3.
func TestRopeTablesRotate(t *testing.T) {
	const hd, pos = 4, 3
	cos, sin := RopeTables(pos+1, hd, 1e4)
	require.Len(t, cos, (pos+1)*hd/2)
	x, want := []float64{1, 2, 3, 4}, []float64{-1.413353, 1.879118, -2.828857, 4.058191}
	for i := range hd / 2 {
		c, s := float64(cos[pos*hd/2+i]), float64(sin[pos*hd/2+i])
		require.InDelta(t, want[i], x[i]*c-x[i+hd/2]*s, 1e-6)
		require.InDelta(t, want[i+hd/2], x[i+hd/2]*c+x[i]*s, 1e-6)
	}
}

// The angle is a float32 product: at position 40000 its rounding is visible.
func TestRopeTablesAngleIsFloat32(t *testing.T) {
	const hd, pos = 128, 40000
	cos, sin := RopeTables(pos+1, hd, 1e6)
	f := RopeInvFreq(hd, 1e6)
	exact := 0
	for i := range hd / 2 {
		angle := float32(pos) * f[i]
		require.Equal(t, float32(math.Cos(float64(angle))), cos[pos*hd/2+i])
		require.Equal(t, float32(math.Sin(float64(angle))), sin[pos*hd/2+i])
		if float32(math.Cos(pos*math.Pow(1e6, -2*float64(i)/hd))) == cos[pos*hd/2+i] {
			exact++
		}
	}
	require.Less(t, exact, hd/2)
	require.Equal(t, float32(1), cos[0])
	require.Equal(t, float32(0), sin[0])
}

func TestRopeTablesEmpty(t *testing.T) {
	for _, n := range []int{0, -1} {
		cos, sin := RopeTables(n, 8, 1e4)
		require.Empty(t, cos)
		require.Empty(t, sin)
	}
	cos, _ := RopeTables(4, 0, 1e4)
	require.Empty(t, cos)
}
