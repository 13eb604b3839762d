package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// relativeBF16 is the largest relative error of a gradient in bf16, half a unit in the last of its 8 bits and the
// error of exp; relativeF32 the same without the rounding.
const (
	relativeBF16 = 1.02 / 256
	relativeF32  = 2e-5
)

// TestLogitGradientsKeepSmallEntries: bf16 has the exponents of f32, so each entry of the gradients is as exact as the
// largest, down to probabilities of 1e-28 times coefficients of 1e-6; they need no scale.
func TestLogitGradientsKeepSmallEntries(t *testing.T) {
	for _, dtype := range storages {
		k := newCECase(newRig(t, 31), 9, 65, true, 0, 0.5, 1)
		for i := range k.base {
			k.base[i], k.final[i] = float32(-64*k.random.Float64()), float32(-64*k.random.Float64())
		}
		for i := range k.coef {
			k.coef[i] *= 1e-6
			k.base[i*k.vocab], k.final[i*k.vocab] = 0, 0
		}
		k.run(dtype, 33)
		gFinal, _, gSum := oracle.CrossEntropyDualBackward(widen(k.base), widen(k.final), k.targets(), widen(k.coef), k.lambda, k.rows, k.vocab)
		limit, least := relativeBF16, math.Inf(1)
		if dtype == tensors.F32 {
			limit = relativeF32
		}
		for _, c := range []struct{ got, want []float64 }{{k.gFinal, gFinal}, {k.gSum, gSum}} {
			for i, want := range c.want {
				if i%k.vocab == 0 || i%k.vocab == k.label[i/k.vocab] {
					continue // of a probability near 1 the difference from the label counts
				}
				require.InEpsilon(t, want, c.got[i], limit, "%s %d", dtype, i)
				least = min(least, math.Abs(want))
			}
		}
		require.Less(t, least, 1e-33)
	}
}

// TestGemmKeepsSmallRows: a row of a product has the exactness of its own magnitude, whatever that of other rows is, as
// the gradient of a weight wants of rare tokens. On matrices of f16 that ends where ops.Context.Gemm says.
func TestGemmKeepsSmallRows(t *testing.T) {
	r := newRig(t, 32)
	const m, n, k = 24, 40, 72
	f16 := r.c.Device.Tier() >= vk.T2 && !r.c.Device.BF16Matrices()
	for _, l := range gemmLayouts {
		shapeA, shapeB := l.operands(m, n, k)
		values := r.values(m * k)
		exponent := func(row int) int { return -4 * row } // 1 to 2^-92
		for i := range values {
			row := i / k
			if l.layout == ops.TN {
				row = i % m
			}
			values[i] *= float32(math.Ldexp(1, exponent(row)))
		}
		a := r.tensor(tensors.BF16, 0, shapeA...)
		av := r.fill(a, values)
		b, bv := r.input(tensors.BF16, shapeB...)
		c := r.tensor(tensors.F32, 0, m, n)
		r.c.Gemm(l.layout, c, a, b)
		r.submit()
		got, want := r.floats(c), l.oracle(av, bv, m, n, k, nil)
		for i := range m {
			limit := matmul.f32
			if f16 && exponent(i) < -20 {
				limit = 1 // its small elements keep fewer bits, then none
			}
			nmse, _ := oracle.Compare(got[i*n:(i+1)*n], want[i*n:(i+1)*n])
			require.LessOrEqual(t, nmse, limit, "%s row %d", l.name, i)
		}
	}
}
