package domino

import (
	"fmt"
	"hash/fnv"
	"math"
	"runtime"
	"sync"
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

// Export names of the tensors outside the layers. Source: spec.md §5.6, §6.2.
const (
	FCName         = "fc.weight"
	HiddenNormName = "hidden_norm.weight"
	NormName       = "norm.weight"
	GRUInputName   = "prefix_gru.weight_ih_l0" // [3G, H], gates r, z, n stacked
	GRUHiddenName  = "prefix_gru.weight_hh_l0" // [3G, G]
	HeadInName     = "embed_proj.0.weight"     // W1 [E, H+G], reads [Z ; s]
	HeadOutName    = "embed_proj.2.weight"     // W2 [V, E]
)

// LayerParam returns the export name of a tensor of draft layer l, for example
// LayerParam(1, "mlp.up_proj") = "layers.1.mlp.up_proj.weight".
func LayerParam(l int, part string) string { return fmt.Sprintf("layers.%d.%s.weight", l, part) }

// Params returns the draft's tensors in a fixed order: fc, hidden_norm, the layers, norm and,
// for Domino, the head: 3 + 11 D tensors, 4 more with the head. Linear weights start from
// Normal(0, initializer_range), norms at 1, the GRU from Uniform(±1/sqrt(G)).
// Source: spec.md §5.6, §5.7, §6.2.
func Params(c DraftConfig) []ParamSpec {
	normal, ones := Init{InitNormal, c.InitializerRange}, Init{Kind: InitOnes}
	H, G := c.HiddenSize, c.GRUHiddenDim
	specs := []ParamSpec{
		{FCName, []int{H, c.NumFeatures() * H}, normal},
		{HiddenNormName, []int{H}, ones},
	}
	for l := range c.NumLayers {
		for _, p := range layerParams(c) {
			specs = append(specs, ParamSpec{LayerParam(l, p.Name), p.Shape, p.Init})
		}
	}
	specs = append(specs, ParamSpec{NormName, []int{H}, ones})
	if !c.Domino {
		return specs
	}
	gru := Init{InitUniform, 1 / math.Sqrt(float64(G))}
	return append(specs,
		ParamSpec{GRUInputName, []int{3 * G, H}, gru},
		ParamSpec{GRUHiddenName, []int{3 * G, G}, gru},
		ParamSpec{HeadInName, []int{c.EmbDim, H + G}, normal},
		ParamSpec{HeadOutName, []int{c.VocabSize, c.EmbDim}, normal},
	)
}

// layerParams lists one layer's tensors by their names inside the layer.
func layerParams(c DraftConfig) []ParamSpec {
	normal, ones := Init{InitNormal, c.InitializerRange}, Init{Kind: InitOnes}
	H, I, q, kv := c.HiddenSize, c.IntermediateSize, c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim
	return []ParamSpec{
		{"input_layernorm", []int{H}, ones},
		{"self_attn.q_proj", []int{q, H}, normal},
		{"self_attn.k_proj", []int{kv, H}, normal},
		{"self_attn.v_proj", []int{kv, H}, normal},
		{"self_attn.o_proj", []int{H, q}, normal},
		{"self_attn.q_norm", []int{c.HeadDim}, ones},
		{"self_attn.k_norm", []int{c.HeadDim}, ones},
		{"post_attention_layernorm", []int{H}, ones},
		{"mlp.gate_proj", []int{I, H}, normal},
		{"mlp.up_proj", []int{I, H}, normal},
		{"mlp.down_proj", []int{H, I}, normal},
	}
}

// CountParams sums the sizes of specs.
func CountParams(specs []ParamSpec) int {
	n := 0
	for _, p := range specs {
		n += p.Size()
	}
	return n
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
