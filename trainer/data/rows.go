package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"vkdomino/internal/fail"
)

// rowsAhead is how many rows for each processor are read before they are taken.
const rowsAhead = 8

// pending is a row on its way from the file to where it is taken.
type pending[T any] struct {
	line  int
	raw   []byte
	share float64 // of the file that had been read
	out   T
	err   error
	done  chan struct{} // closed once out and err are there
}

// eachRow reads the first n rows of a file, all if n is -1: work turns them into what is taken,
// several at a time, and take gets the results in the order of the lines on the caller's
// goroutine. It returns the digest of the whole file. The first error in the order of the lines
// ends it and names file and line; so does ctx, with the code fail.Interrupted, at once: a row
// that is being worked on is left behind.
func eachRow[T any](ctx context.Context, opt Options, n int, work func(raw []byte) (T, error), take func(line int, raw []byte, out T) error) (sum string, err error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	queue, jobs := make(chan *pending[T], rowsAhead*workers), make(chan *pending[T], rowsAhead*workers)
	for range workers {
		go func() {
			for p := range jobs {
				if inner.Err() == nil { // else nobody takes it any more
					p.out, p.err = work(p.raw)
				}
				close(p.done)
			}
		}()
	}
	var end struct { // of the reading; there when queue is closed
		sum string
		err error
	}
	go func() {
		defer close(queue)
		defer close(jobs)
		end.sum, end.err = eachLine(inner, opt.Path, n, func(line int, raw []byte, share float64) error {
			p := &pending[T]{line: line, raw: raw, share: share, done: make(chan struct{})}
			for _, to := range []chan<- *pending[T]{queue, jobs} {
				select {
				case to <- p:
				case <-inner.Done():
					return inner.Err()
				}
			}
			return nil
		})
	}()
	for rows := 1; ; rows++ {
		p, ok := next(ctx, queue)
		if ctx.Err() != nil {
			return "", interrupted(opt.Path)
		}
		if !ok {
			return end.sum, end.err
		}
		if p.err == nil {
			p.err = take(p.line, p.raw, p.out)
		}
		if p.err != nil {
			return "", rowError(opt.Path, p.line, p.err)
		}
		if opt.Progress != nil {
			opt.Progress(opt.Path, rows, p.share)
		}
	}
}

// next waits for the next row and its result, or for the end of ctx; false at the end of the rows.
func next[T any](ctx context.Context, queue <-chan *pending[T]) (p *pending[T], ok bool) {
	select {
	case p, ok = <-queue:
	case <-ctx.Done():
		return nil, false
	}
	if ok {
		select {
		case <-p.done:
		case <-ctx.Done():
		}
	}
	return p, ok
}

// openFile opens a regular file. Others have no end that can be relied on, and opening a pipe may wait for ever.
func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s: want a file, got a folder", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: want a regular file, got a pipe or a device", path)
	}
	return os.Open(path)
}

// eachLine calls fn with the first n lines of a file that are not blank, all if n is -1, and
// how much of that has been read. It returns the digest of the whole file. An error of fn names
// file and line, unless ctx has ended.
func eachLine(ctx context.Context, path string, n int, fn func(line int, raw []byte, share float64) error) (sum string, err error) {
	f, err := openFile(path)
	if err != nil {
		return "", fail.New(fail.Other, "give a JSONL file of conversations", "data: %w", err)
	}
	defer f.Close()
	size := int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	digest, in := sha256.New(), &stoppable{ctx: ctx, from: f}
	l := NewLines(io.TeeReader(in, digest))
	for rows := 0; rows != n; {
		raw, err := l.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && len(raw) > 0 {
			rows++
			err = fn(l.line, raw, share(in.read, size, rows, n))
		}
		if ctx.Err() != nil {
			return "", interrupted(path)
		}
		if err != nil {
			return "", rowError(path, l.line, err)
		}
	}
	if _, err := io.Copy(io.Discard, l.r); ctx.Err() != nil { // the digest is of the whole file
		return "", interrupted(path)
	} else if err != nil {
		return "", fail.New(fail.Other, "", "data: %s: %w", path, err)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// share is how much has been read of a file, or of n rows; 0 where neither has a size.
func share(read, size int64, rows, n int) float64 {
	out := 0.0
	if size > 0 {
		out = float64(read) / float64(size)
	}
	if n > 0 {
		out = max(out, float64(rows)/float64(n))
	}
	return min(out, 1)
}

// stoppable is a file whose reading ends with ctx; read counts bytes.
type stoppable struct {
	ctx  context.Context
	from io.Reader
	read int64
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.from.Read(p)
	s.read += int64(n)
	return n, err
}

func interrupted(path string) error {
	return fail.New(fail.Interrupted, "start the same command again", "interrupted while reading %s", path)
}

func rowError(path string, line int, err error) error {
	hint := fail.HintOf(err)
	if hint == "" {
		hint = "repair the line or take it out"
	}
	return fail.New(fail.Other, hint, "data: %s:%d: %s", path, line, strings.TrimPrefix(err.Error(), "data: "))
}
