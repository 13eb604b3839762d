package oracle

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// dualLoss is Σ_i c_i*((1-lambda)*L_F + lambda*L_B).
func dualLoss(base, final []float64, t Targets, c []float64, lambda float64, rows, v int) float64 {
	b, f := CrossEntropyDual(base, final, t, rows, v)
	sum := 0.0
	for i := range rows {
		sum += c[i] * ((1-lambda)*f.Loss[i] + lambda*b.Loss[i])
	}
	return sum
}

// TestDualConformance holds case C35 of spec.md §19.A.
func TestDualConformance(t *testing.T) {
	base, final := []float64{1, 0, -1}, []float64{0, 2, 1}
	target, c := Targets{Labels: []int{1}}, []float64{.5}
	near(t, []float64{.66524096, .24472847, .09003057}, Softmax(base), 5e-9)
	near(t, []float64{.09003057, .66524096, .24472847}, Softmax(final), 5e-9)
	gF, gB, gSum := CrossEntropyDualBackward(base, final, target, c, .25, 1, 3)
	near(t, []float64{.03376146, -.12553464, .09177318}, gF, 5e-9)
	near(t, []float64{.08315512, -.09440894, .01125382}, gB, 5e-9)
	near(t, []float64{.11691658, -.21994358, .10302700}, gSum, 5e-9)
	require.InDelta(t, .32880298, dualLoss(base, final, target, c, .25, 1, 3), 5e-9)
}

// TestUniformLogits holds case C27: CE = ln V, whatever lambda.
func TestUniformLogits(t *testing.T) {
	for _, c := range []struct {
		v    int
		want float64
	}{{151936, 11.9312147}, {32, 3.4657359}} {
		x := make([]float64, c.v)
		target := Targets{Labels: []int{c.v - 1}}
		s := CrossEntropy(x, target, 1, c.v)
		require.InDelta(t, c.want, s.CE[0], 5e-8)
		require.InDelta(t, c.want, s.LSE[0], 5e-8)
		require.Equal(t, 0, s.Argmax[0])
		for _, lambda := range []float64{0, .5, 1} {
			require.InDelta(t, s.CE[0], dualLoss(x, x, target, []float64{1}, lambda, 1, c.v), 1e-12)
		}
	}
}

// TestLambdaEnds checks that lambda 1 leaves the correction without any gradient, and lambda 0
// the base stream, exactly.
func TestLambdaEnds(t *testing.T) {
	const rows, v = 2, 5
	base, final := random(1, rows*v), random(2, rows*v)
	target, c := Targets{Labels: []int{4, 0}}, []float64{.3, .7}
	gF, gB, gSum := CrossEntropyDualBackward(base, final, target, c, 1, rows, v)
	require.Equal(t, make([]float64, rows*v), absolute(gF))
	require.Equal(t, gB, gSum)
	gF, gB, gSum = CrossEntropyDualBackward(base, final, target, c, 0, rows, v)
	require.Equal(t, make([]float64, rows*v), absolute(gB))
	require.Equal(t, gF, gSum)
}

// absolute removes signs, so that -0 counts as 0.
func absolute(x []float64) []float64 {
	out := make([]float64, len(x))
	for i := range x {
		out[i] = math.Abs(x[i])
	}
	return out
}

// TestDistillation checks the soft label: with weight 1 and the teacher's own logits as the
// stream, the loss is the teacher's entropy and the gradient 0; a weight between interpolates.
func TestDistillation(t *testing.T) {
	const v = 6
	x, teacher := random(1, v), random(2, v)
	hard := Targets{Labels: []int{3}}
	full := Targets{Labels: []int{3}, Teacher: teacher, Weight: 1}
	half := Targets{Labels: []int{3}, Teacher: teacher, Weight: .5}
	p := Softmax(teacher)
	entropy := 0.0
	for i := range p {
		entropy -= p[i] * math.Log(p[i])
	}
	require.InDelta(t, entropy, CrossEntropy(teacher, full, 1, v).Loss[0], 1e-14)
	_, g, _ := CrossEntropyDualBackward(teacher, teacher, full, []float64{1}, 1, 1, v)
	near(t, make([]float64, v), g, 1e-15)

	a, b, c := CrossEntropy(x, hard, 1, v), CrossEntropy(x, full, 1, v), CrossEntropy(x, half, 1, v)
	require.Equal(t, a.CE, a.Loss)
	require.Equal(t, a.CE, b.CE)
	require.InDelta(t, (a.Loss[0]+b.Loss[0])/2, c.Loss[0], 1e-14)
}

func TestCrossEntropyGradients(t *testing.T) {
	// rows, V, lambda and distillation weight in percent
	shapes := [][]int{
		{1, 1, 0, 0}, {1, 2, 100, 0}, {2, 3, 25, 0}, {3, 7, 50, 0}, {2, 5, 0, 50}, {4, 3, 100, 100},
		{3, 8, 70, 30}, {1, 33, 10, 5}, {5, 2, 35, 100},
	}
	eachShape(t, shapes, func(t *testing.T, s []int, seed uint64) {
		rows, v, lambda := s[0], s[1], float64(s[2])/100
		target := Targets{Labels: randomInts(seed, rows, v), Teacher: random(seed+1, rows*v), Weight: float64(s[3]) / 100}
		base, delta, c := random(seed+2, rows*v), random(seed+3, rows*v), absolute(random(seed+4, rows))
		final := func() []float64 { return Add(base, delta) }
		loss := func() float64 { return dualLoss(base, final(), target, c, lambda, rows, v) }
		gF, _, gSum := CrossEntropyDualBackward(base, final(), target, c, lambda, rows, v)
		gradCheck(t, "delta", delta, gF, loss)
		gradCheck(t, "base", base, gSum, loss)
		for i := range rows {
			require.InDelta(t, 0, total(gF[i*v:(i+1)*v]), 1e-14, "each row of gFinal sums to 0")
			require.InDelta(t, 0, total(gSum[i*v:(i+1)*v]), 1e-14, "each row of gSum sums to 0")
		}
	})
}

// total is the sum of all elements.
func total(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum
}
