package ops_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/tensors"
)

func TestGemmSmoke(t *testing.T) {
	c := testgpu.Context(t)
	for _, layout := range []ops.Layout{ops.NT, ops.NN, ops.TN} {
		for _, dt := range []tensors.DType{tensors.F32, tensors.BF16} {
			for _, s := range [][3]int{{64, 64, 64}, {33, 17, 7}, {1, 1, 1}, {128, 96, 1000}, {5, 1008, 128}, {40, 24, 600}} {
				m, n, k := s[0], s[1], s[2]
				r := rand.New(rand.NewPCG(1, 2))
				shapeA, shapeB := []int{m, k}, []int{n, k}
				if layout != ops.NT {
					shapeB = []int{k, n}
				}
				if layout == ops.TN {
					shapeA = []int{k, m}
				}
				A, B := c.Alloc("A", dt, shapeA...), c.Alloc("B", dt, shapeB...)
				C := c.Alloc("C", tensors.F32, m, n)
				av, bv := make([]float32, m*k), make([]float32, n*k)
				for i := range av {
					av[i] = float32(r.NormFloat64())
				}
				for i := range bv {
					bv[i] = float32(r.NormFloat64())
				}
				c.UploadF32(A, av)
				c.UploadF32(B, bv)
				av, _ = c.Float32s(A)
				bv, _ = c.Float32s(B)
				c.Gemm(layout, C, A, B)
				require.NoError(t, c.Submit())
				got, err := c.Float32s(C)
				require.NoError(t, err)
				want := make([]float64, m*n)
				for i := range m {
					for j := range n {
						var sum float64
						for q := range k {
							var a, b float64
							switch layout {
							case ops.NT:
								a, b = float64(av[i*k+q]), float64(bv[j*k+q])
							case ops.NN:
								a, b = float64(av[i*k+q]), float64(bv[q*n+j])
							case ops.TN:
								a, b = float64(av[q*m+i]), float64(bv[q*n+j])
							}
							sum += a * b
						}
						want[i*n+j] = sum
					}
				}
				var e, w float64
				for i := range want {
					e += (float64(got[i]) - want[i]) * (float64(got[i]) - want[i])
					w += want[i] * want[i]
				}
				require.Less(t, e/w, 1e-12, fmt.Sprint(layout, dt, s))
			}
		}
	}
}

func BenchmarkGemm(b *testing.B) {
	c := testgpu.Context(b)
	const n = 512
	for _, layout := range []ops.Layout{ops.NT, ops.NN, ops.TN} {
		for _, dt := range []tensors.DType{tensors.BF16, tensors.F32} {
			b.Run(fmt.Sprintf("%v/%s/512", layout, dt), func(b *testing.B) {
				A, B := c.Alloc("A", dt, n, n), c.Alloc("B", dt, n, n)
				C := c.Alloc("C", tensors.F32, n, n)
				c.Zero(A)
				c.Zero(B)
				require.NoError(b, c.Submit())
				for b.Loop() {
					c.Gemm(layout, C, A, B)
					require.NoError(b, c.Submit())
				}
				b.ReportMetric(2*n*n*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "GF/s-wall")
			})
		}
	}
}
