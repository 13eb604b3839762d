package pyjinja

import (
	"bytes"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/ardanlabs/jinja"
)

// maxDepth bounds the nesting of JSON and of printed values.
const maxDepth = 200

// bigInt marks a callable that stands for an integer beyond 64 bits; it can be
// printed and compared with nothing.
const bigInt = "int "

// markup marks a callable that stands for a string made by the filter safe. It
// can be printed; Python would escape what is joined to it with +.
const markup = "markup "

// DecodeJSON reads one JSON value as Python's json does: objects keep their
// order, and 2.0 stays a float. Repeated names are an
// error; errors name the column, a byte.
func DecodeJSON(raw []byte) (jinja.Value, error) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	v, err := decodeValue(d, 0)
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return v, fmt.Errorf("column %d: %w %q", syntax.ByteOffset+1, syntax.Err, syntax.JSONPointer.LastToken())
		}
		return v, fmt.Errorf("column %d: %w", syntax.ByteOffset+1, syntax.Err)
	}
	if err != nil {
		return v, err
	}
	if rest := bytes.TrimSpace(raw[d.InputOffset():]); len(rest) > 0 {
		return v, fmt.Errorf("want one JSON value, got more after it")
	}
	return v, nil
}

func decodeValue(d *jsontext.Decoder, depth int) (jinja.Value, error) {
	if depth > maxDepth {
		return jinja.None(), fmt.Errorf("want at most %d levels of JSON, got more", maxDepth)
	}
	t, err := d.ReadToken()
	if err != nil {
		return jinja.None(), err
	}
	switch t.Kind() {
	case jsontext.KindTrue, jsontext.KindFalse:
		return jinja.NewBool(t.Bool()), nil
	case jsontext.KindString:
		return jinja.NewString(t.String()), nil
	case jsontext.KindNumber:
		return decodeNumber(t.String())
	case jsontext.KindBeginArray:
		return decodeArray(d, depth)
	case jsontext.KindBeginObject:
		return decodeObject(d, depth)
	}
	return jinja.None(), nil
}

func decodeNumber(s string) (jinja.Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return jinja.None(), fmt.Errorf("want a number of 64 bits, got %.40s", s)
		}
		return jinja.NewFloat(f), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return jinja.NewCallable(bigInt+s, nil), nil
	}
	return jinja.NewInt(n), nil
}

func decodeArray(d *jsontext.Decoder, depth int) (jinja.Value, error) {
	items := []jinja.Value{}
	for d.PeekKind() != jsontext.KindEndArray {
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return v, err
		}
		items = append(items, v)
	}
	_, err := d.ReadToken()
	return jinja.NewList(items), err
}

func decodeObject(d *jsontext.Decoder, depth int) (jinja.Value, error) {
	v := jinja.NewDict()
	for d.PeekKind() != jsontext.KindEndObject {
		key, err := d.ReadToken()
		if err != nil {
			return v, err
		}
		name := key.String()
		item, err := decodeValue(d, depth+1)
		if err != nil {
			return v, err
		}
		v.AsDict().Set(name, item)
	}
	_, err := d.ReadToken()
	return v, err
}

// typeName is Python's name of a value's type, for errors.
func typeName(v jinja.Value) string {
	switch {
	case v.IsUndefined():
		return "undefined"
	case v.IsNone():
		return "None"
	case v.IsBool():
		return "bool"
	case v.IsInt(), isBigInt(v):
		return "int"
	case v.IsFloat():
		return "float"
	case v.IsString():
		return "str"
	case v.IsList():
		return "list"
	case v.IsDict():
		return "dict"
	case isMarkup(v):
		return "Markup"
	case isGenerator(v):
		return "generator"
	}
	return "function"
}

// generatorName marks a callable that stands for a generator.
const generatorName = "generator "

func isGenerator(v jinja.Value) bool {
	return v.IsCallable() && strings.HasPrefix(v.AsCallable().Name, generatorName)
}

func isMarkup(v jinja.Value) bool {
	return v.IsCallable() && strings.HasPrefix(v.AsCallable().Name, markup)
}

func isBigInt(v jinja.Value) bool {
	return v.IsCallable() && strings.HasPrefix(v.AsCallable().Name, bigInt)
}

// str is Python's str(v): what a template prints.
func (s *session) str(v jinja.Value) (string, error) {
	switch {
	case v.IsUndefined():
		return "", nil
	case v.IsString():
		return v.AsString(), nil
	case isMarkup(v):
		return strings.TrimPrefix(v.AsCallable().Name, markup), nil
	}
	return s.repr(v, 0)
}

// repr is Python's repr(v).
func (s *session) repr(v jinja.Value, depth int) (string, error) {
	switch {
	case depth > maxDepth:
		return "", fmt.Errorf("want at most %d levels to print, got more", maxDepth)
	case v.IsNone():
		return "None", nil
	case v.IsBool() && v.AsBool():
		return "True", nil
	case v.IsBool():
		return "False", nil
	case v.IsInt():
		return strconv.FormatInt(v.AsInt(), 10), nil
	case v.IsFloat():
		return pyFloat(v.AsFloat()), nil
	case v.IsString():
		return pyQuote(v.AsString()), nil
	case v.IsList():
		return s.reprList(v, depth)
	case v.IsDict():
		return s.reprDict(v, depth)
	case isBigInt(v):
		return strings.TrimPrefix(v.AsCallable().Name, bigInt), nil
	}
	return "", fmt.Errorf("want a value that can be printed, got %s", typeName(v))
}

func (s *session) reprList(v jinja.Value, depth int) (string, error) {
	open, shut := "[", "]"
	switch s.kinds[v.AsList()] {
	case viewList:
		return "", fmt.Errorf("want a value that can be printed, got a view: add the filter list")
	case tupleList:
		open, shut = "(", ")"
		if v.AsList().Len() == 1 {
			shut = ",)"
		}
	}
	parts := make([]string, v.AsList().Len())
	for i, item := range v.AsList().Items {
		var err error
		if parts[i], err = s.repr(item, depth+1); err != nil {
			return "", err
		}
	}
	return open + strings.Join(parts, ", ") + shut, nil
}

func (s *session) reprDict(v jinja.Value, depth int) (string, error) {
	d := v.AsDict()
	parts := make([]string, 0, d.Len())
	for _, key := range d.Keys {
		item, err := s.repr(d.Data[key], depth+1)
		if err != nil {
			return "", err
		}
		parts = append(parts, pyQuote(key)+": "+item)
	}
	return "{" + strings.Join(parts, ", ") + "}", nil
}

// pyFloat is Python's repr of a float: the shortest digits that read back, with
// an exponent below 1e-4 and from 1e16 on.
func pyFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	const minFixed, maxFixed = 1e-4, 1e16
	if a := math.Abs(f); a != 0 && (a < minFixed || a >= maxFixed) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// pyQuote is Python's repr of a string.
func pyQuote(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte(quote)
	return b.String()
}

// jsonStyle is how tojson writes: json.dumps' arguments.
type jsonStyle struct {
	ascii     bool
	indent    string
	multiline bool
	item, key string
	sortKeys  bool
}

func (s *session) toJSON(b *strings.Builder, v jinja.Value, style jsonStyle, depth int) error {
	switch {
	case depth > maxDepth:
		return fmt.Errorf("tojson: want at most %d levels, got more", maxDepth)
	case v.IsNone():
		b.WriteString("null")
	case v.IsBool():
		b.WriteString(strconv.FormatBool(v.AsBool()))
	case v.IsString():
		jsonQuote(b, v.AsString(), style.ascii)
	case v.IsFloat() && (math.IsInf(v.AsFloat(), 0) || math.IsNaN(v.AsFloat())):
		return fmt.Errorf("tojson: want a finite number, got %s", pyFloat(v.AsFloat()))
	case v.IsNumber() || isBigInt(v):
		text, err := s.repr(v, depth)
		b.WriteString(text)
		return err
	case v.IsList():
		if s.isView(v) {
			return fmt.Errorf("tojson: want a JSON value, got a view: add the filter list")
		}
		items := v.AsList().Items
		return style.container(b, "[]", len(items), depth, func(i int) error {
			return s.toJSON(b, items[i], style, depth+1)
		})
	case v.IsDict():
		keys := v.AsDict().OrderedKeys()
		if style.sortKeys {
			slices.Sort(keys)
		}
		return style.container(b, "{}", len(keys), depth, func(i int) error {
			jsonQuote(b, keys[i], style.ascii)
			b.WriteString(style.key)
			return s.toJSON(b, v.AsDict().Data[keys[i]], style, depth+1)
		})
	default:
		return fmt.Errorf("tojson: want a JSON value, got %s", typeName(v))
	}
	return nil
}

func (j jsonStyle) container(b *strings.Builder, brackets string, n, depth int, item func(int) error) error {
	b.WriteByte(brackets[0])
	for i := range n {
		if i > 0 {
			b.WriteString(j.item)
		}
		j.newline(b, depth+1)
		if err := item(i); err != nil {
			return err
		}
	}
	if n > 0 {
		j.newline(b, depth)
	}
	b.WriteByte(brackets[1])
	return nil
}

func (j jsonStyle) newline(b *strings.Builder, depth int) {
	if j.multiline {
		b.WriteString("\n" + strings.Repeat(j.indent, depth))
	}
}

var jsonEscapes = map[rune]string{
	'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`,
}

func jsonQuote(b *strings.Builder, s string, ascii bool) {
	b.WriteByte('"')
	for _, r := range s {
		escape, ok := jsonEscapes[r]
		switch {
		case ok:
			b.WriteString(escape)
		case r < ' ' || ascii && r > '~' && r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		case ascii && r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
