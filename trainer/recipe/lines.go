package recipe

import "strings"

// Bounds on the shape of a recipe file, far above what a recipe needs: the TOML
// library takes time that grows with the cube of the nesting depth.
const (
	maxFileBytes = 64 << 10
	maxDepth     = 16 // nested brackets, and parts of one dotted key
)

// outline is what a quick scan of a TOML text tells before it is parsed.
type outline struct {
	lines    map[string]int // dotted name of each key and table header -> line, 1-based
	deepLine int            // first line nested deeper than maxDepth, or 0
}

// scanner walks a TOML text that need not be valid: it only looks for where keys
// stand, so it never fails and always moves forward.
type scanner struct {
	text string
	pos  int
	line int
	out  outline
}

// scan finds the line of every key and table header in text.
func scan(text string) outline {
	s := &scanner{text: strings.TrimPrefix(text, "\ufeff"), line: 1, out: outline{lines: map[string]int{}}}
	table := ""
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '\n' || c == ' ' || c == '\t' || c == '\r':
			s.advance(1)
		case c == '[':
			s.advance(1)
			if strings.HasPrefix(s.text[s.pos:], "[") {
				s.advance(1)
			}
			table = s.keyPath()
			s.note(table)
			s.rest()
		case c == '#':
			s.rest()
		default:
			name := s.keyPath()
			s.note(join(table, name))
			s.rest()
		}
	}
	return s.out
}

func join(table, name string) string {
	if table == "" {
		return name
	}
	return table + "." + name
}

func (s *scanner) note(name string) {
	if _, seen := s.out.lines[name]; !seen {
		s.out.lines[name] = s.line
	}
	if strings.Count(name, ".") >= maxDepth {
		s.deep()
	}
}

func (s *scanner) deep() {
	if s.out.deepLine == 0 {
		s.out.deepLine = s.line
	}
}

// advance moves over n bytes and counts the newlines among them.
func (s *scanner) advance(n int) {
	n = min(n, len(s.text)-s.pos)
	s.line += strings.Count(s.text[s.pos:s.pos+n], "\n")
	s.pos += n
}

// keyPath reads a dotted key up to '=', ']' or the end of the line, and gives it
// with quotes and blanks removed.
func (s *scanner) keyPath() string {
	var b strings.Builder
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case '=', ']', '\n', '#':
			return b.String()
		case ' ', '\t', '\r':
			s.advance(1)
		case '"', '\'':
			start := s.pos
			s.quoted()
			b.WriteString(strings.Trim(s.text[start:s.pos], string(c)))
		default:
			b.WriteByte(c)
			s.advance(1)
		}
	}
	return b.String()
}

// rest moves to the end of the statement: the newline that stands outside
// brackets and strings.
func (s *scanner) rest() {
	depth, dots := 0, 0
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c == '\n' && depth <= 0 {
			return
		}
		switch c {
		case '"', '\'':
			s.quoted()
			continue
		case '#':
			s.advance(len(s.text[s.pos:]) - len(strings.TrimLeft(s.text[s.pos:], "#")))
			s.comment()
			continue
		case '[', '{':
			depth, dots = depth+1, 0
		case ']', '}':
			depth, dots = depth-1, 0
		case '.':
			dots++
		case ',', '=', '\n':
			dots = 0
		}
		if depth > maxDepth || dots >= maxDepth {
			s.deep()
		}
		s.advance(1)
	}
}

func (s *scanner) comment() {
	end := strings.IndexByte(s.text[s.pos:], '\n')
	if end < 0 {
		end = len(s.text) - s.pos
	}
	s.advance(end)
}

// quoted moves over a string that starts here: basic or literal, of one or more lines.
func (s *scanner) quoted() {
	q := s.text[s.pos : s.pos+1]
	if triple := strings.Repeat(q, 3); strings.HasPrefix(s.text[s.pos:], triple) {
		s.advance(3)
		s.until(triple, q == `"`)
		return
	}
	s.advance(1)
	s.until(q, q == `"`)
}

// until moves past the next end mark; a string of one line ends at the line's
// end at the latest.
func (s *scanner) until(end string, escapes bool) {
	for s.pos < len(s.text) {
		switch {
		case escapes && s.text[s.pos] == '\\':
			s.advance(2)
		case strings.HasPrefix(s.text[s.pos:], end):
			s.advance(len(end))
			return
		case len(end) == 1 && s.text[s.pos] == '\n':
			return
		default:
			s.advance(1)
		}
	}
}

// line is that of a dotted key, or of the nearest table that holds it (a key of
// an inline table stands on its table's line), or 0.
func (o outline) line(name string) int {
	for name != "" {
		if n, ok := o.lines[name]; ok {
			return n
		}
		name, _ = split(name)
	}
	return 0
}
