package pyjinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type segmentKind int

const (
	textSegment segmentKind = iota
	exprSegment
	stmtSegment
)

// segment is a piece of a template: text as it will be printed, or a tag.
type segment struct {
	kind segmentKind
	text string
	toks []token
	line int
}

type tokenKind int

const (
	tokEnd tokenKind = iota
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

// token is a lexical unit of an expression; text is the name or operator, or
// the value of a string.
type token struct {
	kind tokenKind
	text string
	num  int64
	real float64
}

func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "end of tag"
	case tokString:
		return strconv.Quote(t.text)
	case tokInt:
		return strconv.FormatInt(t.num, 10)
	case tokFloat:
		return pyFloat(t.real)
	}
	return strconv.Quote(t.text)
}

// lexer splits a template as jinja2's does with trim_blocks and lstrip_blocks.
type lexer struct {
	src       string
	pos       int
	lineStart bool // the last tag ended with a newline, or nothing has been read
	counted   int  // bytes whose lines are in lines
	lines     int
	segments  []segment
}

// lex returns the segments of a template, whitespace control applied.
func lex(source string) ([]segment, error) {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	source = strings.ReplaceAll(source, "\r", "\n")
	source = strings.TrimSuffix(source, "\n")
	l := &lexer{src: source, lineStart: true}
	for l.pos < len(l.src) {
		if err := l.next(); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.line(), err)
		}
	}
	return l.segments, nil
}

// line returns the number of the current line; positions only grow.
func (l *lexer) line() int {
	l.lines += strings.Count(l.src[l.counted:l.pos], "\n")
	l.counted = l.pos
	return 1 + l.lines
}

func (l *lexer) emit(s segment) {
	if s.kind != textSegment || s.text != "" {
		s.line = l.line()
		l.segments = append(l.segments, s)
	}
}

// next reads text up to a tag, and the tag.
func (l *lexer) next() error {
	at := l.findTag()
	if at < 0 {
		l.emit(segment{kind: textSegment, text: l.src[l.pos:]})
		l.pos = len(l.src)
		return nil
	}
	opener := l.src[at : at+2]
	sign := signAt(l.src, at+2)
	l.emit(segment{kind: textSegment, text: l.stripLeft(l.src[l.pos:at], sign, opener != "{{")})
	l.pos = at + 2 + len(sign)
	switch opener {
	case "{#":
		return l.comment()
	case "{%":
		if rest, ok := keywordTag(l.src[l.pos:], "raw"); ok {
			return l.raw(rest)
		}
		return l.tag(stmtSegment, "%}")
	}
	return l.tag(exprSegment, "}}")
}

func (l *lexer) findTag() int {
	for i := l.pos; i+1 < len(l.src); i++ {
		if l.src[i] == '{' && strings.IndexByte("{%#", l.src[i+1]) >= 0 {
			return i
		}
	}
	return -1
}

func signAt(s string, i int) string {
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		return s[i : i+1]
	}
	return ""
}

// stripLeft applies the whitespace control of a tag's opening to the text before it.
func (l *lexer) stripLeft(text, sign string, block bool) string {
	switch {
	case sign == "-":
		return strings.TrimRightFunc(text, isPySpace)
	case sign == "" && block:
		start := strings.LastIndexByte(text, '\n') + 1
		if (start > 0 || l.lineStart) && strings.TrimFunc(text[start:], isPySpace) == "" {
			return text[:start]
		}
	}
	return text
}

// closeTag consumes a tag's end at the current position, if one is there.
func (l *lexer) closeTag(end string, trimNewline bool) bool {
	rest := l.src[l.pos:]
	sign := signAt(rest, 0)
	if !strings.HasPrefix(rest[len(sign):], end) || sign == "+" && end == "}}" {
		return false
	}
	l.pos += len(sign) + len(end)
	switch {
	case sign == "-":
		rest = l.src[l.pos:]
		l.pos += len(rest) - len(strings.TrimLeftFunc(rest, isPySpace))
	case sign == "" && trimNewline && strings.HasPrefix(l.src[l.pos:], "\n"):
		l.pos++
	}
	l.lineStart = l.src[l.pos-1] == '\n'
	return true
}

func (l *lexer) comment() error {
	for ; l.pos < len(l.src); l.pos++ {
		if strings.IndexByte("-+#", l.src[l.pos]) >= 0 && l.closeTag("#}", true) {
			return nil
		}
	}
	return fmt.Errorf("want #} after {#, got the end of the template")
}

// keywordTag reports whether s starts with a word and the end of a block tag,
// and returns the length up to that end.
func keywordTag(s, word string) (int, bool) {
	t := strings.TrimLeftFunc(s, isPySpace)
	if !strings.HasPrefix(t, word) {
		return 0, false
	}
	t = strings.TrimLeftFunc(t[len(word):], isPySpace)
	if strings.HasPrefix(t, "%}") || strings.HasPrefix(t, "-%}") || strings.HasPrefix(t, "+%}") {
		return len(s) - len(t), true
	}
	return 0, false
}

// raw reads from after {% raw to after {% endraw %}.
func (l *lexer) raw(skip int) error {
	l.pos += skip
	if signAt(l.src, l.pos) == "+" {
		return fmt.Errorf("want %%} after raw, got +%%}")
	}
	l.closeTag("%}", false)
	for at := l.pos; at+1 < len(l.src); at++ {
		if l.src[at:at+2] != "{%" {
			continue
		}
		sign := signAt(l.src, at+2)
		skip, ok := keywordTag(l.src[at+2+len(sign):], "endraw")
		if !ok {
			continue
		}
		l.emit(segment{kind: textSegment, text: l.stripLeft(l.src[l.pos:at], sign, true)})
		l.pos = at + 2 + len(sign) + skip
		l.closeTag("%}", true)
		return nil
	}
	return fmt.Errorf("want {%% endraw %%} after {%% raw %%}, got the end of the template")
}

// tag reads the tokens of a tag up to its end.
func (l *lexer) tag(kind segmentKind, end string) error {
	s := segment{kind: kind}
	var open []byte
	for l.pos < len(l.src) {
		if len(open) == 0 && l.closeTag(end, kind == stmtSegment) {
			l.emit(s)
			return nil
		}
		if r, n := utf8.DecodeRuneInString(l.src[l.pos:]); isPySpace(r) {
			l.pos += n
			continue
		}
		t, err := l.token()
		if err != nil {
			return err
		}
		if open, err = balance(open, t); err != nil {
			return err
		}
		s.toks = append(s.toks, t)
	}
	return fmt.Errorf("want %s, got the end of the template", end)
}

func balance(open []byte, t token) ([]byte, error) {
	if t.kind != tokOp {
		return open, nil
	}
	switch t.text {
	case "(":
		return append(open, ')'), nil
	case "[":
		return append(open, ']'), nil
	case "{":
		return append(open, '}'), nil
	case ")", "]", "}":
		if len(open) == 0 || open[len(open)-1] != t.text[0] {
			return nil, fmt.Errorf("unexpected %q", t.text)
		}
		return open[:len(open)-1], nil
	}
	return open, nil
}

// operators, the longer first.
var operators = []string{
	"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

func (l *lexer) token() (token, error) {
	rest := l.src[l.pos:]
	c := rest[0]
	switch {
	case c == '\'' || c == '"':
		return l.stringToken()
	case c >= '0' && c <= '9':
		return l.numberToken()
	case isNameByte(c):
		n := 1
		for n < len(rest) && (isNameByte(rest[n]) || rest[n] >= '0' && rest[n] <= '9') {
			n++
		}
		if n < len(rest) && rest[n] >= utf8.RuneSelf {
			return token{}, fmt.Errorf("name %q…: want ASCII, got another character", rest[:n])
		}
		l.pos += n
		return token{kind: tokName, text: rest[:n]}, nil
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			l.pos += len(op)
			return token{kind: tokOp, text: op}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, fmt.Errorf("unexpected character %q", r)
}

func isNameByte(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func (l *lexer) numberToken() (token, error) {
	rest := l.src[l.pos:]
	n := 0
	for n < len(rest) && (isNameByte(rest[n]) || rest[n] >= '0' && rest[n] <= '9') {
		n++
	}
	digit := func(i int) bool { return i < len(rest) && rest[i] >= '0' && rest[i] <= '9' }
	if n < len(rest) && rest[n] == '.' && digit(n+1) || strings.IndexAny(rest[:n], "eE") > 0 && rest[1] != 'x' {
		return l.floatToken()
	}
	l.pos += n
	v, err := strconv.ParseInt(rest[:n], 0, 64)
	if err != nil || n > 1 && rest[0] == '0' && digit(1) && v != 0 {
		return token{}, fmt.Errorf("number %q: want a decimal, hexadecimal, octal or binary integer of 64 bits", rest[:n])
	}
	return token{kind: tokInt, num: v}, nil
}

func (l *lexer) floatToken() (token, error) {
	rest := l.src[l.pos:]
	n := 0
	for n < len(rest) && (strings.IndexByte("0123456789._eE", rest[n]) >= 0 ||
		(rest[n] == '+' || rest[n] == '-') && n > 0 && (rest[n-1] == 'e' || rest[n-1] == 'E')) {
		n++
	}
	l.pos += n
	v, err := strconv.ParseFloat(strings.ReplaceAll(rest[:n], "_", ""), 64)
	if err != nil {
		return token{}, fmt.Errorf("number %q: want a float", rest[:n])
	}
	return token{kind: tokFloat, real: v}, nil
}

func (l *lexer) stringToken() (token, error) {
	rest := l.src[l.pos:]
	for n := 1; n < len(rest); n++ {
		switch rest[n] {
		case '\\':
			n++
		case rest[0]:
			l.pos += n + 1
			v, err := unescape(rest[1:n])
			return token{kind: tokString, text: v}, err
		}
	}
	return token{}, fmt.Errorf("want the end of the string %.20q, got the end of the template", rest)
}

// escapes of a Python string that stand for one character.
var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': "\"",
	'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\n': "",
}

// unescape decodes the escapes of a Python string literal; an unknown one
// stands for itself.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if plain, ok := escapes[s[i]]; ok {
			b.WriteString(plain)
			continue
		}
		n, base := escapeDigits(s[i:])
		if n == 0 {
			b.WriteByte('\\')
			b.WriteByte(s[i])
			continue
		}
		digits := s[i : i+n]
		if base == 16 {
			digits = digits[1:]
		}
		v, err := strconv.ParseUint(digits, base, 32)
		if err != nil || !utf8.ValidRune(rune(v)) {
			return "", fmt.Errorf("string escape \\%s: want a Unicode character", s[i:i+n])
		}
		b.WriteRune(rune(v))
		i += n - 1
	}
	return b.String(), nil
}

// escapeDigits returns the length and base of a numeric escape, 0 if there is none.
func escapeDigits(s string) (n, base int) {
	switch s[0] {
	case 'x', 'u', 'U', 'N':
		n = map[byte]int{'x': 3, 'u': 5, 'U': 9, 'N': 1}[s[0]]
		return min(n, len(s)), 16
	}
	for n < min(3, len(s)) && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	return n, 8
}

// isPySpace is str.isspace of Python.
func isPySpace(r rune) bool {
	return r >= 0x1c && r <= 0x1f || unicode.Is(unicode.White_Space, r)
}
