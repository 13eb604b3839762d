package domino

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/draftnames"
	"vkdomino/internal/testgpu"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// tinyConfig is a target of a few thousand random weights.
func tinyConfig() *model.Config {
	return &model.Config{HiddenSize: 16, IntermediateSize: 24, NumLayers: 4, NumHeads: 4, NumKVHeads: 2, HeadDim: 8, VocabSize: 40,
		MaxPositions: 128, RMSNormEps: 1e-6, RopeTheta: 1e4, InitializerRange: 0.02, TieWordEmbeddings: true}
}

// tinyDraft is a Domino draft for it.
func tinyDraft() DraftConfig {
	return DraftConfig{HiddenSize: 16, VocabSize: 40, NumLayers: 2, NumHeads: 2, NumKVHeads: 1, HeadDim: 8, IntermediateSize: 20,
		TargetLayerIDs: []int{0, 2}, NumTargetLayers: 4, BlockSize: 5, MaskTokenID: 39, RMSNormEps: 1e-6, Theta: 1e4, InitializerRange: 0.4,
		Domino: true, GRUHiddenDim: 6, EmbDim: 4, PureDraftPrefixLen: 1, ShiftLabel: true}
}

// randomWeights is a checkpoint of Normal(0, 0.4) weights, norms of 1; it implements model.Source.
type randomWeights struct{ shapes map[string][]int }

func (w randomWeights) Info(name string) (tensors.DType, []int, bool) {
	shape, ok := w.shapes[name]
	return tensors.F64, shape, ok // no dtype that is copied as it is
}

func (w randomWeights) Float32(name string) ([]float32, error) {
	init := Init{InitNormal, 0.4}
	if len(w.shapes[name]) == 1 {
		init = Init{Kind: InitOnes}
	}
	return InitValues(ParamSpec{Name: name, Shape: w.shapes[name], Init: init}, 11), nil
}

func (w randomWeights) Raw(string) ([]byte, tensors.DType, error) { panic("not asked for") }

// tinyTarget uploads a target of random weights.
func tinyTarget(t testing.TB, c *ops.Context, cfg *model.Config, positions int, dtype tensors.DType) *model.Target {
	shapes, err := cfg.TensorShapes(cfg.NumLayers - 1)
	require.NoError(t, err)
	target, err := model.NewTarget(c, cfg, cfg.NumLayers-1, positions, dtype)
	require.NoError(t, err)
	require.NoError(t, target.Load(c, randomWeights{shapes}))
	return target
}

// draftWeights gives the draft's initial values by name.
func draftWeights(cfg DraftConfig) func(name string) ([]float32, error) {
	specs := map[string]ParamSpec{}
	for _, p := range Params(cfg) {
		specs[p.Name] = p
	}
	return func(name string) ([]float32, error) { return InitValues(specs[name], 7), nil }
}

// tinyDecoder is a decoder of the tiny target and a draft.
func tinyDecoder(t testing.TB, c *ops.Context, draft DraftConfig, cfg DecoderConfig, dtype tensors.DType) *Decoder {
	return decoderOf(t, c, tinyConfig(), draft, cfg, dtype)
}

// decoderOf is a decoder of a target and a draft of random weights.
func decoderOf(t testing.TB, c *ops.Context, target *model.Config, draft DraftConfig, cfg DecoderConfig, dtype tensors.DType) *Decoder {
	cfg.Context = 48
	cfg.Target = tinyTarget(t, c, target, cfg.Context+draft.BlockSize, dtype)
	var err error
	cfg.Draft, err = LoadDraft(c, draft, draftWeights(draft), dtype)
	require.NoError(t, err)
	d, err := NewDecoder(c, cfg)
	require.NoError(t, err)
	return d
}

// randomPrompts are n prompts of different lengths.
func randomPrompts(n, vocabulary int) [][]int32 {
	prompts := make([][]int32, n)
	for i := range prompts {
		for j := range 2 + 3*i%11 {
			prompts[i] = append(prompts[i], int32(Mix(uint64(100*i+j))%uint64(vocabulary)))
		}
	}
	return prompts
}

// TestRollout compares the drafted tokens of every kind of draft, and the logits that they
// come from, with the training pass of the same block followed by a rollout on the host.
func TestRollout(t *testing.T) {
	domino := func(shift bool, prefix int) DraftConfig {
		d := tinyDraft()
		d.ShiftLabel, d.PureDraftPrefixLen = shift, prefix
		return d
	}
	plain, window := tinyDraft(), tinyDraft()
	plain.Domino, plain.ShiftLabel, plain.PureDraftPrefixLen, plain.GRUHiddenDim, plain.EmbDim = false, false, 0, 0, 0
	window.SWAWindow = 6
	c := testgpu.Context(t) // one for all, so that kernels are compiled once
	for name, k := range map[string]struct {
		draft DraftConfig
		cfg   DecoderConfig
		opt   DecodeOptions
		large bool
	}{
		"shift, prefix 1":          {draft: domino(true, 1)},
		"shift, prefix 0":          {draft: domino(true, 0)},
		"shift, prefix 3":          {draft: domino(true, 3)},
		"shift, a token a row":     {draft: domino(true, 1), cfg: DecoderConfig{DraftTokens: 5}},
		"shift, fewer tokens":      {draft: domino(true, 1), opt: DecodeOptions{DraftTokens: 2}},
		"shift, prefix past all":   {draft: domino(true, 4), opt: DecodeOptions{DraftTokens: 3}},
		"no shift, prefix 0":       {draft: domino(false, 0)},
		"large vocabulary":         {draft: domino(true, 1), large: true},
		"no shift, prefix 1":       {draft: domino(false, 1)},
		"plain":                    {draft: plain},
		"window":                   {draft: window},
		"head off":                 {draft: domino(true, 1), opt: DecodeOptions{HeadOff: true}},
		"candidates":               {draft: domino(true, 1), cfg: DecoderConfig{Candidates: 7}},
		"candidates, no prefix":    {draft: domino(true, 0), cfg: DecoderConfig{Candidates: 1}},
		"all of them candidates":   {draft: domino(true, 2), cfg: DecoderConfig{Candidates: 40}},
		"candidates and no shift":  {draft: domino(false, 1), cfg: DecoderConfig{Candidates: 9}},
		"candidates, but head off": {draft: domino(true, 1), cfg: DecoderConfig{Candidates: 9}, opt: DecodeOptions{HeadOff: true}},
	} {
		t.Run(name, func(t *testing.T) {
			k.cfg.Slots, k.opt.MaxNewTokens = 3, 8
			defer c.Release()
			d := tinyDecoder(t, c, k.draft, k.cfg, tensors.F32)
			prompts := randomPrompts(3, 39)
			if k.large { // a vocabulary whose table would be too large
				d.draft.table, d.draft.x = tensors.Tensor{}, c.Alloc("x", tensors.F32, 3, k.draft.HiddenSize)
			}
			d.draft.prepare(d.c)
			g := &generator{Decoder: d, opt: k.opt, out: &Decoding{Generations: make([]Generation, 3)}}
			require.NoError(t, g.begin(prompts))
			d.c.RowStable = true
			require.NoError(t, g.step()) // the prompts
			features, err := d.c.Float32s(d.cache.Features)
			require.NoError(t, err)

			p := g.proposal()
			d.draft.upload(d.c, p)
			d.draft.block(d.c, p)
			logits := d.draft.rollout(d.c, p)
			require.NoError(t, d.c.Submit())
			tokens, err := d.c.Int32s(d.draft.tokens)
			require.NoError(t, err)
			values, err := d.c.Float32s(logits)
			require.NoError(t, err)

			at, V := 0, k.draft.VocabSize
			for i, s := range g.active {
				base, Z := blockByTraining(t, d, s, features[at*2*16:(at+s.length)*2*16])
				at += s.length
				host := hostRollout{cfg: k.draft, base: base, z: Z, weights: draftWeights(k.draft), candidates: k.cfg.Candidates, head: !k.opt.HeadOff}
				host.embed = embedding(t, d)
				for step := range p.steps {
					row := values[(step*3+i)*V : (step*3+i+1)*V]
					want := host.logits(t, step, tokens[step*3+i])
					nmse, _ := oracle.Compare(row, want)
					require.LessOrEqual(t, nmse, 1e-9, "prompt %d, step %d", i, step)
					require.EqualValues(t, oracle.Argmax(widen(row)), tokens[(step+1)*3+i], "prompt %d, step %d", i, step)
				}
			}
		})
	}
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func embedding(t *testing.T, d *Decoder) []float64 {
	v, err := d.c.Float32s(d.cfg.Target.Embed)
	require.NoError(t, err)
	return widen(v)
}

// blockByTraining gives base logits [bs, V] and Z [bs, H] of the block at a sequence's end
// from the pass that training makes.
func blockByTraining(t *testing.T, d *Decoder, s *sequence, features []float32) (base, Z []float64) {
	c, cfg := d.c, d.cfg.Draft.Config
	S := s.length + 1
	draft, err := NewDraft(c, cfg, d.cfg.Target, Capacity{Batch: 1, SeqLen: S, Anchors: 1, BindingBytes: c.Device.MaxBindingBytes}, 0, tensors.F32)
	require.NoError(t, err)
	weights := draftWeights(cfg)
	for _, p := range draft.Params.List {
		v, err := weights(p.Name)
		require.NoError(t, err)
		require.NoError(t, draft.Params.Set(c, p.Name, v))
	}
	layout, err := NewLayout(Anchors{N: 1, Anchor: []int32{int32(s.length)}, Keep: []bool{true}}, s.tokens[:S], 1, S, cfg.BlockSize, int32(cfg.MaskTokenID))
	require.NoError(t, err)
	m := &Micro{Layout: layout, Targets: AllRows(layout, LabelOptions{})}
	draft.Upload(c, m)
	c.UploadF32(draft.Backbone.Features, append(slices.Clone(features), make([]float32, 2*cfg.HiddenSize)...))
	draft.Forward(c, m)
	logits, _ := draft.Logits(c, m)
	require.NoError(t, c.Submit())
	b, err := c.Float32s(logits)
	require.NoError(t, err)
	z, err := c.Float32s(draft.Backbone.Z)
	require.NoError(t, err)
	return widen(b), widen(z)
}

// hostRollout is the sequential head in float64. Source: spec.md §14.2.
type hostRollout struct {
	cfg            DraftConfig
	base, z, embed []float64
	weights        func(string) ([]float32, error)
	candidates     int
	head           bool
	state          []float64
}

func (h *hostRollout) weight(t *testing.T, name string) []float64 {
	v, err := h.weights(name)
	require.NoError(t, err)
	return widen(v)
}

// logits feeds the token before a step and returns what the step's token is drawn from.
// Row 0 of a shift_label block predicts the token after the anchor; in the other alignment
// row 1 does. Token p is corrected from p = pure_draft_prefix_len on in both.
func (h *hostRollout) logits(t *testing.T, step int, before int32) []float64 {
	cfg, row := h.cfg, step+1
	if cfg.Domino && cfg.ShiftLabel {
		row = step
	}
	base := h.base[row*cfg.VocabSize : (row+1)*cfg.VocabSize]
	if !cfg.Domino || !h.head {
		return base
	}
	if h.state == nil {
		h.state = make([]float64, cfg.GRUHiddenDim)
	}
	x := h.embed[int(before)*cfg.HiddenSize : int(before+1)*cfg.HiddenSize]
	h.state = oracle.GRUCell(x, h.state, h.weight(t, draftnames.GRUInput), h.weight(t, draftnames.GRUHidden), 1, cfg.GRUHiddenDim)
	if step < cfg.PureDraftPrefixLen {
		return base
	}
	act := oracle.HeadActivation(h.z[row*cfg.HiddenSize:(row+1)*cfg.HiddenSize], h.state, h.weight(t, draftnames.EmbedIn), 1, cfg.EmbDim)
	list := oracle.Candidates(base, cfg.VocabSize)
	if h.candidates > 0 {
		list = oracle.Candidates(base, h.candidates)
	}
	return oracle.CorrectCandidates(base, act, h.weight(t, draftnames.EmbedOut), list)
}

// TestRolloutConformance is case C49 of spec.md §19.A: SpecForge's decoder with shift_label false.
func TestRolloutConformance(t *testing.T) {
	const nats = 1e-5
	cfg := tinyDraft()
	cfg.HiddenSize, cfg.VocabSize, cfg.GRUHiddenDim, cfg.EmbDim, cfg.BlockSize = 2, 5, 1, 1, 4
	cfg.MaskTokenID, cfg.ShiftLabel, cfg.PureDraftPrefixLen = 4, false, 0
	weights := map[string]map[int]float32{draftnames.GRUInput: {4: 2}, draftnames.EmbedIn: {2: 4}, draftnames.EmbedOut: {3: 4}}
	c := testgpu.Context(t)
	for _, zeroed := range []string{"", draftnames.GRUInput, draftnames.EmbedOut} {
		d := &drafter{cfg: cfg, embed: c.Alloc("embed", tensors.F32, 5, 2), x: c.Alloc("x", tensors.F32, 1, 2), act: c.Alloc("act", tensors.F32, 1, 1),
			byStep: c.Alloc("z", tensors.F32, 3, 2), logits: c.Alloc("logits", tensors.F32, 3, 5), tokens: c.AllocHost("tokens", tensors.I32, 4)}
		d.state = [2]tensors.Tensor{c.Alloc("state", tensors.F32, 1, 1), c.Alloc("state", tensors.F32, 1, 1)}
		for name, to := range map[string]*tensors.Tensor{draftnames.GRUInput: &d.gruIn, draftnames.GRUHidden: &d.gruHidden, draftnames.EmbedIn: &d.w1, draftnames.EmbedOut: &d.w2} {
			shape := map[string][]int{draftnames.GRUInput: {3, 2}, draftnames.GRUHidden: {3, 1}, draftnames.EmbedIn: {1, 3}, draftnames.EmbedOut: {5, 1}}[name]
			*to = c.Alloc(name, tensors.F32, shape...)
			v := make([]float32, to.Len())
			for i, x := range weights[name] {
				if name != zeroed {
					v[i] = x
				}
			}
			c.UploadF32(*to, v)
		}
		c.UploadF32(d.embed, []float32{0, 0, 1, 0, 0, 0, 1, 0, 0, 0})
		c.UploadF32(d.byStep, make([]float32, 6))
		c.UploadF32(d.logits, make([]float32, 15))
		c.UploadI32(d.tokens, []int32{1, -1, -1, -1})
		logits := d.rollout(c, &proposal{slots: []int{0}, steps: 3, head: true})
		require.NoError(t, c.Submit())
		got, err := c.Float32s(logits)
		require.NoError(t, err)
		tokens, err := c.Int32s(d.tokens)
		require.NoError(t, err)
		if zeroed != "" {
			require.Equal(t, []int32{1, 0, 0, 0}, tokens, zeroed)
			continue
		}
		require.Equal(t, []int32{1, 3, 3, 3}, tokens)
		require.InDeltaSlice(t, []float64{6.733031, 10.960458, 13.049455}, []float64{float64(got[3]), float64(got[8]), float64(got[13])}, nats)
	}
}

// TestUniform checks range, mean and independence of the arguments' order, and that no two
// arguments share a stream.
func TestUniform(t *testing.T) {
	seen, sum, n := map[float32]int{}, 0.0, 0
	for seed := range uint64(3) {
		for prompt := range 10 {
			for position := range 100 {
				for _, p := range []purpose{purposeToken, purposeDraft, purposeAccept} {
					u := uniform(seed, prompt, position, p)
					require.True(t, u >= 0 && u < 1)
					require.Equal(t, u, uniform(seed, prompt, position, p))
					seen[u]++
					sum += float64(u)
					n++
				}
			}
		}
	}
	require.InDelta(t, 0.5, sum/float64(n), 5/math.Sqrt(12*float64(n)))
	require.Greater(t, len(seen), n-20) // 9000 of 2^24: 2.4 pairs are equal by chance
}

// TestGenerateKinds decodes with every alignment and either precision: greedily and by
// equality the tokens are those of the target alone, however many prompts go together.
func TestGenerateKinds(t *testing.T) {
	noShift, plain := tinyDraft(), tinyDraft()
	noShift.ShiftLabel = false
	plain.Domino, plain.ShiftLabel, plain.PureDraftPrefixLen, plain.GRUHiddenDim, plain.EmbDim = false, false, 0, 0, 0
	prompts, c := randomPrompts(6, 39), testgpu.Context(t)
	for _, dtype := range []tensors.DType{tensors.F32, tensors.BF16} {
		for _, draft := range []DraftConfig{tinyDraft(), noShift, plain} {
			if dtype == tensors.BF16 && draft.Domino && !draft.ShiftLabel {
				continue // the alignment is the same in either precision
			}
			c.Release()
			d := tinyDecoder(t, c, draft, DecoderConfig{Slots: 4, PrefillRows: 7}, dtype)
			run := func(opt DecodeOptions) []Generation {
				opt.MaxNewTokens, opt.StopTokens, opt.Seed = 9, []int32{3, 4}, 9
				out, err := d.Generate(context.Background(), prompts, opt, nil)
				require.NoError(t, err)
				return out.Generations
			}
			for _, filter := range []ops.Filter{{}, {Temperature: 0.8, TopK: 20, TopP: 0.9}} {
				alone := run(DecodeOptions{NoDraft: true, Sampling: filter})
				for _, opt := range []DecodeOptions{{}, {HeadOff: true}, {GreedyDrafts: true}, {DraftTokens: 2}, {Timing: true}} {
					opt.Sampling = filter
					for i, g := range run(opt) {
						require.Equal(t, alone[i].Tokens, g.Tokens, "%v, %+v, prompt %d", dtype, opt, i)
						require.Equal(t, alone[i].Stopped, g.Stopped)
					}
				}
			}
		}
	}
}
