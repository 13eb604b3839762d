package ops_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// tolerance bounds an op's error against its oracle: NMSE of F32 and of BF16 results, largest
// scaled error of F32 results.
type tolerance struct{ f32, bf16, scaled float64 }

// Each class pays for the op's own arithmetic, since inputs are rounded to storage first. f32
// arithmetic gives an NMSE near 4e-15 and exp may add 7e-12; rounding the result to bf16 alone
// gives 1.3e-6.
var (
	exact       = tolerance{0, 0, 0}
	elementwise = tolerance{1e-12, 1e-5, 1e-5}
	rowwise     = tolerance{1e-11, 1e-5, 2e-5}
	matmul      = tolerance{1e-10, 1e-5, 5e-5}
)

// storages are the dtypes of weights and activations.
var storages = []tensors.DType{tensors.F32, tensors.BF16}

// guardBytes of a pattern stand before and after every tensor of a rig.
const guardBytes = 256

// rig makes tensors with guard zones on one device for one test.
type rig struct {
	t      testing.TB
	c      *ops.Context
	random *rand.Rand
	guards []tensors.Tensor // two of each tensor
	shapes [][]int
}

func newRig(t testing.TB, seed uint64) *rig {
	return &rig{t: t, c: testgpu.Context(t), random: rand.New(rand.NewPCG(seed, 1))}
}

// clear frees the tensors made so far.
func (r *rig) clear() {
	r.c.Release()
	r.guards, r.shapes = nil, nil
}

// tensor is a tensor with guard zones; it starts `skip` elements behind an aligned offset.
func (r *rig) tensor(dt tensors.DType, skip int, shape ...int) tensors.Tensor {
	t := tensors.Tensor{Name: "t", DType: dt, Shape: shape}
	guard, n := guardBytes/dt.Size(), t.Len()
	whole := r.c.Alloc("tensor", dt, guard+skip+n+guard)
	pattern := make([]byte, whole.Bytes())
	for i := range pattern {
		pattern[i] = guardByte
	}
	r.c.Upload(whole, pattern)
	r.guards = append(r.guards, whole.Slice(0, guard+skip), whole.Slice(guard+skip+n, whole.Len()))
	r.shapes = append(r.shapes, shape)
	return whole.Slice(guard+skip, guard+skip+n).View(shape...)
}

const guardByte = 0xa5

// values are n normal deviates.
func (r *rig) values(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.random.NormFloat64())
	}
	return v
}

// input is a tensor of normal deviates, and their values as stored.
func (r *rig) input(dt tensors.DType, shape ...int) (tensors.Tensor, []float64) {
	t := r.tensor(dt, 0, shape...)
	return t, r.fill(t, r.values(t.Len()))
}

// fill uploads values and returns them as stored.
func (r *rig) fill(t tensors.Tensor, values []float32) []float64 {
	r.c.UploadF32(t, values)
	return r.read(t)
}

// indices is a tensor of integers.
func (r *rig) indices(values ...int) tensors.Tensor {
	t := r.tensor(tensors.I32, 0, len(values))
	words := make([]int32, len(values))
	for i, v := range values {
		words[i] = int32(v)
	}
	r.c.UploadI32(t, words)
	return t
}

// submit runs what was recorded and checks the guard zones.
func (r *rig) submit() {
	r.t.Helper()
	require.NoError(r.t, r.c.Submit())
	for z, g := range r.guards {
		data, err := r.c.Download(g)
		require.NoError(r.t, err)
		for i, b := range data {
			if b != guardByte {
				require.Failf(r.t, "a kernel wrote beside a tensor", "guard zone %d of %v: byte %d of %d is %#x", z, r.shapes[z/2], i, len(data), b)
			}
		}
	}
}

// bindings makes the device bind at most so many bytes at a time for the rest of the test.
func (r *rig) bindings(bytes int64) {
	most := r.c.Device.MaxBindingBytes
	r.c.Device.MaxBindingBytes = bytes
	r.t.Cleanup(func() { r.c.Device.MaxBindingBytes = most })
}

// bench times an op, ten to a submission, and reports the time of one and of the processor.
func (r *rig) bench(b *testing.B, name string, dt tensors.DType, shape []int, op func()) {
	const batch = 10
	b.Run(fmt.Sprintf("%s/%s/%v", name, dt, shape), func(b *testing.B) {
		op()
		require.NoError(b, r.c.Submit())
		cpu := cpuTime()
		for b.Loop() {
			for range batch {
				op()
			}
			require.NoError(b, r.c.Submit())
		}
		b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N*batch), "us/op")
		b.ReportMetric((cpuTime()-cpu).Seconds()*1e6/float64(b.N*batch), "cpu-us/op")
	})
}

// cpuTime is the processor time that the process has used, a CPU driver's threads included.
func cpuTime() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func (r *rig) floats(t tensors.Tensor) []float32 {
	r.t.Helper()
	got, err := r.c.Float32s(t)
	require.NoError(r.t, err)
	return got
}

func (r *rig) read(t tensors.Tensor) []float64 {
	r.t.Helper()
	return widen(r.floats(t))
}

// twoRoundings is the NMSE of two roundings to bf16 at their worst, (2*2^-9)²; fewer than few elements
// do not average it out.
const (
	twoRoundings = 1.6e-5
	few          = 64
)

// near compares a device tensor with its reference.
func (r *rig) near(t tensors.Tensor, want []float64, limit tolerance, args ...any) {
	r.t.Helper()
	got := r.floats(t)
	if t.DType == tensors.BF16 {
		want = asBF16Range(want)
	}
	nmse, scaled := oracle.Compare(got, want)
	most := limit.f32
	if t.DType == tensors.BF16 {
		most = limit.bf16
		if most > 0 && len(want) < few {
			most = max(most, twoRoundings)
		}
	}
	require.LessOrEqual(r.t, nmse, most, args...)
	if t.DType == tensors.F32 {
		require.LessOrEqual(r.t, scaled, limit.scaled, args...)
	}
}

// asBF16Range turns values that round to an infinite bfloat16 into that infinity.
func asBF16Range(v []float64) []float64 {
	out := append([]float64{}, v...)
	for i, x := range out {
		if h := tensors.F32FromBF16(tensors.BF16FromF32(float32(x))); math.IsInf(float64(h), 0) {
			out[i] = float64(h)
		}
	}
	return out
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}
