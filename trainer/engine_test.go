package trainer

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/draftnames"
	"vkdomino/model"
	"vkdomino/tensors"
)

// memory is a target's checkpoint that was never on a disk.
type memory map[string]struct {
	shape  []int
	values []float32
}

func (m memory) Info(name string) (tensors.DType, []int, bool) {
	w, ok := m[name]
	return tensors.F32, w.shape, ok
}

func (m memory) Float32(name string) ([]float32, error) { return m[name].values, nil }

func (m memory) Raw(name string) ([]byte, tensors.DType, error) {
	raw, err := binary.Append(nil, binary.LittleEndian, m[name].values)
	return raw, tensors.F32, err
}

// normal draws n values of Normal(mean, std).
func normal(r *rand.Rand, n int, mean, std float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(mean + std*r.NormFloat64())
	}
	return out
}

// smallTarget has no dimension in common with another one.
func smallTarget() *model.Config {
	return &model.Config{HiddenSize: 24, IntermediateSize: 40, NumLayers: 3, NumHeads: 2, NumKVHeads: 1, HeadDim: 16,
		VocabSize: 52, MaxPositions: 64, RMSNormEps: 1e-6, RopeTheta: 1e4, InitializerRange: 0.02}
}

func smallConfig(edit ...func(*EngineConfig)) EngineConfig {
	t := smallTarget()
	cfg := EngineConfig{Target: t,
		Draft: domino.DraftConfig{HiddenSize: t.HiddenSize, VocabSize: t.VocabSize, NumLayers: 2, NumHeads: 2, NumKVHeads: 1, HeadDim: 16,
			IntermediateSize: 36, TargetLayerIDs: []int{0, 1}, NumTargetLayers: t.NumLayers, BlockSize: 4, MaskTokenID: 51,
			RMSNormEps: t.RMSNormEps, Theta: t.RopeTheta, InitializerRange: 0.02, Domino: true, GRUHiddenDim: 12, EmbDim: 8,
			PureDraftPrefixLen: 1, ShiftLabel: true},
		Batch: 2, SeqLen: 20, Anchors: 3, Precision: tensors.F32,
		Loss:   domino.LossOptions{Domino: true},
		Labels: domino.LabelOptions{ShiftLabel: true, SuffixStart: 1, Objective: domino.ObjectiveDecay, DecayGamma: 4},
		Beta1:  0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01, MaxGradNorm: 1}
	for _, f := range edit {
		f(&cfg)
	}
	return cfg
}

// newSmall returns an engine with weights large enough that every part of the draft matters,
// and the values of its tensors.
func newSmall(t *testing.T, cfg EngineConfig) (*Engine, map[string][]float32) {
	t.Helper()
	c := sharedContext(t)
	t.Cleanup(c.Release)
	e, err := NewEngine(c, cfg)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	src := memory{}
	shapes, err := cfg.Target.TensorShapes(cfg.lastLayer())
	require.NoError(t, err)
	for name, shape := range shapes {
		h := fnv.New64a() // the map's order is random: each tensor has numbers of its own
		h.Write([]byte(name))
		own := rand.New(rand.NewPCG(3, h.Sum64()))
		n, mean := 1, 0.0
		for _, d := range shape {
			n *= d
		}
		if len(shape) == 1 {
			mean = 1
		}
		src[name] = struct {
			shape  []int
			values []float32
		}{shape, normal(own, n, mean, 0.25)}
	}
	require.NoError(t, e.Load(src))
	weights := map[string][]float32{}
	for _, p := range domino.Params(cfg.Draft) {
		mean := 0.0
		if len(p.Shape) == 1 {
			mean = 1
		}
		weights[p.Name] = normal(r, p.Size(), mean, 0.25)
		require.NoError(t, e.SetDraft(p.Name, weights[p.Name]))
	}
	return e, weights
}

// smallBatch has two rows with blocks at 5, 9, 13 and at 3, 8; a token in four is not supervised.
func smallBatch() MicroBatch {
	const B, S = 2, 20
	r := rand.New(rand.NewPCG(5, 6))
	b := MicroBatch{B: B, S: S, Anchors: domino.Anchors{N: 3, Anchor: []int32{5, 9, 13, 3, 8, 0}, Keep: []bool{true, true, true, true, true, false}}}
	for i := range B * S {
		b.IDs = append(b.IDs, r.Int32N(50))
		b.LossMask = append(b.LossMask, float32(min(1, i%4)))
	}
	return b
}

func gradientsOf(t *testing.T, e *Engine, lambda float64, batches ...MicroBatch) (*StepResult, map[string][]float32) {
	t.Helper()
	out, err := e.Gradients(batches, lambda)
	require.NoError(t, err)
	require.NoError(t, e.Context.Submit())
	grads := map[string][]float32{}
	for _, p := range e.Draft.Params.List {
		grads[p.Name], err = e.Context.Float32s(p.Grad)
		require.NoError(t, err)
	}
	return out, grads
}

// optimizerState is every bit that an update changes.
func optimizerState(t *testing.T, e *Engine) map[string][]float32 {
	t.Helper()
	state := map[string][]float32{}
	for _, p := range e.Draft.Params.List {
		for what, tensor := range map[string]tensors.Tensor{"": p.Master, ".weight": p.Weight, ".m": p.M, ".v": p.V} {
			values, err := e.Context.Float32s(tensor)
			require.NoError(t, err)
			state[p.Name+what] = values
		}
	}
	return state
}

// requireSameBits compares values by their bits, which NaN is equal to itself by.
func requireSameBits(t *testing.T, want, got map[string][]float32) {
	t.Helper()
	require.Len(t, got, len(want))
	for name, w := range want {
		require.Equal(t, bitsOf(w), bitsOf(got[name]), name)
	}
}

func bitsOf(x []float32) []uint32 {
	out := make([]uint32, len(x))
	for i, v := range x {
		out[i] = math.Float32bits(v)
	}
	return out
}

func isHead(name string) bool {
	return name == draftnames.GRUInput || name == draftnames.GRUHidden || name == draftnames.EmbedIn || name == draftnames.EmbedOut
}

func allZero(x []float32) bool {
	for _, v := range x {
		if v != 0 {
			return false
		}
	}
	return true
}

func norm(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

// distance is ‖a-b‖/‖b‖.
func distance(a, b []float32) float64 {
	d := make([]float32, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return norm(d) / norm(b)
}
