package domino

import (
	"context"
	"fmt"
	"time"

	"vkdomino/internal/fail"
	"vkdomino/ops"
)

// Method is how drafted tokens are verified when sampling. Source: spec.md §14.3.
type Method string

// The methods. With both, every token has the target's distribution.
const (
	// Equality accepts a drafted token where it equals the target's sample for its position.
	// The sample depends on seed, prompt and position alone, so the tokens are those that the
	// target alone would give.
	Equality Method = "equality"
	// Rejection accepts it with probability min(1, p/q) and else draws from what p has more than q.
	Rejection Method = "rejection"
)

// DecodeOptions are the settings of one call of Generate.
type DecodeOptions struct {
	MaxNewTokens int
	StopTokens   []int32
	StopTokensOf [][]int32 // by prompt, in place of StopTokens; nil: the same for all

	Sampling     ops.Filter // temperature, top-k, top-p; the zero value is greedy
	Method       Method     // "": Equality
	GreedyDrafts bool       // draft the most probable tokens although the target samples
	Seed         uint64
	FirstPrompt  int // the number of the first prompt, for its random numbers

	DraftTokens int  // drafted tokens of a cycle; 0: the decoder's
	HeadOff     bool // the backbone alone, without the head's correction
	NoDraft     bool // the target alone, one token a pass

	// Timing measures drafting, head and verification apart, at the cost of a submission for each.
	Timing bool
}

// Generation is what one prompt got.
type Generation struct {
	Tokens            []int32 // up to the first stop token, that one included, and at most MaxNewTokens
	Stopped           bool    // the last token is a stop token
	AcceptanceLengths []int   // of every cycle, the last one too, uncut
	TargetCalls       int     // passes of the target, those of the prompt included
}

// Stats is what decoding a list of prompts cost. A pass or cycle is of several prompts at a time.
type Stats struct {
	PrefillPasses, Cycles int
	Prefill, Decode       time.Duration // of passes over prompts, and of cycles
	// Parts of Decode; zero without DecodeOptions.Timing.
	Draft, Head, Verify time.Duration
}

// Decoding is the result of Generate.
type Decoding struct {
	Generations []Generation // by prompt
	Stats       Stats
}

// OnTokens is called with the tokens of a prompt as soon as they are final; the first
// accepted of them were drafted, the others are the target's own.
type OnTokens func(prompt int, tokens []int32, accepted int)

// Generate decodes prompts, as many at a time as the decoder has slots. What a prompt gets
// does not depend on the others. onTokens may be nil. Where ctx ends, or the device fails,
// Generate returns what has been decoded together with the error. Source: spec.md §14.2.
func (d *Decoder) Generate(ctx context.Context, prompts [][]int32, opt DecodeOptions, onTokens OnTokens) (*Decoding, error) {
	g := &generator{Decoder: d, opt: opt, onTokens: onTokens, out: &Decoding{Generations: make([]Generation, len(prompts))}}
	if err := g.begin(prompts); err != nil {
		return nil, err
	}
	stable := d.c.RowStable
	d.c.RowStable = true
	defer func() { d.c.RowStable = stable }()
	if g.steps > 0 && !opt.HeadOff && len(g.waiting) > 0 {
		d.draft.prepare(d.c)
	}
	for len(g.active)+len(g.waiting) > 0 {
		if err := ctx.Err(); err != nil {
			return g.out, fmt.Errorf("domino: decoding: %w", err)
		}
		if err := g.step(); err != nil {
			return g.out, err
		}
	}
	return g.out, nil
}

// generator is one call of Generate on its way.
type generator struct {
	*Decoder
	opt      DecodeOptions
	steps    int // drafted tokens of a cycle, 0 for the target alone
	onTokens OnTokens
	out      *Decoding
	waiting  []*sequence // without a slot
	active   []*sequence // with one
	free     []int       // slots
}

// sequence is one prompt and its answer.
type sequence struct {
	*Generation
	prompt  int
	tokens  []int32 // of prompt and answer, uncut
	length  int     // of the prompt
	start   int     // tokens that the target has processed
	slot    int
	stops   []int32
	emitted int // tokens of the answer that onTokens has had
}

// begin checks the call and lists its prompts.
func (g *generator) begin(prompts [][]int32) error {
	if err := g.checkOptions(); err != nil {
		return err
	}
	if g.opt.StopTokensOf != nil && len(g.opt.StopTokensOf) != len(prompts) {
		return fmt.Errorf("domino: decoding: want stop tokens of %d prompts, got %d", len(prompts), len(g.opt.StopTokensOf))
	}
	V := g.cfg.Target.Config.VocabSize
	for i, p := range prompts {
		s := &sequence{Generation: &g.out.Generations[i], prompt: i, length: len(p), stops: g.opt.StopTokens}
		if g.opt.StopTokensOf != nil {
			s.stops = g.opt.StopTokensOf[i]
		}
		if err := checkTokens(fmt.Sprintf("stop tokens of prompt %d", i), s.stops, V); err != nil {
			return err
		}
		if err := checkTokens(fmt.Sprintf("prompt %d", i), p, V); err != nil {
			return err
		}
		if len(p) == 0 {
			return fail.New(fail.Usage, "give a prompt of at least one token", "domino: prompt %d: want at least one token, got none", i)
		}
		if len(p)+g.opt.MaxNewTokens > g.cfg.Context {
			return fail.New(fail.Usage, "shorten the prompt or ask for fewer new tokens", "domino: prompt %d: want at most %d tokens with the answer, got %d and an answer of %d",
				i, g.cfg.Context, len(p), g.opt.MaxNewTokens)
		}
		if g.opt.MaxNewTokens > 0 {
			s.tokens = append(make([]int32, 0, g.cfg.Context+g.steps+1), p...)
			g.waiting = append(g.waiting, s)
		}
	}
	for slot := range g.cfg.Slots {
		g.free = append(g.free, slot)
	}
	return nil
}

func (g *generator) checkOptions() error {
	opt, f := &g.opt, g.opt.Sampling
	if opt.Method == "" {
		opt.Method = Equality
	}
	g.steps = g.cfg.DraftTokens
	if opt.DraftTokens != 0 {
		g.steps = opt.DraftTokens
	}
	if opt.NoDraft || g.draft == nil {
		g.steps = 0
	}
	switch {
	case opt.Method != Equality && opt.Method != Rejection:
		return fail.New(fail.Usage, "", "domino: sampling: want %s or %s, got %q", Equality, Rejection, opt.Method)
	case opt.MaxNewTokens < 0:
		return fail.New(fail.Usage, "", "domino: new tokens: want at least 0, got %d", opt.MaxNewTokens)
	case g.steps < 0 || g.steps > g.cfg.DraftTokens:
		return fail.New(fail.Usage, "lower the number of drafted tokens", "domino: drafted tokens: want 1 to %d, got %d", g.cfg.DraftTokens, g.steps)
	case !(f.Temperature >= 0) || f.TopK < 0 || !(f.TopP >= 0 && f.TopP <= 1):
		return fail.New(fail.Usage, "", "domino: sampling: want temperature and top-k of at least 0 and top-p from 0 to 1, got %v, %d and %v", f.Temperature, f.TopK, f.TopP)
	}
	return nil
}

// step gives free slots to waiting prompts, or does one cycle.
func (g *generator) step() error {
	for len(g.free) > 0 && len(g.waiting) > 0 {
		s := g.waiting[0]
		s.slot = g.free[0]
		g.waiting, g.free = g.waiting[1:], g.free[1:]
		g.active = append(g.active, s)
	}
	for _, s := range g.active {
		if len(s.tokens) == s.length {
			return g.prefill()
		}
	}
	return g.cycle()
}

// extend appends a prompt's new tokens, the first accepted of them drafted ones, and reports
// what is final.
func (s *sequence) extend(g *generator, tokens []int32, accepted int) {
	s.tokens = append(s.tokens, tokens...)
	n, stopped := CutTokens(s.tokens[s.length:], s.stops, g.opt.MaxNewTokens)
	s.Stopped = stopped
	s.Tokens = s.tokens[s.length : s.length+n : s.length+n]
	fresh := s.Tokens[s.emitted:]
	if g.onTokens != nil && len(fresh) > 0 {
		g.onTokens(s.prompt, fresh, min(accepted, len(fresh)))
	}
	s.emitted = n
}

// retire takes the finished prompts out of their slots. Source: the stop rule of spec.md §14.2.
func (g *generator) retire() {
	kept := g.active[:0]
	for _, s := range g.active {
		if s.Stopped || s.start >= s.length+g.opt.MaxNewTokens {
			g.free = append(g.free, s.slot)
		} else {
			kept = append(kept, s)
		}
	}
	g.active = kept
}
