package ops

import "vkdomino/tensors"

// greedyTemperature is the temperature below which sampling is greedy. Source: spec.md §14.3.
const greedyTemperature = 1e-5

// leastTopP is below the share of the most probable of 2^24 tokens, so that any smaller top-p keeps that one alone
// as well; but a much smaller one is 0 as a float32, and would keep none.
const leastTopP = 0x1p-64

// Filter says how a row of logits becomes the probabilities that a token is drawn from.
type Filter struct {
	Temperature float64 // logits are divided by it; below 1e-5 the largest logit takes all
	TopK        int     // keep the K most probable tokens; 0 keeps all
	TopP        float64 // keep the fewest of the most probable tokens that sum to at least P; 0 and 1 keep all
}

// Greedy reports whether the largest logit takes all.
func (f Filter) Greedy() bool { return f.Temperature < greedyTemperature }

// SamplingProbs writes softmax(logits/temperature), filtered by top-k and then by
// top-p of what is left, and normalised. Of equal logits the one with the smaller
// index counts as larger. p and logits are [N, V] F32 with 0 < V < 2^24; p is
// overwritten and may be logits. A row with NaN gives NaN. Source: spec.md §14.3.
func (c *Context) SamplingProbs(p, logits tensors.Tensor, f Filter) {
	const op = "sampling probs"
	c.wantDType(op, tensors.F32, p, logits)
	c.wantLike(op, logits, p)
	if f.TopK < 0 || f.TopP < 0 || f.TopP > 1 {
		c.failf("%s: want top-k of at least 0 and top-p from 0 to 1, got %d and %v", op, f.TopK, f.TopP)
	}
	if !c.wantColumns(op, logits) || c.Dry() || logits.Len() == 0 {
		return
	}
	cols := logits.Cols()
	perTemperature, topK, topP := 1/max(f.Temperature, greedyTemperature), f.TopK, f.TopP
	if f.Greedy() {
		perTemperature, topK, topP = 1, 1, 1
	}
	if topK >= cols {
		topK = 0
	}
	if topP == 0 {
		topP = 1
	}
	topP = max(topP, leastTopP)
	for _, s := range c.chunks(logits.Rows(), cols*logits.DType.Size()) {
		to, from := s.rows(p.View(logits.Rows(), cols)), s.rows(logits)
		_, vector := width(cols, to, from)
		uses := []use{out(to), in(from)}
		if to.Region == from.Region {
			uses = []use{inout(to), inout(from)}
		}
		c.run(launch{kernel: "sampling_probs", spec: c.rowSpec(flag(vector)), uses: uses,
			params: []uint32{uint32(s.hi - s.lo), uint32(cols), uint32(topK), f32bits(perTemperature), f32bits(topP)},
			groups: fold(s.hi - s.lo), work: 4 * flatWork * float64(from.Len())})
	}
}

// SampleIndex writes the index that a uniform number of [0, 1) draws from each row of
// probabilities: the first whose cumulative share of the row's sum exceeds u; -1 for
// a row without a probability above 0. p is [N, V] F32 with 0 < V < 2^24, u is [N]
// F32; result is [N] I32, overwritten. Source: spec.md §14.3.
func (c *Context) SampleIndex(result, p, u tensors.Tensor) {
	const op = "sample index"
	c.wantDType(op, tensors.F32, p, u)
	c.wantDType(op, tensors.I32, result)
	c.want(op, "u", u, p.Rows())
	c.want(op, "result", result, p.Rows())
	if !c.wantColumns(op, p) || c.Dry() || p.Len() == 0 {
		return
	}
	cols := p.Cols()
	for _, s := range c.chunks(p.Rows(), cols*p.DType.Size()) {
		part := s.rows(p)
		c.run(launch{kernel: "sample_index", spec: c.rowSpec(0), uses: []use{out(s.elements(result)), in(part), in(s.elements(u))},
			params: []uint32{uint32(s.hi - s.lo), uint32(cols)}, groups: fold(s.hi - s.lo), work: flatWork * float64(part.Len())})
	}
}

// RejectionSample verifies the drafts of slots by speculative rejection sampling.
// Draft d of step j, which was drawn from q_j, is accepted where u q_j[d] < p_j[d].
// The first that is not accepted is replaced by a draw from max(p_j - q_j, 0); where
// all are, the token after them is a draw from p of the last row. So every token has
// the distribution p.
//
// result is [slots, 2] I32: the number of accepted drafts and the token after them,
// -1 where p holds no probability; overwritten. p is [slots*(steps+1), V] F32 by slot;
// q is [steps*slots, V] F32 and drafts [steps*slots] I32, by step; u is
// [slots*(steps+1), 2] F32 by slot: the uniform numbers of acceptance and of the
// draw. p and q are rows of SamplingProbs and are each bound whole. Source: spec.md §14.3.
func (c *Context) RejectionSample(result, p, q, drafts, u tensors.Tensor, steps int) {
	const op = "rejection sample"
	slots, cols := result.Rows(), p.Cols()
	if steps < 1 {
		c.failf("%s: want at least one step, got %d", op, steps)
	}
	c.wantDType(op, tensors.F32, p, q, u)
	c.wantDType(op, tensors.I32, result, drafts)
	c.want(op, "result", result, slots, 2)
	c.want(op, "p", p, slots*(steps+1), cols)
	c.want(op, "q", q, steps*slots, cols)
	c.want(op, "drafts", drafts, steps*slots)
	c.want(op, "u", u, slots*(steps+1), 2)
	if !c.wantColumns(op, p) || c.Dry() || slots == 0 {
		return
	}
	c.run(launch{kernel: "rejection_sample", spec: c.rowSpec(0), uses: []use{out(result), in(p), in(q), in(drafts), in(u)},
		params: []uint32{uint32(slots), uint32(steps), uint32(cols)}, groups: fold(slots), work: flatWork * float64(slots*cols)})
}
