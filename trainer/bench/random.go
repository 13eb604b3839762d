package bench

import (
	"hash/fnv"
	"math"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"vkdomino/domino"
	"vkdomino/tensors"
)

// seed is where all random numbers of a benchmark come from.
const seed = 42

// weightScale and featureScale are the standard deviations of random weights and features.
const (
	weightScale  = 0.02
	featureScale = 1
)

// randomSource is a checkpoint whose tensors are drawn uniformly, with the standard deviation of
// real weights; it is a model.Source.
type randomSource struct {
	shapes map[string][]int
	dtype  tensors.DType
}

// Info gives every tensor the run's own dtype, so that Raw is what is uploaded.
func (s randomSource) Info(name string) (tensors.DType, []int, bool) {
	shape, ok := s.shapes[name]
	return s.dtype, shape, ok
}

func (s randomSource) values(name string) []float32 {
	n := 1
	for _, d := range s.shapes[name] {
		n *= d
	}
	return random(n, name, weightScale)
}

// Float32 draws a tensor.
func (s randomSource) Float32(name string) ([]float32, error) { return s.values(name), nil }

// Raw draws a tensor as its bytes.
func (s randomSource) Raw(name string) ([]byte, tensors.DType, error) {
	v := s.values(name)
	if s.dtype == tensors.BF16 {
		return tensors.BF16Bytes(v), s.dtype, nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v)), s.dtype, nil
}

// draftValues draws a draft's tensor with the standard deviation of its initial values: normal ones, as a run has them,
// would take minutes for 10^9 weights.
func draftValues(spec domino.ParamSpec) []float32 {
	std := spec.Init.Scale
	switch spec.Init.Kind {
	case domino.InitOnes:
		return slices.Repeat([]float32{1}, spec.Size())
	case domino.InitUniform:
		std /= math.Sqrt(3)
	}
	return random(spec.Size(), spec.Name, std)
}

// random draws n values of a uniform distribution around 0 with a standard deviation; value i is a
// function of seed, name and i alone.
func random(n int, name string, std float64) []float32 {
	h := fnv.New64a()
	h.Write([]byte(name))
	key := domino.Mix(seed) ^ h.Sum64()
	out := make([]float32, n)
	scale := float32(std * 3.4641016 / (1 << 24)) // the width of a uniform distribution is √12 deviations
	workers := runtime.GOMAXPROCS(0)
	each := (n + workers - 1) / workers
	var wg sync.WaitGroup
	for lo := 0; lo < n; lo += each {
		wg.Go(func() {
			for i := lo; i < min(n, lo+each); i++ {
				out[i] = scale * float32(int64(domino.Mix(key+uint64(i))>>40)-(1<<23))
			}
		})
	}
	wg.Wait()
	return out
}

// randomIDs draws n tokens below vocab.
func randomIDs(n, vocab int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(domino.Mix(seed+uint64(i)) >> 1 % uint64(vocab))
	}
	return ids
}
