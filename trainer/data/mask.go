package data

import (
	"strings"
	"unicode/utf8"

	"vkdomino/internal/fail"
)

const (
	assistantHeader = "<|im_start|>assistant\n"
	endOfTurn       = "<|im_end|>"
)

// answerSpans returns the ranges of a rendered text that are supervised, in
// code points. With generation blocks they are the blocks, and the end-of-turn
// token eos right after a block that does not end with it, if supervised; else
// the header rule's. Source: spec.md §11.2.
func (o Options) answerSpans(r Rendered, blocks bool) ([][2]int, error) {
	if !blocks {
		return o.headerSpans(r.Text)
	}
	index := pointIndex{text: r.Text}
	spans := make([][2]int, len(r.Spans))
	for i, span := range r.Spans {
		start, end := index.byteAt(span[0]), index.byteAt(span[1])
		spans[i] = span
		if !o.SuperviseEndOfTurn || o.EOS == "" {
			continue
		}
		ended := strings.HasSuffix(r.Text[start:end], o.EOS)
		if !ended && strings.HasPrefix(r.Text[end:], o.EOS) {
			spans[i][1] += utf8.RuneCountInString(o.EOS)
			end += len(o.EOS)
			ended = true
		}
		if ended && o.SuperviseNewline && strings.HasPrefix(r.Text[end:], "\n") {
			spans[i][1]++
		}
	}
	return spans, nil
}

// headerSpans returns every range from right after the assistant's header to
// the next end-of-turn token, which belongs to it if supervised.
func (o Options) headerSpans(text string) ([][2]int, error) {
	if !strings.Contains(text, assistantHeader) {
		return nil, fail.New(fail.Other, "give a template with generation blocks in data.chat_template, or set training.answer_only_loss = false",
			"data: mask: want generation blocks in the template or the header %q in the text, got neither", assistantHeader)
	}
	var spans [][2]int
	points, rest := 0, text
	for {
		before, after, ok := strings.Cut(rest, assistantHeader)
		if !ok {
			return spans, nil
		}
		answer, left, closed := strings.Cut(after, endOfTurn)
		if !closed {
			return spans, nil
		}
		start := points + utf8.RuneCountInString(before) + len(assistantHeader)
		end := start + utf8.RuneCountInString(answer)
		points = end + len(endOfTurn)
		rest = left
		if o.SuperviseEndOfTurn {
			end = points
			if o.SuperviseNewline && strings.HasPrefix(rest, "\n") {
				end++
			}
		}
		spans = append(spans, [2]int{start, end})
	}
}

// pointIndex turns ascending code point indices of a text into byte offsets.
type pointIndex struct {
	text         string
	points, byte int
}

func (p *pointIndex) byteAt(point int) int {
	for p.points < point {
		_, n := utf8.DecodeRuneInString(p.text[p.byte:])
		p.byte += n
		p.points++
	}
	return p.byte
}

// tokenMask marks the tokens whose start lies inside a span. Spans ascend.
func tokenMask(offsets [][2]int, spans [][2]int) []uint8 {
	mask := make([]uint8, len(offsets))
	next := 0
	for i, o := range offsets {
		for next < len(spans) && o[0] >= spans[next][1] {
			next++
		}
		if next < len(spans) && o[0] >= spans[next][0] {
			mask[i] = 1
		}
	}
	return mask
}

// Encoded is a rendered conversation with its tokens and what of them is
// supervised.
type Encoded struct {
	Rendered
	IDs     []int32
	Mask    []uint8
	MaskErr error // why nothing can be supervised: neither blocks nor a header
}

// Encode renders a conversation and marks its answers: by generation blocks
// where the template has them, else by the assistant's header. It truncates
// nothing. Of o it needs Tokenizer, Template, BOS, EOS and what to supervise.
func (o Options) Encode(conv Conversation) (Encoded, error) {
	var e Encoded
	var err error
	blocks := false
	if conv.isText {
		e.Rendered = Rendered{Text: conv.text, Spans: [][2]int{}}
	} else {
		if e.Rendered, err = o.render(conv, false); err != nil {
			return e, err
		}
		blocks = o.Template.HasGeneration()
	}
	ids, offsets, err := o.Tokenizer.Encode(e.Text)
	if err != nil {
		return e, err
	}
	spans, err := o.answerSpans(e.Rendered, blocks)
	e.IDs, e.Mask, e.MaskErr = ids, tokenMask(offsets, spans), err
	return e, nil
}

func (o Options) render(conv Conversation, prompt bool) (Rendered, error) {
	if o.Template == nil {
		return Rendered{}, fail.New(fail.Other, "name a Jinja template in data.chat_template",
			"data: template: want one to render messages, got none: the checkpoint has no chat template")
	}
	return o.Template.Render(conv, RenderOptions{BOS: o.BOS, EOS: o.EOS, AddGenerationPrompt: prompt})
}
