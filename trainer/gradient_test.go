package trainer

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
)

// The gradient of the whole model against central differences of
// its loss along random directions, tensor by tensor and over all of them.
//
// A direction is half the gradient and half noise of the same length, so that its derivative
// is about ‖g‖/sqrt(2). The step is chosen so that the loss moves by about 1e-2: its float32
// rounding of some 1e-7 then costs 1e-5, and the neglected third derivative is of order 1e-4.
func TestGradientsMatchCentralDifferences(t *testing.T) {
	const tolerance = 2e-3
	for _, c := range []struct {
		name     string
		lambda   float64
		edit     func(*EngineConfig)
		each     int // directions for each tensor
		together int // directions over all tensors
	}{
		{"domino", 0.3, func(*EngineConfig) {}, 3, 16},
		{"domino with distillation", 0.3, func(c *EngineConfig) { c.Distill, c.Loss.Distill = 0.5, true }, 0, 4},
		{"domino with a window", 0, func(c *EngineConfig) { c.Draft.SWAWindow = 5 }, 0, 4},
		{"plain DFlash", 0, plainDFlash, 0, 4},
		{"heads of another width than the target's", 0.3, func(c *EngineConfig) { c.Draft.HeadDim = 10 }, 0, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, weights := newSmall(t, smallConfig(c.edit))
			k := &gradientCheck{t: t, e: e, weights: weights, lambda: c.lambda, random: rand.New(rand.NewPCG(7, 8))}
			_, k.grads = gradientsOf(t, e, c.lambda, smallBatch())
			for _, p := range domino.Params(e.Config.Draft) {
				for range c.each {
					got, want := k.direction(p.Name)
					require.InEpsilon(t, want, got, tolerance, p.Name)
				}
			}
			for range c.together {
				got, want := k.direction(k.names()...)
				require.InEpsilon(t, want, got, tolerance)
			}
		})
	}
}

// plainDFlash makes a configuration of a draft without a head.
func plainDFlash(c *EngineConfig) {
	c.Draft.Domino, c.Loss.Domino, c.Labels.ShiftLabel, c.Labels.SuffixStart = false, false, false, c.Draft.BlockSize
}

type gradientCheck struct {
	t       *testing.T
	e       *Engine
	weights map[string][]float32
	grads   map[string][]float32
	lambda  float64
	random  *rand.Rand
}

func (k *gradientCheck) names() []string {
	var names []string
	for _, p := range domino.Params(k.e.Config.Draft) {
		names = append(names, p.Name)
	}
	return names
}

// direction draws a direction over some tensors and returns the derivative of the loss along
// it, by the gradient and by a central difference.
func (k *gradientCheck) direction(names ...string) (byGradient, byDifference float64) {
	k.t.Helper()
	length, count := 0.0, 0
	for _, name := range names {
		length += math.Pow(norm(k.grads[name]), 2)
		count += len(k.grads[name])
	}
	length = math.Sqrt(length)
	require.NotZero(k.t, length)
	step := math.Min(2e-2, 1e-2/length)
	dir := map[string][]float64{}
	for _, name := range names {
		for i, g := range k.grads[name] {
			d := (float64(g)/length + k.random.NormFloat64()/math.Sqrt(float64(count))) / math.Sqrt2
			// What counts is the difference of the two points as float32 has them.
			lo, hi := float32(float64(k.weights[name][i])-step*d), float32(float64(k.weights[name][i])+step*d)
			d = (float64(hi) - float64(lo)) / (2 * step)
			dir[name] = append(dir[name], d)
			byGradient += float64(g) * d
		}
	}
	return byGradient, (k.lossAt(dir, step) - k.lossAt(dir, -step)) / (2 * step)
}

// lossAt is the loss at weights + step * dir.
func (k *gradientCheck) lossAt(dir map[string][]float64, step float64) float64 {
	k.t.Helper()
	for name, d := range dir {
		moved := make([]float32, len(d))
		for i := range d {
			moved[i] = float32(float64(k.weights[name][i]) + step*d[i])
		}
		require.NoError(k.t, k.e.SetDraft(name, moved))
	}
	out, err := k.e.Gradients([]MicroBatch{smallBatch()}, k.lambda)
	require.NoError(k.t, err)
	for name := range dir {
		require.NoError(k.t, k.e.SetDraft(name, k.weights[name]))
	}
	return out.Metrics.Loss
}
