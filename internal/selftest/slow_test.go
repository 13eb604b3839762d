package selftest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/model"
	"vkdomino/tensors"
)

// slowPair decodes in float64 on the host, as plainly as the specification says it: the
// target one token after the other, and for the acceptance lengths a draft against the
// target's own tokens. It shares nothing with the decoder but the readers of files.
// Source: spec.md §2.3, §5.1, §6, §14.2.
type slowPair struct {
	target *model.Config
	draft  domino.DraftConfig
	of     func(name string) []float64 // the target's weights
	own    func(name string) []float64 // the draft's
}

func openSlow(t *testing.T, targetDir, draftDir string) *slowPair {
	p := &slowPair{}
	var err error
	p.target, err = model.ReadConfig(targetDir)
	require.NoError(t, err)
	files, err := tensors.OpenModel(targetDir)
	require.NoError(t, err)
	d, err := export.Read(draftDir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, files.Close()); require.NoError(t, d.Close()) })
	p.draft, err = d.Config.DraftConfig()
	require.NoError(t, err)
	cached := func(read func(string) ([]float32, error)) func(string) []float64 {
		kept := map[string][]float64{}
		return func(name string) []float64 {
			if kept[name] == nil {
				values, err := read(name)
				require.NoError(t, err)
				for _, v := range values {
					kept[name] = append(kept[name], float64(v))
				}
			}
			return kept[name]
		}
	}
	p.of, p.own = cached(files.Float32), cached(d.Float32)
	return p
}

// slowRun is a prompt with the target's own tokens after it, and what the draft proposes
// after some of them.
type slowRun struct {
	pair     *slowPair
	prompt   int // tokens of it
	ids      []int32
	features [][]float64
	drafts   map[int][]int32 // by the anchor's position
}

// begin decodes so many tokens of the target alone.
func (p *slowPair) begin(prompt []int32, tokens int) *slowRun {
	r := &slowRun{pair: p, prompt: len(prompt), drafts: map[int][]int32{}}
	r.ids, r.features = p.alone(prompt, tokens)
	return r
}

// slowAnswer is what a prompt gets.
type slowAnswer struct {
	tokens        []int32 // cut
	lengths       []int
	stoppedInside bool // a stop token lies inside a cycle, before its last token
	limitInside   bool // the last cycle runs past the limit
}

// decode answers the prompt by the stop rule of spec.md §14.2. Every token is the target's
// own, so only the lengths of cycles are to be found.
func (r *slowRun) decode(stops []int32, maxNew int) (a slowAnswer) {
	isStop := func(id int32) bool { return slices.Contains(stops, id) }
	start, all := r.prompt, r.ids
	for going := true; going; going = start < r.prompt+maxNew && !slices.ContainsFunc(all[r.prompt:start+1], isStop) {
		if r.drafts[start] == nil {
			r.drafts[start] = r.pair.propose(all[start], start, r.features)
		}
		accepted := 0
		for accepted < len(r.drafts[start]) && r.drafts[start][accepted] == all[start+1+accepted] {
			accepted++
		}
		a.stoppedInside = slices.ContainsFunc(all[start+1:start+1+accepted], isStop)
		start += accepted + 1
		a.limitInside = start > r.prompt+maxNew
		a.lengths = append(a.lengths, accepted+1)
	}
	a.tokens = all[r.prompt:min(start+1, r.prompt+maxNew)]
	if at := slices.IndexFunc(a.tokens, isStop); at >= 0 {
		a.tokens = a.tokens[:at+1]
	}
	return a
}

// alone is the prompt with n tokens of the target, greedily, and the features of each.
func (p *slowPair) alone(prompt []int32, n int) (ids []int32, features [][]float64) {
	c := p.target
	head := p.of("model.embed_tokens.weight")
	if !c.TieWordEmbeddings {
		head = p.of("lm_head.weight")
	}
	keys, values := make([][][]float64, c.NumLayers), make([][][]float64, c.NumLayers)
	ids = slices.Clone(prompt)
	for t := 0; t < len(prompt)+n; t++ {
		h := p.embedding(ids[t])
		captured := map[int][]float64{}
		for l := range c.NumLayers {
			layer := slowLayer{p.of, fmt.Sprintf("model.layers.%d.", l), c.NumHeads, c.NumKVHeads, c.HeadDim, c.RopeTheta, c.RMSNormEps}
			x := layer.norm(h, "input_layernorm")
			k, v := layer.keyValue(x, t)
			keys[l], values[l] = append(keys[l], k), append(values[l], v)
			h = layer.rest(h, x, t, keys[l], values[l])
			captured[l] = slices.Clone(h)
		}
		var row []float64
		for _, id := range p.draft.TargetLayerIDs {
			row = append(row, captured[id]...)
		}
		features = append(features, row)
		if t >= len(prompt)-1 {
			ids = append(ids, largest(times(head, rmsNorm(h, p.of("model.norm.weight"), c.RMSNormEps))))
		}
	}
	return ids, features
}

func (p *slowPair) embedding(id int32) []float64 {
	H := p.target.HiddenSize
	return slices.Clone(p.of("model.embed_tokens.weight")[int(id)*H:][:H])
}

// propose drafts the tokens after the anchor at position start. Source: spec.md §5.1, §14.2.
func (p *slowPair) propose(anchor int32, start int, features [][]float64) []int32 {
	Z := p.block(anchor, start, features)
	c, head := p.draft, p.of("model.embed_tokens.weight")
	if !p.target.TieWordEmbeddings {
		head = p.of("lm_head.weight")
	}
	shifted := c.Domino && c.ShiftLabel
	state, before := make([]float64, c.GRUHiddenDim), anchor
	var drafts []int32
	for j := range c.BlockSize - 1 {
		row := j + 1 // predicts the token at its own position
		if shifted {
			row = j
		}
		logits := times(head, Z[row])
		if c.Domino {
			state = p.gru(p.embedding(before), state)
			if j >= c.PureDraftPrefixLen {
				act := times(p.own("embed_proj.0.weight"), slices.Concat(Z[row], state))
				for i, x := range act {
					act[i] = silu(x)
				}
				for i, x := range times(p.own("embed_proj.2.weight"), act) {
					logits[i] += x
				}
			}
		}
		before = largest(logits)
		drafts = append(drafts, before)
	}
	return drafts
}

// block is Z, the hidden states of the draft's block.
func (p *slowPair) block(anchor int32, start int, features [][]float64) [][]float64 {
	c := p.draft
	var context, rows [][]float64
	for _, f := range features[:start] {
		context = append(context, rmsNorm(times(p.own("fc.weight"), f), p.own("hidden_norm.weight"), c.RMSNormEps))
	}
	for o := range c.BlockSize {
		id := int32(c.MaskTokenID)
		if o == 0 {
			id = anchor
		}
		rows = append(rows, p.embedding(id))
	}
	for l := range c.NumLayers {
		layer := slowLayer{p.own, fmt.Sprintf("layers.%d.", l), c.NumHeads, c.NumKVHeads, c.HeadDim, c.Theta, c.RMSNormEps}
		var x, keys, values [][]float64
		for t, h := range context {
			k, v := layer.keyValue(h, t)
			keys, values = append(keys, k), append(values, v)
		}
		for o, h := range rows {
			x = append(x, layer.norm(h, "input_layernorm"))
			k, v := layer.keyValue(x[o], start+o)
			keys, values = append(keys, k), append(values, v)
		}
		for o, h := range rows {
			from := 0
			if c.SWAWindow > 0 {
				from = min(max(start+o-c.SWAWindow+1, 0), start) // the block is always seen
			}
			rows[o] = layer.rest(h, x[o], start+o, keys[from:], values[from:])
		}
	}
	for o, h := range rows {
		rows[o] = rmsNorm(h, p.own("norm.weight"), c.RMSNormEps)
	}
	return rows
}

// gru is one step of the head's cell. Source: spec.md §6.1.
func (p *slowPair) gru(x, h []float64) []float64 {
	G := len(h)
	in, hidden, next := times(p.own("prefix_gru.weight_ih_l0"), x), times(p.own("prefix_gru.weight_hh_l0"), h), make([]float64, G)
	for i := range G {
		r, z := sigmoid(in[i]+hidden[i]), sigmoid(in[G+i]+hidden[G+i])
		next[i] = (1-z)*math.Tanh(in[2*G+i]+r*hidden[2*G+i]) + z*h[i]
	}
	return next
}

// slowLayer is a layer of the target or of the draft.
type slowLayer struct {
	of                      func(name string) []float64
	prefix                  string
	heads, kvHeads, headDim int
	theta, eps              float64
}

func (l slowLayer) weight(name string) []float64 { return l.of(l.prefix + name + ".weight") }

func (l slowLayer) norm(x []float64, name string) []float64 { return rmsNorm(x, l.weight(name), l.eps) }

// keyValue is a row's key, normed and turned to its position, and its value.
func (l slowLayer) keyValue(x []float64, position int) (k, v []float64) {
	return l.turned(times(l.weight("self_attn.k_proj"), x), "self_attn.k_norm", position), times(l.weight("self_attn.v_proj"), x)
}

// turned norms each head and applies RoPE. Source: spec.md §5.3, with angles in float32.
func (l slowLayer) turned(x []float64, norm string, position int) []float64 {
	var out []float64
	for head := range slices.Chunk(x, l.headDim) {
		y := rmsNorm(head, l.weight(norm), l.eps)
		half := l.headDim / 2
		for i := range half {
			angle := float64(float32(position) * float32(math.Pow(l.theta, -2*float64(i)/float64(l.headDim))))
			sin, cos := math.Sincos(angle)
			y[i], y[half+i] = y[i]*cos-y[half+i]*sin, y[half+i]*cos+y[i]*sin
		}
		out = append(out, y...)
	}
	return out
}

// rest is the layer's output for a row: attention over keys, then the MLP.
func (l slowLayer) rest(h, x []float64, position int, keys, values [][]float64) []float64 {
	q := l.turned(times(l.weight("self_attn.q_proj"), x), "self_attn.q_norm", position)
	mixed := make([]float64, len(q))
	for g := range l.heads {
		of, sum := g/(l.heads/l.kvHeads)*l.headDim, 0.0
		own, out := q[g*l.headDim:][:l.headDim], mixed[g*l.headDim:][:l.headDim]
		for t, k := range keys {
			e := math.Exp(dot(own, k[of:of+l.headDim]) / math.Sqrt(float64(l.headDim)))
			sum += e
			for i := range out {
				out[i] += e * values[t][of+i]
			}
		}
		for i := range out {
			out[i] /= sum
		}
	}
	h = plus(h, times(l.weight("self_attn.o_proj"), mixed))
	y := l.norm(h, "post_attention_layernorm")
	gate, up := times(l.weight("mlp.gate_proj"), y), times(l.weight("mlp.up_proj"), y)
	for i := range gate {
		gate[i] = silu(gate[i]) * up[i]
	}
	return plus(h, times(l.weight("mlp.down_proj"), gate))
}

// times is W x for a row-major W.
func times(w, x []float64) []float64 {
	out := make([]float64, len(w)/max(len(x), 1))
	for i := range out {
		out[i] = dot(w[i*len(x):][:len(x)], x)
	}
	return out
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}

func plus(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

func rmsNorm(x, w []float64, eps float64) []float64 {
	scale, out := 1/math.Sqrt(dot(x, x)/float64(len(x))+eps), make([]float64, len(x))
	for i := range x {
		out[i] = w[i] * x[i] * scale
	}
	return out
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func silu(x float64) float64 { return x * sigmoid(x) }

// largest is the index of the largest value, the first of equal ones.
func largest(x []float64) int32 { return int32(slices.Index(x, slices.Max(x))) }
