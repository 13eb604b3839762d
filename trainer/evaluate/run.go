package evaluate

import (
	"context"
	"fmt"

	"vkdomino/domino"
	"vkdomino/model"
	"vkdomino/ops"
)

// The defaults of Options.
const (
	DefaultResamples = 2000
	timedPrompts     = 8
	warmUpTokens     = 2
)

// Options say how prompts are decoded: greedily, as the lossless check wants it.
type Options struct {
	MaxNewTokens int
	Stops        []int32
	Batch        int // prompts decoded at a time
	Resamples    int // of the bootstrap; 0: DefaultResamples
}

// longest is the room that every prompt has with its answer.
func longest(prompts [][]int32, maxNew int) int {
	n := 0
	for _, p := range prompts {
		n = max(n, len(p))
	}
	return n + maxNew
}

// Positions is the length of the RoPE tables that a target needs for prompts and their answers.
func Positions(prompts [][]int32, maxNew, blockSize int) int {
	return longest(prompts, maxNew) + blockSize
}

// Prepare is a decoder for prompts; draft may be nil.
func Prepare(c *ops.Context, target *model.Target, draft *domino.DraftModel, prompts [][]int32, draftTokens int, opt Options) (*domino.Decoder, error) {
	return domino.NewDecoder(c, domino.DecoderConfig{Target: target, Draft: draft, Slots: min(opt.Batch, len(prompts)),
		Context: longest(prompts, opt.MaxNewTokens), DraftTokens: draftTokens})
}

// decode is Generate with the options of an evaluation.
func (opt Options) decode(ctx context.Context, d *domino.Decoder, prompts [][]int32, how domino.DecodeOptions) (*domino.Decoding, error) {
	how.MaxNewTokens, how.StopTokens = opt.MaxNewTokens, opt.Stops
	out, err := d.Generate(ctx, prompts, how, nil)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	return out, nil
}

func (opt Options) resamples() int {
	if opt.Resamples == 0 {
		return DefaultResamples
	}
	return opt.Resamples
}

// WarmUp decodes a few tokens in every way, so that no time of Alone and Compare has the
// compilation of kernels in it.
func WarmUp(ctx context.Context, d *domino.Decoder, prompts [][]int32, opt Options) error {
	opt.MaxNewTokens = min(opt.MaxNewTokens, warmUpTokens)
	for _, how := range []domino.DecodeOptions{{NoDraft: true}, {HeadOff: true}, {}} {
		if _, err := opt.decode(ctx, d, prompts[:min(len(prompts), opt.Batch)], how); err != nil {
			return err
		}
	}
	return nil
}

// Alone decodes with the target alone: what Compare measures drafts against.
func Alone(ctx context.Context, d *domino.Decoder, prompts [][]int32, opt Options) (*domino.Decoding, error) {
	return opt.decode(ctx, d, prompts, domino.DecodeOptions{NoDraft: true})
}

// Compare decodes with a draft, with its head and without, and measures both against alone.
func Compare(ctx context.Context, d *domino.Decoder, cfg domino.DraftConfig, prompts [][]int32, alone *domino.Decoding, opt Options) (Draft, error) {
	k := d.DraftTokens()
	r := Draft{Step: -1, Kind: "dflash", BlockSize: cfg.BlockSize, DraftTokens: k}
	full, err := opt.decode(ctx, d, prompts, domino.DecodeOptions{})
	if err != nil {
		return r, err
	}
	r.Full = NewMeasure(full, alone, k, opt.resamples())
	if cfg.Domino {
		r.Kind = "domino"
		off, err := opt.decode(ctx, d, prompts, domino.DecodeOptions{HeadOff: true})
		if err != nil {
			return r, err
		}
		m := NewMeasure(off, alone, k, opt.resamples())
		r.HeadOff = &m
	}
	return r, nil
}

// TimeParts decodes the first prompts once more to see where a cycle's time goes.
func TimeParts(ctx context.Context, d *domino.Decoder, prompts [][]int32, opt Options) (Parts, error) {
	some := prompts[:min(len(prompts), max(timedPrompts, opt.Batch))]
	out, err := opt.decode(ctx, d, some, domino.DecodeOptions{Timing: true})
	if err != nil {
		return Parts{}, err
	}
	s, n := out.Stats, float64(out.Stats.Cycles)
	return Parts{Prompts: len(some), Draft: 1000 * ratio(s.Draft.Seconds(), n), Head: 1000 * ratio(s.Head.Seconds(), n),
		Verify: 1000 * ratio(s.Verify.Seconds(), n)}, nil
}
