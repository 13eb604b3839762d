package domino

import (
	"hash/fnv"
	"math"
	"runtime"
	"sync"

	"vkdomino/internal/draftnames"
)

// InitKind is a distribution of initial values.
type InitKind int

// The distributions. Source: spec.md §5.7, §6.2.
const (
	InitNormal  InitKind = iota // Normal(0, Scale)
	InitUniform                 // Uniform(-Scale, +Scale)
	InitOnes                    // 1
)

// Init says how a parameter starts.
type Init struct {
	Kind  InitKind
	Scale float64
}

// ParamSpec is one trainable tensor of a draft.
type ParamSpec struct {
	Name  string // export name
	Shape []int  // linear weights are [out, in]
	Init  Init
}

// Size is the number of elements.
func (p ParamSpec) Size() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Params returns the draft's tensors in the order of draftnames.List: 3 + 11 D of the backbone
// and, for Domino, 4 of the head. Linear weights start from Normal(0, initializer_range),
// norms at 1, the GRU from Uniform(±1/sqrt(G)). Source: spec.md §5.6, §5.7, §6.2.
func Params(c DraftConfig) []ParamSpec {
	var specs []ParamSpec
	for _, t := range draftnames.List(c.Names()) {
		init := Init{InitNormal, c.InitializerRange}
		switch {
		case t.Name == draftnames.GRUInput || t.Name == draftnames.GRUHidden:
			init = Init{InitUniform, 1 / math.Sqrt(float64(c.GRUHiddenDim))}
		case len(t.Shape) == 1: // the only vectors are RMSNorm weights
			init = Init{Kind: InitOnes}
		}
		specs = append(specs, ParamSpec{t.Name, t.Shape, init})
	}
	return specs
}

// InitValues returns the initial values of a whole tensor, [Size()]. Element i is a function
// of (seed, spec.Name, i) alone, so values depend neither on order nor on other tensors.
// Source: spec.md §5.7.
func InitValues(spec ParamSpec, seed uint64) []float32 {
	values := make([]float32, spec.Size())
	workers := runtime.GOMAXPROCS(0)
	chunk := (len(values)/workers + 2) &^ 1 // even, so that no pair of normals is cut
	var wg sync.WaitGroup
	for lo := 0; lo < len(values); lo += chunk {
		wg.Go(func() { FillInit(values[lo:min(lo+chunk, len(values))], spec, seed, lo) })
	}
	wg.Wait()
	return values
}

// FillInit writes elements offset..offset+len(dst)-1 of the values that InitValues returns,
// so that a large tensor can be made piece by piece.
func FillInit(dst []float32, spec ParamSpec, seed uint64, offset int) {
	rng := newCounterRNG(seed, spec.Name)
	switch spec.Init.Kind {
	case InitOnes:
		for i := range dst {
			dst[i] = 1
		}
	case InitUniform:
		for i := range dst {
			dst[i] = float32(spec.Init.Scale * (2*rng.uniform(offset+i) - 1))
		}
	case InitNormal:
		rng.fillNormal(dst, spec.Init.Scale, offset)
	}
}

// counterRNG is the SplitMix64 sequence that starts at key, addressed by index.
type counterRNG struct{ key uint64 }

// newCounterRNG gives every tensor a sequence of its own: key = mix(mix(seed) xor fnv1a64(name)).
func newCounterRNG(seed uint64, name string) counterRNG {
	h := fnv.New64a()
	h.Write([]byte(name))
	return counterRNG{Mix(Mix(seed) ^ h.Sum64())}
}

// uniform returns the i-th number of the sequence, in [0,1) with 53 bits.
func (r counterRNG) uniform(i int) float64 {
	const splitMixStep = 0x9E3779B97F4A7C15
	return float64(Mix(r.key+uint64(i)*splitMixStep)>>11) * 0x1p-53
}

// fillNormal writes Normal(0, scale) by Box-Muller in float64: elements 2p and 2p+1 are the
// cosine and the sine of the pair of uniforms 2p and 2p+1.
func (r counterRNG) fillNormal(dst []float32, scale float64, offset int) {
	var sin, cos, radius float64
	for i := range dst {
		at := offset + i
		if i == 0 || at%2 == 0 {
			pair := at &^ 1
			radius = scale * math.Sqrt(-2*math.Log(1-r.uniform(pair))) // 1-u is in (0,1]
			sin, cos = math.Sincos(2 * math.Pi * r.uniform(pair+1))
		}
		if at%2 == 0 {
			dst[i] = float32(radius * cos)
		} else {
			dst[i] = float32(radius * sin)
		}
	}
}
