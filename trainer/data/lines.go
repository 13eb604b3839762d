package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine is the length of the longest line that is read.
const maxLine = 16 << 20

// Lines reads lines of at most 16 MiB. It drops a byte order mark at the start
// and the end of every line.
type Lines struct {
	r    *bufio.Reader
	line int
}

// NewLines returns a reader of r's lines.
func NewLines(r io.Reader) *Lines {
	const buffer = 1 << 16
	return &Lines{r: bufio.NewReaderSize(r, buffer)}
}

// Number returns the number of the line that Next returned last, from 1.
func (l *Lines) Number() int { return l.line }

// Next returns the next line without the spaces around it, or io.EOF.
func (l *Lines) Next() ([]byte, error) {
	l.line++
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("want a line of at most %d MiB, got a longer one", maxLine>>20)
		}
		if err == nil || errors.Is(err, io.EOF) && len(line) > 0 {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	if l.line == 1 {
		if bytes.HasPrefix(line, []byte{0x1f, 0x8b}) {
			return nil, fmt.Errorf("want JSON lines, got a gzip file")
		}
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	return bytes.Trim(line, " \t\r\n"), nil
}
