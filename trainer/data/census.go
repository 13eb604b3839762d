package data

import (
	"bytes"
	"context"
	"slices"
)

// Census is what a JSONL file holds and what training would use of it.
type Census struct {
	*Dataset
	Texts         int            // rows that are a text without roles
	Roles         map[string]int // turns, by role
	Tokens        int            // of all rows, before anything is cut
	AnswerTokens  int            // of these, supervised ones
	CutTokens     int            // that lie behind SeqLen
	CutAnswers    int            // of these, supervised ones
	Unmarked      int            // rows whose answers cannot be found, with the first reason
	UnmarkedError error
	Lengths       []int // tokens of each row, ascending
}

// TakeCensus reads a file as Load does, and counts. Unlike Load it takes a file of which no
// row can be used; a row whose answers cannot be found is counted. Of opt it needs what Load
// needs but MinRows. Source: spec.md §11.1 to §11.3.
func TakeCensus(ctx context.Context, opt Options) (*Census, error) {
	n := &Census{Dataset: newDataset(opt.SeqLen), Roles: map[string]int{}}
	sum, err := eachRow(ctx, opt, opt.SampleSize, func(raw []byte) (r encodedRow, err error) {
		if r.conv, err = ParseConversation(raw); err == nil {
			r.Encoded, err = opt.Encode(r.conv)
		}
		return r, err
	}, func(line int, _ []byte, r encodedRow) error {
		n.add(opt, line, r.conv, r.Encoded)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n.Read == 0 {
		return nil, noRow(opt.Path)
	}
	n.SHA256 = sum
	slices.Sort(n.Lengths)
	return n, nil
}

func (n *Census) add(opt Options, line int, conv Conversation, e Encoded) {
	for _, role := range conv.roles {
		n.Roles[role]++
	}
	if conv.isText {
		n.Texts++
	}
	n.Tokens += len(e.IDs)
	n.Lengths = append(n.Lengths, len(e.IDs))
	if n.skips(conv) {
		return
	}
	if !opt.AnswerOnly {
		e.Mask = everything(e)
	} else if e.MaskErr != nil {
		n.Unmarked++
		if n.UnmarkedError == nil {
			n.UnmarkedError = rowError(opt.Path, line, e.MaskErr)
		}
		return
	}
	cut := min(len(e.IDs), opt.SeqLen)
	n.AnswerTokens += bytes.Count(e.Mask, []byte{1})
	n.CutTokens += len(e.IDs) - cut
	n.CutAnswers += bytes.Count(e.Mask[cut:], []byte{1})
	n.keep(opt, line, e)
}

// Percentile is the length of which a share q of the rows is no longer.
func (n *Census) Percentile(q float64) int {
	if len(n.Lengths) == 0 {
		return 0
	}
	return n.Lengths[min(int(q*float64(len(n.Lengths))), len(n.Lengths)-1)]
}
