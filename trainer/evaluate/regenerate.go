package evaluate

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"vkdomino/domino"
	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/trainer/data"
)

const (
	noteKey   = "regenerated" // of a row: where its answer comes from
	rowsAhead = 8             // prompts handed to the decoder at a time, per slot
	otherRun  = "name another --out, or remove this file"
)

// note is what a regenerated row says of its answer.
type note struct {
	Run    string `json:"run"`    // Regeneration.Run
	Line   int    `json:"line"`   // of the row in the input
	Tokens int    `json:"tokens"` // of the answer, the stop token included
	Finish string `json:"finish"` // stop or length
}

// Survey is what Regenerate must know of a data set beforehand.
type Survey struct {
	Rows    int
	Longest int    // tokens of the longest prompt
	Line    int    // where it stands
	SHA256  string // of the file's bytes
	Prompts string // SHA-256 of the prompts' tokens, and so of what template and tokenizer make of the rows
}

// SurveyPrompts reads the first n rows of a data set, all for -1, and so refuses one that
// cannot be regenerated before anything is decoded.
func SurveyPrompts(ctx context.Context, opt data.Options, n int) (Survey, error) {
	var s Survey
	var err error
	digest := sha256.New()
	s.SHA256, err = data.EachPrompt(ctx, opt, n, func(raw []byte, p data.Prompt) error {
		s.Rows++
		if len(p.IDs) > s.Longest {
			s.Longest, s.Line = len(p.IDs), p.Line
		}
		digest.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(p.IDs))))
		for _, id := range p.IDs {
			digest.Write(binary.LittleEndian.AppendUint32(nil, uint32(id)))
		}
		_, err := data.WithAnswer(raw, "", noteKey, note{})
		return err
	})
	s.Prompts = hex.EncodeToString(digest.Sum(nil))
	if err == nil && s.Rows == 0 {
		err = fail.New(fail.Other, "give a file with conversations", "data: %s: want at least one conversation, got none", opt.Path)
	}
	return s, err
}

// Regeneration lets a target answer the prompts of a data set itself.
//
// The output has a line for every row of the input, in its order: the turns before the first
// answer, then the target's answer; what followed it in the input answered something else
// and is left out. Other keys stay. Each line says to which row and run it belongs, so that
// a run that was stopped or killed goes on where its file ends, and a file of another run is
// refused. An answer depends on seed and row alone: neither on Batch nor on a stop.
type Regeneration struct {
	Decoder Decoder
	Data    data.Options // as for data.LoadPrompts
	Rows    int          // of the input, -1 for all
	Out     string
	Run     string               // identifies input, target and settings
	Options domino.DecodeOptions // NoDraft, FirstPrompt and StopTokensOf are set by Regenerate
	Batch   int                  // slots of the decoder

	Progress func(rows int) // may be nil
}

// Regenerated is what Regenerate did.
type Regenerated struct {
	Rows    int // of the output
	Resumed int // of these, the ones that were there already
	Tokens  int // that were decoded
	Cut     int // answers that ended at the limit
	Seconds float64
}

// Regenerate writes what is missing of the output. When ctx ends it keeps the answers that
// are complete and in order, and returns an error with the code fail.Interrupted.
func Regenerate(ctx context.Context, r Regeneration) (done Regenerated, err error) {
	g := &regenerator{Regeneration: r, ctx: ctx}
	g.Options.NoDraft, g.Options.StopTokensOf = true, nil
	if g.file, err = openOutput(r.Out); err != nil {
		return done, err
	}
	defer func() {
		if closing := g.file.Close(); err == nil && closing != nil {
			err = outputError(closing)
		}
	}()
	if g.lines, err = resumeOutput(g.file, r.Out, r.Run); err != nil {
		return done, err
	}
	g.done.Resumed = len(g.lines)
	start := time.Now()
	_, err = data.EachPrompt(ctx, r.Data, r.Rows, g.row)
	if g.err != nil { // EachPrompt would call it an error of the input
		err = g.err
	} else if fail.CodeOf(err) == fail.Interrupted {
		err = g.interrupted()
	}
	if err == nil {
		err = g.flush()
	}
	if err == nil && g.done.Rows < g.done.Resumed {
		err = fail.New(fail.Usage, otherRun, "regenerate: %s: want at most the input's %d rows, got %d", r.Out, g.done.Rows, g.done.Resumed)
	}
	g.done.Seconds = time.Since(start).Seconds()
	return g.done, err
}

// regenerator is one call of Regenerate on its way.
type regenerator struct {
	Regeneration
	ctx   context.Context
	file  *os.File
	lines []int // input lines of the rows that are in the output
	done  Regenerated
	err   error

	raw     [][]byte // rows that wait to be decoded
	prompts []Prompt
}

// row takes the next row of the input.
func (g *regenerator) row(raw []byte, p data.Prompt) error {
	if i := g.done.Rows + len(g.raw); i < len(g.lines) {
		if g.lines[i] != p.Line {
			g.err = fail.New(fail.Usage, otherRun, "regenerate: %s: row %d: want that of input line %d, got that of line %d", g.Out, i+1, p.Line, g.lines[i])
			return g.err
		}
		g.done.Rows++
		return nil
	}
	g.raw = append(g.raw, append([]byte(nil), raw...))
	g.prompts = append(g.prompts, Prompt{Line: p.Line, IDs: p.IDs})
	if len(g.raw) < rowsAhead*g.Batch {
		return nil
	}
	g.err = g.flush()
	return g.err
}

// flush decodes the rows that wait and appends them to the output.
func (g *regenerator) flush() error {
	if len(g.raw) == 0 {
		return nil
	}
	opt := g.Options
	opt.FirstPrompt = g.done.Rows
	list := make([][]int32, len(g.prompts))
	for i, p := range g.prompts {
		list[i] = p.IDs
	}
	out, err := g.Decoder.Generate(g.ctx, list, opt, nil)
	if out != nil {
		if writing := g.write(out.Generations); writing != nil {
			return writing
		}
	}
	if err != nil && g.ctx.Err() != nil {
		return g.interrupted()
	}
	if err != nil {
		return fmt.Errorf("regenerate: from row %d on: %w", g.done.Rows+1, err)
	}
	g.raw, g.prompts = g.raw[:0], g.prompts[:0]
	return nil
}

func (g *regenerator) interrupted() error {
	return fail.New(fail.Interrupted, "the same command goes on from there", "interrupted: %s written to %s", plural.Of(g.done.Rows, "row"), g.Out)
}

// write appends the answers up to the first that is not complete.
func (g *regenerator) write(answers []domino.Generation) error {
	w := bufio.NewWriter(g.file)
	for i, a := range answers {
		if !a.Stopped && len(a.Tokens) < g.Options.MaxNewTokens {
			break
		}
		n := note{Run: g.Run, Line: g.prompts[i].Line, Tokens: len(a.Tokens), Finish: "length"}
		text := a.Tokens
		if a.Stopped {
			text, n.Finish = text[:len(text)-1], "stop"
		} else {
			g.done.Cut++
		}
		line, err := data.WithAnswer(g.raw[i], g.Data.Tokenizer.Decode(text, true), noteKey, n)
		if err != nil {
			return fmt.Errorf("regenerate: %s:%d: %w", g.Data.Path, n.Line, err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return outputError(err)
		}
		g.done.Rows++
		g.done.Tokens += len(a.Tokens)
	}
	if err := errors.Join(w.Flush(), g.file.Sync()); err != nil {
		return outputError(err)
	}
	if g.Progress != nil {
		g.Progress(g.done.Rows)
	}
	return nil
}

// openOutput opens or creates the output, which no other process may be writing.
func openOutput(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fail.New(fail.Disk, "name an --out that can be written", "regenerate: %w", err)
	}
	mine, err := atomicfile.TryLock(f)
	if err == nil && !mine {
		err = fail.New(fail.Other, "wait for it, or name another --out", "regenerate: %s: in use by another process", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// resumeOutput returns the input lines of the rows that an output holds, cuts what a killed
// process left of a line, and leaves the file at its end.
func resumeOutput(f *os.File, path, run string) ([]int, error) {
	var lines []int
	keep, in := int64(0), bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(lines) == 0 && !torn(line) {
				return nil, fail.New(fail.Usage, otherRun, "regenerate: %s: not a file of this command", path)
			}
			break
		}
		if err != nil {
			return nil, fail.New(fail.Other, otherRun, "regenerate: %w", err)
		}
		var n note
		if err := data.ReadNote(line, noteKey, &n); err != nil {
			return nil, fail.New(fail.Usage, otherRun, "regenerate: %s:%d: not a row of this command: %w", path, len(lines)+1, err)
		}
		if n.Run != run {
			return nil, fail.New(fail.Usage, otherRun, "regenerate: %s:%d: written from another input, target or settings: want run %s, got %s", path, len(lines)+1, run, n.Run)
		}
		keep += int64(len(line))
		lines = append(lines, n.Line)
	}
	if err := f.Truncate(keep); err != nil {
		return nil, outputError(err)
	}
	if _, err := f.Seek(keep, io.SeekStart); err != nil {
		return nil, outputError(err)
	}
	return lines, nil
}

// torn says whether a last line without its end can be the beginning of a row.
func torn(line []byte) bool {
	return len(line) == 0 || line[0] == '{' && !json.Valid(line)
}

func outputError(err error) error {
	return fail.New(fail.Disk, "free some space, or name an --out on another disk", "regenerate: %w", err)
}
