package metrics

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
)

const (
	jsonlName      = "metrics.jsonl"
	tensorBoardDir = "tensorboard"
)

// Log appends a run's rows to metrics.jsonl and to a TensorBoard event file.
// It is not safe for concurrent use.
type Log struct {
	dir    string
	rows   *os.File
	events *eventFile // nil: no TensorBoard events
	next   int        // the smallest step that Write takes
}

// OpenLog opens dir/metrics.jsonl for the rows from fromStep on and, with
// tensorBoard, starts a new event file in dir/tensorboard; folders are made where
// they are missing.
// Rows of metrics.jsonl with step >= fromStep and a torn last line, which a run
// that was killed leaves behind, are cut, by an atomic replacement of the file.
// A broken row before them is an error (fail.Other) that names the line; trouble
// in writing has the code fail.Disk. Source: spec.md §7.4.
func OpenLog(dir string, fromStep int, tensorBoard bool) (*Log, error) {
	if fromStep < 0 {
		return nil, fmt.Errorf("metrics: open log: step: want >= 0, got %d", fromStep)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, diskError(dir, err)
	}
	path := filepath.Join(dir, jsonlName)
	if err := cutRows(path, fromStep); err != nil {
		return nil, err
	}
	rows, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, diskError(dir, err)
	}
	l := &Log{dir: dir, rows: rows, next: fromStep}
	if !tensorBoard {
		return l, nil
	}
	if err = os.MkdirAll(filepath.Join(dir, tensorBoardDir), 0o755); err == nil {
		l.events, err = createEventFile(filepath.Join(dir, tensorBoardDir), fromStep)
	}
	if err != nil {
		return nil, errors.Join(diskError(dir, err), rows.Close())
	}
	return l, nil
}

// Write appends one row to both files and hands it to the operating system, so
// that a killed process loses none; Sync makes it safe against a power loss.
// The row's step must be above every step written before and >= OpenLog's fromStep.
func (l *Log) Write(r Row) error {
	step, ok := r.Step()
	if !ok || step < l.next {
		return fmt.Errorf("metrics: write: step: want >= %d, got row %v with step %d", l.next, r.Names(), step)
	}
	line, err := r.MarshalJSON()
	if err != nil {
		return err
	}
	if _, err := l.rows.Write(append(line, '\n')); err != nil {
		return diskError(l.dir, err)
	}
	if l.events != nil {
		if err := l.events.write(r, step); err != nil {
			return diskError(l.dir, err)
		}
	}
	l.next = step + 1
	return nil
}

// Sync flushes the files to the storage device. A checkpoint of step g calls it
// first, so that no row below g is missing when the run goes on from there.
func (l *Log) Sync() error {
	for _, f := range l.files() {
		if err := f.Sync(); err != nil {
			return diskError(l.dir, err)
		}
	}
	return nil
}

// files are the log's open files.
func (l *Log) files() []*os.File {
	if l.events == nil {
		return []*os.File{l.rows}
	}
	return []*os.File{l.rows, l.events.file}
}

// Close flushes and closes the files.
func (l *Log) Close() error {
	err := l.Sync()
	for _, f := range l.files() {
		err = errors.Join(err, f.Close())
	}
	return err
}

// ReadRows reads a metrics.jsonl. A last line without its newline is still being
// written, or was torn, and is left out; any other line that is not a row, or
// whose step does not rise, is an error (fail.Other) that names it.
func ReadRows(path string) ([]Row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fail.New(fail.Other, "a run writes it into its output_dir", "metrics: %w", err)
	}
	defer f.Close()
	var rows []Row
	_, err = scanRows(f, func(r Row, _ int) bool {
		rows = append(rows, r)
		return true
	})
	if err != nil {
		return nil, brokenRows(path, err)
	}
	return rows, nil
}

// cutRows drops the rows of path from fromStep on and a torn tail. A file that
// holds nothing of the kind, or does not exist, stays as it is.
func cutRows(path string, fromStep int) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diskError(path, err)
	}
	defer f.Close()
	keep, err := scanRows(f, func(_ Row, step int) bool { return step < fromStep })
	if err != nil {
		return brokenRows(path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return diskError(path, err)
	}
	if info.Size() == keep {
		return nil
	}
	return replaceWithPrefix(path, f, keep)
}

// scanRows calls visit for each row until it returns false, and returns the
// number of bytes before the row that visit refused, or before a torn tail: a
// last line without newline, or broken lines after which no row comes.
func scanRows(f io.Reader, visit func(r Row, step int) bool) (keep int64, err error) {
	in := bufio.NewReader(f)
	var broken error // the first broken line; an error only if a row follows
	last := -1
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return keep, nil // what is left has no newline: torn
		}
		if err != nil {
			return keep, err
		}
		row, step, err := parseLine(line, last)
		switch {
		case err != nil && broken == nil:
			broken = fmt.Errorf("line %d: %w", number, err)
		case err == nil && broken != nil:
			return keep, broken
		case err == nil:
			if !visit(row, step) {
				return keep, nil
			}
			keep += int64(len(line))
			last = step
		}
	}
}

// parseLine reads one line as a row whose step is above last.
func parseLine(line []byte, last int) (Row, int, error) {
	var row Row
	if err := json.Unmarshal(line, &row); err != nil {
		return Row{}, 0, err
	}
	step, ok := row.Step()
	if !ok {
		return Row{}, 0, errors.New("step: want an integer >= 0, got none")
	}
	if step <= last {
		return Row{}, 0, fmt.Errorf("step: want > %d, got %d", last, step)
	}
	return row, step, nil
}

// replaceWithPrefix makes the first size bytes of from the new content of path, atomically.
func replaceWithPrefix(path string, from io.ReadSeeker, size int64) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return diskError(path, err)
	}
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := io.CopyN(w, from, size)
		return err
	})
	if err != nil {
		return fmt.Errorf("metrics: cut rows: %w", err)
	}
	return nil
}

func diskError(path string, err error) error {
	return fail.New(fail.Disk, "free some space, or check the permissions of "+path, "metrics: %w", err)
}

func brokenRows(path string, err error) error {
	return fail.New(fail.Other, "move the file aside; training needs no metrics to go on", "metrics: %s: %w", path, err)
}
