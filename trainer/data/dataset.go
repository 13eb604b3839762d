package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vkdomino/internal/fail"
)

// Reasons for which a row is left out, in the order in which they are looked for.
const (
	ReasonNoAssistant       = "no assistant turn"
	ReasonNothingSupervised = "nothing supervised after truncation"
	ReasonNoConsecutive     = "no two consecutive supervised tokens"
)

var reasons = []string{ReasonNoAssistant, ReasonNothingSupervised, ReasonNoConsecutive}

// Options say what Load reads and how.
type Options struct {
	Path      string // JSONL file
	Tokenizer *Tokenizer
	Template  *Template // may be nil if every row is a text
	BOS, EOS  string    // variables of the template; EOS ends a turn; "" for none
	Pad       string    // pad token; padding is id 0 if there is none

	SeqLen     int // tokens of a row at most; longer rows lose their end
	SampleSize int // rows read at most, from the start; -1 for all
	MinRows    int // usable rows at least: one batch

	AnswerOnly         bool // supervise answers alone, else every token
	SuperviseEndOfTurn bool // spec.md §11.2
	SuperviseNewline   bool // and the newline after it, as SpecForge does
	FilterConsecutive  bool // leave out rows without two consecutive supervised tokens

	Progress Progress // may be nil
}

// Progress is told after each row of a file how many there were and the share of the file, from
// 0 to 1, that has been read: 0 where that is not known.
type Progress func(path string, rows int, share float64)

// Row is one conversation, ready to train on. LossMask is 1 where a token is
// supervised.
type Row struct {
	IDs      []int32
	LossMask []uint8
	Line     int // in the file, from 1
}

// Dataset is a JSONL file as rows.
type Dataset struct {
	Rows   []Row
	Counts map[string]int // rows left out, by reason; every reason is a key
	Read   int            // rows read, used or not
	Cut    int            // used rows that were truncated
	SHA256 string         // of the file's bytes
	SeqLen int

	PadID   int32   // id of padding
	PadLoss float32 // loss mask of padding: 1 where every token is supervised

	order lastOrder
}

// Load reads a JSONL file, on all processors. What spec.md §11.1 calls an error ends with exit
// code 1 and names file, line, what was found and what is wanted; rows left out are counted.
// When ctx ends the error has the code fail.Interrupted.
func Load(ctx context.Context, opt Options) (*Dataset, error) {
	d := newDataset(opt.SeqLen)
	if opt.SeqLen <= 0 || opt.SampleSize == 0 || opt.SampleSize < -1 {
		return nil, fail.New(fail.Usage, "sample_size is -1 or positive, training_seq_len positive",
			"data: load: want a length and a sample size, got %d and %d", opt.SeqLen, opt.SampleSize)
	}
	if id, ok := opt.Tokenizer.TokenID(opt.Pad); ok {
		d.PadID = id
	}
	if !opt.AnswerOnly {
		d.PadLoss = 1
	}
	sum, err := eachRow(ctx, opt, opt.SampleSize, opt.trainable, func(line int, _ []byte, r encodedRow) error {
		if !d.skips(r.conv) {
			d.keep(opt, line, r.Encoded)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.SHA256 = sum
	return d, d.check(opt)
}

// encodedRow is a row with its tokens.
type encodedRow struct {
	Encoded
	conv Conversation
}

// trainable parses a row and encodes it, if there is something in it to learn from.
func (o Options) trainable(raw []byte) (r encodedRow, err error) {
	if r.conv, err = ParseConversation(raw); err != nil || r.conv.nothingToLearn() {
		return r, err
	}
	if r.Encoded, err = o.Encode(r.conv); err != nil {
		return r, err
	}
	if o.AnswerOnly {
		return r, r.MaskErr
	}
	r.Mask = everything(r.Encoded)
	return r, nil
}

// everything is the mask with which every token is supervised.
func everything(e Encoded) []uint8 { return bytes.Repeat([]uint8{1}, len(e.IDs)) }

// newDataset has no row yet, and every reason counted 0 times.
func newDataset(seqLen int) *Dataset {
	d := &Dataset{Counts: map[string]int{}, SeqLen: seqLen}
	for _, r := range reasons {
		d.Counts[r] = 0
	}
	return d
}

// skips counts a row, and says whether it has no answer to learn from.
func (d *Dataset) skips(conv Conversation) bool {
	d.Read++
	if !conv.nothingToLearn() {
		return false
	}
	d.Counts[ReasonNoAssistant]++
	return true
}

// keep cuts an encoded row to its length and keeps a copy of that, so that what was cut takes
// no memory, or counts why not.
func (d *Dataset) keep(opt Options, line int, e Encoded) {
	n := min(len(e.IDs), opt.SeqLen)
	row := Row{IDs: e.IDs[:n], LossMask: e.Mask[:n], Line: line}
	switch {
	case bytes.IndexByte(row.LossMask, 1) < 0:
		d.Counts[ReasonNothingSupervised]++
	case opt.FilterConsecutive && !bytes.Contains(row.LossMask, []byte{1, 1}):
		d.Counts[ReasonNoConsecutive]++
	default:
		row.IDs, row.LossMask = slices.Clone(row.IDs), slices.Clone(row.LossMask)
		d.Rows = append(d.Rows, row)
		if n < len(e.IDs) {
			d.Cut++
		}
	}
}

func (d *Dataset) check(opt Options) error {
	want := max(opt.MinRows, 1)
	if len(d.Rows) >= want {
		return nil
	}
	if d.Read == 0 {
		return noRow(opt.Path)
	}
	return fail.New(fail.Other, "give more conversations with an answer, a longer training_seq_len or a smaller batch",
		"data: %s: want at least %d usable rows, got %d: %s", opt.Path, want, len(d.Rows), d.Summary())
}

// noRow is the error of an empty file.
func noRow(path string) error {
	return fail.New(fail.Other, "give a file with conversations", "data: %s: want at least one row, got none", path)
}

// Summary says in one line what was read and what was left out, by reason.
func (d *Dataset) Summary() string {
	var out []string
	for _, r := range reasons {
		if n := d.Counts[r]; n > 0 {
			out = append(out, fmt.Sprintf("%d with %s", n, r))
		}
	}
	left := "none"
	if len(out) > 0 {
		left = strings.Join(out, ", ")
	}
	return fmt.Sprintf("%d of %d rows used, %d cut to %d tokens; left out: %s", len(d.Rows), d.Read, d.Cut, d.SeqLen, left)
}

// Prompt is the part of a conversation before the first answer, rendered with
// the header of the answer.
type Prompt struct {
	IDs  []int32
	Text string
	Line int
}

// LoadPrompts reads the prompts of the first n conversations of a file, for
// evaluation. Of opt it needs Path, Tokenizer, Template, BOS and EOS.
func LoadPrompts(ctx context.Context, opt Options, n int) ([]Prompt, error) {
	var out []Prompt
	_, err := eachRow(ctx, opt, n, func(raw []byte) (Prompt, error) {
		conv, err := ParseConversation(raw)
		if err == nil && conv.isText {
			err = errText
		}
		if err != nil {
			return Prompt{}, err
		}
		return opt.PromptIDs(conv)
	}, func(line int, _ []byte, p Prompt) error {
		p.Line = line
		out = append(out, p)
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fail.New(fail.Other, "give a file with conversations", "data: %s: want at least one conversation, got none", opt.Path)
	}
	return out, err
}

// errText refuses a text where turns are wanted.
var errText = errors.New("want messages or conversations, got text")

// LoadOpenings is LoadPrompts for rows of any kind: where a row is a text, the first half of
// its tokens is the prompt, and a row that has none, as it begins with an answer or is empty,
// is left out.
func LoadOpenings(ctx context.Context, opt Options, n int) ([]Prompt, error) {
	var out []Prompt
	_, err := eachRow(ctx, opt, n, func(raw []byte) (Prompt, error) {
		conv, err := ParseConversation(raw)
		if err != nil || !conv.isText && len(conv.Prompt().roles) == 0 {
			return Prompt{}, err
		}
		return opt.opening(conv)
	}, func(line int, _ []byte, p Prompt) error {
		p.Line = line
		if len(p.IDs) > 0 {
			out = append(out, p)
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fail.New(fail.Other, "give a file of conversations or texts", "data: %s: want a prompt in the first %d rows, got none", opt.Path, n)
	}
	return out, err
}

func (o Options) opening(conv Conversation) (Prompt, error) {
	if !conv.isText {
		return o.PromptIDs(conv)
	}
	ids, _, err := o.Tokenizer.Encode(conv.text)
	return Prompt{IDs: ids[:(len(ids)+1)/2], Text: conv.text}, err
}

// PromptIDs renders and encodes the turns before the first answer.
func (o Options) PromptIDs(conv Conversation) (Prompt, error) {
	r, err := o.render(conv.Prompt(), true)
	if err != nil {
		return Prompt{}, err
	}
	ids, _, err := o.Tokenizer.Encode(r.Text)
	return Prompt{IDs: ids, Text: r.Text}, err
}
