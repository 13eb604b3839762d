package pyjinja

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
)

const (
	// MaxSource is the size of the largest template that is compiled.
	MaxSource = 256 << 10
	// maxText bounds a rendered text and every string made on the way.
	maxText = 64 << 20
	// maxTicks bounds the iterations of all loops of one rendering.
	maxTicks = 1_000_000
	// maxRange is the sandbox's limit of range().
	maxRange = 100_000
	// maxCalls bounds nested macro calls, which the library would follow until
	// the process runs out of stack.
	maxCalls = 100
)

// Bytes that mark a generation block; no UTF-8 text has them.
const (
	openMark  = "\xff"
	closeMark = "\xfe"
)

// Template is a compiled chat template, safe for concurrent use.
type Template struct {
	compiled   *jinja.Template
	consts     map[string]jinja.Value
	generation bool
}

// Compile rewrites and compiles a template. What jinja2 understands and this
// package does not is an error that names the line.
func Compile(source string) (t *Template, err error) {
	defer recoverInto(&err)
	if len(source) > MaxSource {
		return nil, fmt.Errorf("want at most %d bytes, got %d", MaxSource, len(source))
	}
	if !utf8.ValidString(source) {
		return nil, fmt.Errorf("want UTF-8, got another encoding")
	}
	segments, err := lex(source)
	if err != nil {
		return nil, err
	}
	c := newCompiler(segments)
	b, err := c.block()
	if err != nil {
		return nil, err
	}
	compiled, err := jinja.Compile(b.code)
	if err != nil {
		return nil, err
	}
	return &Template{compiled: compiled, consts: c.consts, generation: c.hasGeneration}, nil
}

// recoverInto turns a panic of the library into an error.
func recoverInto(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the template engine gave up: %v", p)
	}
}

// HasGeneration reports whether the template has generation blocks.
func (t *Template) HasGeneration() bool { return t.generation }

// Render returns the text of the template with these variables, and the
// half-open ranges of its generation blocks in code points of the text.
func (t *Template) Render(vars map[string]jinja.Value) (text string, spans [][2]int, err error) {
	defer recoverInto(&err)
	s := &session{kinds: map[*jinja.List]listKind{}}
	all := s.functions()
	for k, v := range t.consts {
		all[k] = v
	}
	for k, v := range vars {
		if strings.HasPrefix(k, "__") {
			return "", nil, fmt.Errorf("variable %q: want a name that does not start with __", k)
		}
		all[k] = v
	}
	marked, err := t.compiled.RenderValues(all)
	if err != nil {
		return "", nil, err
	}
	if len(marked) > maxText {
		return "", nil, fmt.Errorf("want a text of at most %d bytes, got %d", maxText, len(marked))
	}
	return cutMarks(marked)
}

// cutMarks takes the marks out of a text and returns the ranges between them.
func cutMarks(marked string) (string, [][2]int, error) {
	var text strings.Builder
	spans := [][2]int{}
	points, start := 0, -1
	for {
		at := indexMark(marked)
		if at < 0 {
			break
		}
		text.WriteString(marked[:at])
		points += utf8.RuneCountInString(marked[:at])
		open := marked[at:at+1] == openMark
		if open == (start >= 0) {
			return "", nil, fmt.Errorf("want every generation block closed where it was opened")
		}
		if open {
			start = points
		} else {
			spans = append(spans, [2]int{start, points})
			start = -1
		}
		marked = marked[at+1:]
	}
	if start >= 0 {
		return "", nil, fmt.Errorf("want every generation block closed, got an open one")
	}
	text.WriteString(marked)
	return text.String(), spans, nil
}

func indexMark(s string) int {
	for i := range len(s) {
		if s[i] >= closeMark[0] {
			return i
		}
	}
	return -1
}
