package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// probabilities pays for exp, 2.6e-6 at 20 below the largest logit, on the largest of a peaked
// row, which is up to sqrt(4096) times the rms that errors are scaled by.
var probabilities = tolerance{1e-11, 0, 1.7e-4}

var filters = []ops.Filter{
	{Temperature: 0}, {Temperature: 1}, {Temperature: 0.7}, {Temperature: 1, TopK: 1}, {Temperature: 1.3, TopK: 5},
	{Temperature: 1, TopP: 0.9}, {Temperature: 2, TopP: 0.3}, {Temperature: 0.9, TopK: 50, TopP: 0.95}, {Temperature: 1, TopK: 1 << 20, TopP: 1},
}

func asOracle(f ops.Filter) oracle.Filter {
	return oracle.Filter{Temperature: f.Temperature, TopK: f.TopK, TopP: f.TopP}
}

func TestSamplingProbs(t *testing.T) {
	r := newRig(t, 1)
	for i, cols := range []int{1, 2, 7, 8, 33, 64, 257, 1000, 1008, 4096} {
		for k, f := range filters {
			n := 1 + (i+k)%3
			x := r.tensor(tensors.F32, 0, n, cols)
			values := r.values(n * cols)
			for j := range values {
				values[j] *= 3
				if k%2 == 1 { // ties: equal logits, of which top-k and top-p take the first
					values[j] = float32(math.Round(float64(values[j])))
				}
			}
			v := r.fill(x, values)
			p := r.tensor(tensors.F32, 0, n, cols)
			r.c.SamplingProbs(p, x, f)
			r.c.SamplingProbs(x, x, f)
			r.submit()
			var want []float64
			for _, row := range rowsOf(v, cols) {
				want = append(want, oracle.SamplingProbs(row, asOracle(f))...)
			}
			r.near(p, want, probabilities, "%d columns, %+v", cols, f)
			require.Equal(t, r.floats(p), r.floats(x), "in place")
			r.clear()
		}
	}
}

func TestSamplingProbsValues(t *testing.T) {
	inf := float32(math.Inf(-1))
	for _, c := range []struct {
		x    []float32
		f    ops.Filter
		want []float64
	}{
		{[]float32{inf, 2, inf, 2}, ops.Filter{Temperature: 1}, []float64{0, 0.5, 0, 0.5}},
		{[]float32{inf, 2, inf, 2}, ops.Filter{}, []float64{0, 1, 0, 0}},
		{[]float32{0, float32(math.Copysign(0, -1)), 0, -90}, ops.Filter{Temperature: 1, TopK: 2}, []float64{0.5, 0.5, 0, 0}},
		{[]float32{1e30, -1e30, 0, 1e30}, ops.Filter{Temperature: 0.5, TopP: 0.6}, []float64{0.5, 0, 0, 0.5}},
		{[]float32{-5, -5, -5, -5}, ops.Filter{Temperature: 1, TopP: 0.5}, []float64{0.5, 0.5, 0, 0}},
		{[]float32{1, 3, 3, 2}, ops.Filter{Temperature: 1, TopP: 1e-20}, []float64{0, 1, 0, 0}},
		{[]float32{1, 3, 3, 2}, ops.Filter{Temperature: 1, TopP: 1e-40}, []float64{0, 1, 0, 0}}, // subnormal as a float32
		{[]float32{1, 3, 3, 2}, ops.Filter{Temperature: 1, TopP: 1e-300}, []float64{0, 1, 0, 0}},
	} {
		r := newRig(t, 1)
		x := r.tensor(tensors.F32, 0, 1, len(c.x))
		r.fill(x, c.x)
		r.c.SamplingProbs(x, x, c.f)
		r.submit()
		require.InDeltaSlice(t, c.want, r.read(x), 1e-6, c)
	}
}

func TestSampleIndex(t *testing.T) {
	r := newRig(t, 2)
	for _, cols := range []int{1, 2, 7, 8, 31, 64, 129, 1008, 4099} {
		const n = 40
		p := r.tensor(tensors.F32, 0, n, cols)
		logits := rowsOf(widen(r.values(n*cols)), cols)
		var all []float64
		for i, row := range logits {
			all = append(all, oracle.SamplingProbs(row, oracle.Filter{Temperature: 1, TopK: i % 5})...)
		}
		v := r.fill(p, narrow(all))
		u := r.tensor(tensors.F32, 0, n)
		numbers := make([]float32, n)
		for i := range numbers {
			numbers[i] = r.random.Float32()
		}
		numbers[0], numbers[1] = 0, math.Nextafter32(1, 0)
		r.fill(u, numbers)
		result := r.tensor(tensors.I32, 0, n)
		r.c.SampleIndex(result, p, u)
		r.submit()
		for i, row := range rowsOf(v, cols) {
			wantDraw(t, row, float64(numbers[i]), r.integers(result)[i])
		}
		r.clear()
	}
}

// wantDraw holds a draw to the oracle's; rounding of the running sum may move its borders by a little.
func wantDraw(t *testing.T, p []float64, u float64, got int) {
	t.Helper()
	const rounding = 1e-5
	require.True(t, got >= 0 && got < len(p) && p[got] > 0, "column %d", got)
	lo, hi := oracle.SampleIndex(p, max(u-rounding, 0)), oracle.SampleIndex(p, u+rounding)
	require.True(t, lo <= got && got <= hi, "u %v: want %d to %d, got %d", u, lo, hi, got)
}

func TestSampleIndexOfNothing(t *testing.T) {
	r := newRig(t, 3)
	p, u, result := r.tensor(tensors.F32, 0, 3, 50), r.tensor(tensors.F32, 0, 3), r.tensor(tensors.I32, 0, 3)
	values := make([]float32, 150)
	values[70] = 1
	for i := range values[:50] {
		values[100+i] = float32(math.NaN())
	}
	r.fill(p, values)
	r.fill(u, []float32{0.5, 0.99, 0.5})
	r.c.SampleIndex(result, p, u)
	r.submit()
	require.Equal(t, []int{-1, 20, -1}, r.integers(result))
}

func TestRejectionSample(t *testing.T) {
	r := newRig(t, 4)
	for _, s := range [][3]int{{1, 1, 3}, {3, 4, 8}, {2, 7, 65}, {40, 3, 33}, {5, 2, 1008}} {
		slots, steps, cols := s[0], s[1], s[2]
		probs := func(rows int) (tensors.Tensor, [][]float64) {
			var all []float64
			for _, row := range rowsOf(widen(r.values(rows*cols)), cols) {
				all = append(all, oracle.SamplingProbs(row, oracle.Filter{Temperature: 0.8})...)
			}
			x := r.tensor(tensors.F32, 0, rows, cols)
			return x, rowsOf(r.fill(x, narrow(all)), cols)
		}
		p, pv := probs(slots * (steps + 1))
		q, qv := probs(steps * slots)
		drafts := make([]int, steps*slots)
		for i := range drafts {
			drafts[i] = oracle.SampleIndex(qv[i], r.random.Float64())
		}
		u := r.tensor(tensors.F32, 0, slots*(steps+1), 2)
		numbers := make([]float32, u.Len())
		for i := range numbers {
			numbers[i] = r.random.Float32()
		}
		r.fill(u, numbers)
		result := r.tensor(tensors.I32, 0, slots, 2)
		r.c.RejectionSample(result, p, q, r.indices(drafts...), u, steps)
		r.submit()
		got := r.integers(result)
		for slot := range slots {
			wantRejection(t, pv[slot*(steps+1):], qv, drafts, numbers[2*slot*(steps+1):], slot, slots, steps, got[2*slot:])
		}
		r.clear()
	}
}

// wantRejection holds one slot's result to the oracle's.
func wantRejection(t *testing.T, p, q [][]float64, drafts []int, u []float32, slot, slots, steps int, got []int) {
	t.Helper()
	var own [][]float64
	var mine []int
	var accept, draw []float64
	for j := range steps + 1 {
		accept, draw = append(accept, float64(u[2*j])), append(draw, float64(u[2*j+1]))
		if j < steps {
			own, mine = append(own, q[j*slots+slot]), append(mine, drafts[j*slots+slot])
		}
	}
	accepted, _ := oracle.RejectionSample(p[:steps+1], own, mine, accept, draw)
	require.Equal(t, accepted, got[0])
	const rounding = 1e-4
	least, most := len(p[0]), -1
	for _, shift := range []float64{-rounding, 0, rounding} {
		shifted := append([]float64{}, draw...)
		shifted[accepted] = min(max(shifted[accepted]+shift, 0), 1)
		_, token := oracle.RejectionSample(p[:steps+1], own, mine, accept, shifted)
		least, most = min(least, token), max(most, token)
	}
	require.True(t, least <= got[1] && got[1] <= most, "want %d to %d, got %d", least, most, got[1])
}

func TestSamplingErrors(t *testing.T) {
	r := newRig(t, 5)
	f := func(shape ...int) tensors.Tensor { return r.tensor(tensors.F32, 0, shape...) }
	r.c.SamplingProbs(f(2, 4), f(2, 4), ops.Filter{Temperature: 1, TopP: 1.5})
	require.ErrorContains(t, r.c.Submit(), "ops: sampling probs: want top-k of at least 0 and top-p from 0 to 1, got 0 and 1.5")
	r.c.SampleIndex(r.tensor(tensors.I32, 0, 2), f(2, 4), f(3))
	require.ErrorContains(t, r.c.Submit(), "ops: sample index: u: want [2], got [3]")
	r.c.RejectionSample(r.tensor(tensors.I32, 0, 2, 2), f(4, 4), f(3, 4), r.indices(0, 0), f(4, 2), 1)
	require.ErrorContains(t, r.c.Submit(), "ops: rejection sample: q: want [2 4], got [3 4]")
	r.c.RejectionSample(r.tensor(tensors.I32, 0, 2, 2), f(2, 4), f(0, 4), r.indices(), f(2, 2), 0)
	require.ErrorContains(t, r.c.Submit(), "want at least one step, got 0")
}
