package oracle

import (
	"testing"

	"github.com/go-gl/mathgl/mgl64"
	"github.com/stretchr/testify/require"
)

// transpose returns x, [rows, cols], as [cols, rows]. mgl64 stores columns, so a row-major matrix
// reads there as its transpose.
func transpose(x []float64, rows, cols int) []float64 {
	out := make([]float64, 0, len(x))
	for c := range cols {
		for r := range rows {
			out = append(out, x[r*cols+c])
		}
	}
	return out
}

func TestGEMMAgainstMgl64At3x3(t *testing.T) {
	x, y := random(1, 9), random(2, 9)
	a, b := mgl64.Mat3(transpose(x, 3, 3)), mgl64.Mat3(transpose(y, 3, 3))
	want := func(m mgl64.Mat3) []float64 { return transpose(m[:], 3, 3) }
	near(t, want(a.Mul3(b)), GEMMNN(x, y, 3, 3, 3, nil), 1e-15)
	near(t, want(a.Mul3(b.Transpose())), GEMMNT(x, y, 3, 3, 3, nil), 1e-15)
	near(t, want(a.Transpose().Mul3(b)), GEMMTN(x, y, 3, 3, 3, nil), 1e-15)
	near(t, want(a.Mul3(b).Add(b)), GEMMNN(x, y, 3, 3, 3, y), 1e-14)
}

func TestGEMMAgainstMgl64At4x4(t *testing.T) {
	x, y := random(3, 16), random(4, 16)
	a, b := mgl64.Mat4(transpose(x, 4, 4)), mgl64.Mat4(transpose(y, 4, 4))
	want := func(m mgl64.Mat4) []float64 { return transpose(m[:], 4, 4) }
	near(t, want(a.Mul4(b)), GEMMNN(x, y, 4, 4, 4, nil), 1e-14)
	near(t, want(a.Mul4(b.Transpose())), GEMMNT(x, y, 4, 4, 4, nil), 1e-14)
	near(t, want(a.Transpose().Mul4(b)), GEMMTN(x, y, 4, 4, 4, nil), 1e-14)
	near(t, want(a.Transpose().Mul4(b).Add(a)), GEMMTN(x, y, 4, 4, 4, x), 1e-14)
}

// TestGEMMFormsAgree checks that the three forms are one product, on rectangles too.
func TestGEMMFormsAgree(t *testing.T) {
	for _, s := range [][3]int{{0, 3, 2}, {3, 0, 2}, {2, 3, 0}, {1, 1, 1}, {2, 5, 3}, {7, 1, 8}, {4, 6, 1}} {
		m, n, k := s[0], s[1], s[2]
		a, b, acc := random(5, m*k), random(6, k*n), random(7, m*n)
		want := GEMMNN(a, b, m, n, k, acc)
		near(t, want, GEMMNT(a, transpose(b, k, n), m, n, k, acc), 1e-13)
		near(t, want, GEMMTN(transpose(a, m, k), b, m, n, k, acc), 1e-13)
		require.Len(t, want, m*n)
	}
}

// TestGEMMGradients checks a linear layer: out = in·weightᵀ, dIn by GEMMNN, dWeight by GEMMTN.
func TestGEMMGradients(t *testing.T) {
	shapes := [][]int{{1, 1, 1}, {2, 3, 4}, {3, 2, 1}, {4, 4, 4}, {1, 5, 3}, {5, 1, 2}, {7, 3, 2}, {2, 8, 7}}
	eachShape(t, shapes, func(t *testing.T, s []int, seed uint64) {
		m, n, k := s[0], s[1], s[2]
		in, weight, dOut := random(seed, m*k), random(seed+1, n*k), random(seed+2, m*n)
		loss := func() float64 { return dot(dOut, GEMMNT(in, weight, m, n, k, nil)) }
		gradCheck(t, "in", in, GEMMNN(dOut, weight, m, k, n, nil), loss)
		gradCheck(t, "weight", weight, GEMMTN(dOut, in, n, k, m, nil), loss)
	})
}
