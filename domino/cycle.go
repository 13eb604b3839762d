package domino

import (
	"time"

	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// prefill runs the target over prompt tokens, as many as a pass holds, and samples the first
// token of every prompt that is through. Source: spec.md §14.2.
func (g *generator) prefill() error {
	start := time.Now()
	var runs []model.Run
	var ids, last []int32
	var through, part []*sequence
	for _, s := range g.active {
		n := min(s.length-s.start, g.cache.Rows-len(ids))
		if len(s.tokens) > s.length || n == 0 {
			continue
		}
		runs = append(runs, model.Run{Slot: s.slot, Start: s.start, Count: n})
		ids = append(ids, s.tokens[s.start:s.start+n]...)
		s.start += n
		s.TargetCalls++
		part = append(part, s)
		if s.start == s.length {
			last = append(last, int32(len(ids)-1))
			through = append(through, s)
		}
	}
	c, logits := g.c, g.logits.Slice(0, len(last))
	if err := g.cache.Place(c, runs); err != nil {
		return err
	}
	c.UploadI32(g.cache.IDs.View(len(ids)), ids)
	g.pass()
	if len(last) > 0 {
		c.UploadI32(g.rows.View(len(last)), last)
		g.cache.Logits(c, logits, g.rows.View(len(last)))
		g.sample(logits, g.result.View(len(last)), through, 1, 0)
	}
	if err := c.Submit(); err != nil {
		return err
	}
	g.out.Stats.PrefillPasses++
	g.out.Stats.Prefill += time.Since(start)
	tokens, err := g.read(len(last))
	if err != nil {
		return err
	}
	for i, s := range through {
		s.extend(g, tokens[i:i+1], 0)
	}
	return nil
}

// pass records the target's pass over the placed tokens, with what the draft keeps of it.
func (g *generator) pass() {
	g.cache.Forward(g.c, g.steps > 0)
	if g.steps > 0 {
		g.draft.backbone.Append(g.c, g.cache)
	}
}

// sample records the target's tokens of rows of logits: each sequence has perSequence of
// them, for its positions from start + offset on.
func (g *generator) sample(logits, to tensors.Tensor, list []*sequence, perSequence, offset int) {
	f := g.opt.Sampling
	if f.Greedy() {
		g.c.Argmax(to, logits)
		return
	}
	var numbers []float32
	for _, s := range list {
		for j := range perSequence {
			numbers = append(numbers, g.uniformOf(s, s.start+offset+j, purposeToken))
		}
	}
	u := g.uniform.View(len(numbers))
	g.c.UploadF32(u, numbers)
	g.c.SamplingProbs(logits, logits, f)
	g.c.SampleIndex(to, logits, u)
}

// uniformOf is the uniform number for the token that a sequence has at a position.
func (g *generator) uniformOf(s *sequence, position int, p purpose) float32 {
	return uniform(g.opt.Seed, g.opt.FirstPrompt+s.prompt, position, p)
}

// read returns the first n numbers that the device left, which are tokens or counts.
func (g *generator) read(n int) ([]int32, error) {
	values, err := g.c.Int32s(g.result.View(n))
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		if v < 0 {
			return nil, fail.New(fail.NonFinite, "the weights hold numbers that are not finite, or the precision is too low", "domino: decoding: the target's logits are not finite")
		}
	}
	return values, nil
}

// cycle drafts, verifies and accepts tokens of all active prompts. Source: spec.md §14.2.
func (g *generator) cycle() error {
	begin := time.Now()
	p := g.proposal()
	runs := make([]model.Run, len(g.active))
	for i, s := range g.active {
		runs[i] = model.Run{Slot: s.slot, Start: s.start, Count: g.steps + 1}
	}
	if err := g.cache.Place(g.c, runs); err != nil {
		return err
	}
	q, err := g.propose(p)
	if err != nil {
		return err
	}
	g.verify(q)
	if err := g.phase(&g.out.Stats.Verify); err != nil {
		return err
	}
	if err := g.c.Submit(); err != nil {
		return err
	}
	if err := g.accept(); err != nil {
		return err
	}
	g.out.Stats.Cycles++
	g.out.Stats.Decode += time.Since(begin)
	g.retire()
	return nil
}

// phase ends a part of a cycle where they are timed.
func (g *generator) phase(total *time.Duration) error {
	if !g.opt.Timing {
		return nil
	}
	start := time.Now()
	err := g.c.Submit()
	*total += time.Since(start)
	return err
}

// proposal is what is drafted next.
func (g *generator) proposal() *proposal {
	p := &proposal{steps: g.steps, head: !g.opt.HeadOff, filter: g.opt.Sampling}
	rejects := g.rejects()
	if g.opt.GreedyDrafts {
		p.filter = ops.Filter{}
	}
	p.probs = rejects
	for _, s := range g.active {
		p.slots, p.starts = append(p.slots, s.slot), append(p.starts, s.start)
		p.anchors = append(p.anchors, s.tokens[s.start])
	}
	if p.greedy() {
		return p
	}
	// Equality is likelier where draft and target draw with the same number; rejection wants
	// numbers that are independent.
	why := purposeToken
	if rejects {
		why = purposeDraft
	}
	for j := range g.steps {
		for _, s := range g.active {
			p.uniform = append(p.uniform, g.uniformOf(s, s.start+j+1, why))
		}
	}
	return p
}

// rejects says whether verification is by rejection sampling.
func (g *generator) rejects() bool {
	return g.opt.Method == Rejection && !g.opt.Sampling.Greedy() && g.steps > 0
}

// propose records drafting, or writes the anchors alone where nothing is drafted. It returns
// the probabilities of the drafted tokens.
func (g *generator) propose(p *proposal) (q tensors.Tensor, err error) {
	if g.steps == 0 {
		g.c.UploadI32(g.cache.IDs.View(len(p.anchors)), p.anchors)
		return q, nil
	}
	g.draft.upload(g.c, p)
	g.draft.block(g.c, p)
	if err := g.phase(&g.out.Stats.Draft); err != nil {
		return q, err
	}
	q = g.draft.rollout(g.c, p)
	g.draft.bySlot(g.c, g.cache.IDs, p)
	return q, g.phase(&g.out.Stats.Head)
}

// verify records the target's pass over anchors and drafted tokens and what it says of them.
func (g *generator) verify(q tensors.Tensor) {
	c, n := g.c, len(g.active)*(g.steps+1)
	logits := g.logits.Slice(0, n)
	g.pass()
	g.cache.Logits(c, logits, tensors.Tensor{})
	if !g.rejects() {
		g.sample(logits, g.result.View(n), g.active, g.steps+1, 1) // row j is followed by position start + j + 1
		return
	}
	var numbers []float32
	for _, s := range g.active {
		for j := range g.steps + 1 {
			numbers = append(numbers, g.uniformOf(s, s.start+j+1, purposeAccept), g.uniformOf(s, s.start+j+1, purposeToken))
		}
	}
	u := g.uniform.View(n, 2)
	c.UploadF32(u, numbers)
	drafts := g.draft.tokens.Slice(len(g.active), n)
	c.SamplingProbs(logits, logits, g.opt.Sampling)
	c.RejectionSample(g.result.View(len(g.active), 2), logits, q, drafts, u, g.steps)
}

// accept reads what verification left and extends the prompts.
func (g *generator) accept() error {
	per, width := g.steps+1, g.steps+1
	if g.rejects() {
		width = 2
	}
	verdicts, err := g.read(len(g.active) * width)
	if err != nil {
		return err
	}
	drafts, err := g.drafts()
	if err != nil {
		return err
	}
	for i, s := range g.active {
		own := drafts[i*per+1 : (i+1)*per]
		accepted, next := g.verdict(own, verdicts[i*width:(i+1)*width])
		s.start += accepted + 1
		s.TargetCalls++
		s.AcceptanceLengths = append(s.AcceptanceLengths, accepted+1)
		s.extend(g, append(own[:accepted:accepted], next), accepted)
	}
	return nil
}

// drafts are the tokens that the target has just verified: by prompt the anchor and what was drafted after it.
func (g *generator) drafts() ([]int32, error) {
	return g.c.Int32s(g.cache.IDs.View(len(g.active) * (g.steps + 1)))
}

// verdict is how many of a prompt's drafts count and the token after them, from what
// verification says of it.
func (g *generator) verdict(drafts, said []int32) (accepted int, next int32) {
	if g.rejects() {
		return int(said[0]), said[1]
	}
	accepted = AcceptedPrefix(drafts, said)
	return accepted, said[accepted]
}
