package evaluate

import (
	"context"
	"fmt"

	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
)

const (
	agreementRows   = 512 // tokens of a pass at least; a longer row has a pass of its own
	agreementLogits = 128 // rows of logits at a time
)

// Agreement is how often a target would have given the next token of an answer.
type Agreement struct {
	Tokens int // supervised tokens that have one before them
	Agree  int // of these, the ones that the target's greedy choice equals
}

// Share is Agree / Tokens, 0 without a token.
func (a Agreement) Share() float64 { return ratio(float64(a.Agree), float64(a.Tokens)) }

// MeasureAgreement runs the target over rows as they stand (teacher forcing), at most batch
// of them in a pass, and compares its greedy choice for every supervised token with the
// token. target is loaded to its end, with RoPE tables for the longest row. progress, which
// may be nil, is called with the number of rows done. Where ctx ends it returns what it has
// counted, and the error.
func MeasureAgreement(ctx context.Context, c *ops.Context, target *model.Target, rows []data.Row, batch int, progress func(done int)) (Agreement, error) {
	m, err := newAgreementPass(c, target, rows, batch)
	if err != nil {
		return Agreement{}, err
	}
	stable := c.RowStable
	c.RowStable = true
	defer func() { c.RowStable = stable }()
	for done := 0; done < len(rows); {
		if err := ctx.Err(); err != nil {
			return m.sum, fmt.Errorf("evaluate: agreement: %w", err)
		}
		n := m.fit(rows[done:])
		if err := m.pass(rows[done : done+n]); err != nil {
			return m.sum, err
		}
		done += n
		if progress != nil {
			progress(done)
		}
	}
	return m.sum, nil
}

// agreementPass is the memory of MeasureAgreement.
type agreementPass struct {
	c      *ops.Context
	cache  *model.TargetCache
	logits tensors.Tensor // F32 [agreementLogits, V]
	rows   tensors.Tensor // I32 [agreementLogits], host-visible
	choice tensors.Tensor // I32 [agreementLogits], host-visible
	sum    Agreement
}

func newAgreementPass(c *ops.Context, target *model.Target, rows []data.Row, batch int) (*agreementPass, error) {
	longest := 1
	for _, r := range rows {
		longest = max(longest, len(r.IDs))
	}
	cache, err := target.NewCache(c, min(batch, max(len(rows), 1)), longest, max(longest, agreementRows), nil)
	if err != nil {
		return nil, err
	}
	return &agreementPass{c: c, cache: cache,
		logits: c.Alloc("target logits", tensors.F32, agreementLogits, target.Config.VocabSize),
		rows:   c.AllocHost("supervised rows", tensors.I32, agreementLogits),
		choice: c.AllocHost("greedy choices", tensors.I32, agreementLogits)}, c.Err()
}

// fit is how many of the next rows go into one pass.
func (m *agreementPass) fit(rows []data.Row) int {
	n, tokens := 0, 0
	for n < len(rows) && n < m.cache.Slots && tokens+len(rows[n].IDs) <= m.cache.Rows {
		tokens += len(rows[n].IDs)
		n++
	}
	return n
}

// pass runs the target over some rows and counts.
func (m *agreementPass) pass(rows []data.Row) error {
	var runs []model.Run
	var ids, at, next []int32 // at: rows of the pass before a supervised token; next: those tokens
	for slot, r := range rows {
		for i := 1; i < len(r.IDs); i++ {
			if r.LossMask[i] == 1 {
				at, next = append(at, int32(len(ids)+i-1)), append(next, r.IDs[i])
			}
		}
		runs = append(runs, model.Run{Slot: slot, Count: len(r.IDs)})
		ids = append(ids, r.IDs...)
	}
	if err := m.cache.Place(m.c, runs); err != nil {
		return err
	}
	m.c.UploadI32(m.cache.IDs.View(len(ids)), ids)
	m.cache.Forward(m.c, false)
	for lo := 0; lo < len(at); lo += agreementLogits {
		hi := min(lo+agreementLogits, len(at))
		if err := m.compare(at[lo:hi], next[lo:hi]); err != nil {
			return err
		}
	}
	return m.c.Submit()
}

// compare counts the rows of the pass whose greedy choice is the token that follows.
func (m *agreementPass) compare(at, next []int32) error {
	n := len(at)
	m.c.UploadI32(m.rows.View(n), at)
	m.cache.Logits(m.c, m.logits.Slice(0, n), m.rows.View(n))
	m.c.Argmax(m.choice.View(n), m.logits.Slice(0, n))
	if err := m.c.Submit(); err != nil {
		return err
	}
	got, err := m.c.Int32s(m.choice.View(n))
	if err != nil {
		return err
	}
	for i := range next {
		m.sum.Tokens++
		if got[i] == next[i] {
			m.sum.Agree++
		}
	}
	return nil
}
