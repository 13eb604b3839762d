package bench

import "vkdomino/domino"

// Part is a part of the step's work in floating-point operations, 2 of each multiplication and
// addition: its forward pass, the gradient of its input, and that of its weight.
type Part struct {
	Name    string  `json:"part"`
	Forward float64 `json:"forward_flop"`
	Input   float64 `json:"input_gradient_flop"`
	Weight  float64 `json:"weight_gradient_flop"`
}

// Total is the sum of the part's three passes.
func (p Part) Total() float64 { return p.Forward + p.Input + p.Weight }

// MinimumWork counts the matrix products that a training step of this layout cannot do without in
// the plain order of the computation: every product once forward and once for each gradient that is
// needed, attention by the pairs of query and key that the mask allows (with the scores once more in
// the backward pass), the LM head forward and for its input alone because it is frozen.
// Equal rows are not counted as one, so a step that computes them once does less than this.
func MinimumWork(p Preset, l *domino.Layout, headRows, corrected int) []Part {
	d := p.Draft
	H, q, kv, I := d.HiddenSize, d.NumHeads*d.HeadDim, d.NumKVHeads*d.HeadDim, d.IntermediateSize
	G, E, V := d.GRUHiddenDim, d.EmbDim, d.VocabSize
	T, Q, D := l.Batch*l.SeqLen, l.DraftRows(), d.NumLayers
	all := func(name string, f float64) Part { return Part{name, f, f, f} }
	frozenInput := func(name string, f float64) Part { return Part{name, f, 0, f} }
	attention := float64(D) * 4 * float64(q) * float64(pairs(l))
	return []Part{
		frozenInput("fc", flop(T, d.NumFeatures()*H, H)),
		all("context keys, values", float64(D)*flop(T, H, 2*kv)),
		all("draft queries", float64(D)*flop(Q, H, q)),
		all("draft keys, values", float64(D)*flop(Q, H, 2*kv)),
		all("attention output", float64(D)*flop(Q, q, H)),
		all("MLP gate, up", float64(D)*flop(Q, H, 2*I)),
		all("MLP down", float64(D)*flop(Q, I, H)),
		{"attention", attention, 2.5 * attention, 0},
		frozenInput("GRU input", flop(Q, H, 3*G)),
		all("GRU recurrence", flop(Q-len(l.Blocks), G, 3*G)),
		all("correction in", flop(corrected, H+G, E)),
		all("correction out", flop(corrected, E, V)),
		{"LM head", flop(headRows, H, V), flop(headRows, H, V), 0},
	}
}

// TargetWork counts the matrix products of the target's forward pass through the last captured layer:
// the projections of every token, and attention to it and those before.
func TargetWork(p Preset) float64 {
	t := p.Target
	T, q, kv := p.Batch*p.SeqLen, t.NumHeads*t.HeadDim, t.NumKVHeads*t.HeadDim
	layer := flop(T, t.HiddenSize, q+2*kv) + flop(T, q, t.HiddenSize) + flop(T, t.HiddenSize, 3*t.IntermediateSize) +
		4*float64(q)*float64(T)*float64(p.SeqLen+1)/2
	return float64(p.lastCaptured()+1) * layer
}

// pairs counts the draft rows' keys: the context before the anchor, and the block itself.
func pairs(l *domino.Layout) int {
	n := 0
	for _, b := range l.Blocks {
		n += l.BlockSize * (int(b.Anchor) + l.BlockSize)
	}
	return n
}

// flop is the work of an m by k times k by n product.
func flop(m, k, n int) float64 { return 2 * float64(m) * float64(k) * float64(n) }

func totalOf(parts []Part) float64 {
	sum := 0.0
	for _, p := range parts {
		sum += p.Total()
	}
	return sum
}
