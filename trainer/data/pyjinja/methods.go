package pyjinja

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// method is obj.name(…).
func (s *session) method(a args, k kwargs) (jinja.Value, error) {
	obj, name, rest := a[0], a[1].AsString(), a[2:]
	table := methodsOf(obj)
	if fn, ok := table[name]; ok {
		if len(k) > 0 {
			return obj, fmt.Errorf("%s(): named arguments are not supported", name)
		}
		v, err := fn(s, obj, rest)
		if err != nil {
			return v, fmt.Errorf("%s(): %w", name, err)
		}
		return v, nil
	}
	if obj.IsDict() && !isMethod(obj, name) {
		if fn, ok := obj.AsDict().Get(name); ok && fn.IsCallable() && !isBigInt(fn) {
			return fn.AsCallable().Fn(rest, k)
		}
	}
	return obj, fmt.Errorf("method %q of %s is not supported", name, typeName(obj))
}

type methodFunc func(s *session, obj jinja.Value, a args) (jinja.Value, error)

func methodsOf(obj jinja.Value) map[string]methodFunc {
	switch {
	case obj.IsString():
		return stringMethods
	case obj.IsDict():
		return dictMethods
	}
	return nil
}

// pyMethods are the attributes of Python's types that templates meet; a key of
// the same name hides behind them.
var pyMethods = map[string][]string{
	"str": {
		"capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find", "format", "format_map",
		"index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
		"isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "maketrans", "partition",
		"removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split",
		"splitlines", "startswith", "strip", "swapcase", "title", "translate", "upper", "zfill",
	},
	"dict":  {"clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"},
	"list":  {"append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"},
	"int":   {"as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes", "imag", "numerator", "real", "to_bytes"},
	"float": {"as_integer_ratio", "conjugate", "fromhex", "hex", "imag", "is_integer", "real"},
}

func isMethod(obj jinja.Value, name string) bool {
	t := typeName(obj)
	if t == "bool" {
		t = "int"
	}
	return slices.Contains(pyMethods[t], name)
}

var dictMethods = map[string]methodFunc{
	"items": func(s *session, obj jinja.Value, a args) (jinja.Value, error) {
		return s.pairs(obj), wantArgs(a, 0, 0)
	},
	"keys": func(s *session, obj jinja.Value, a args) (jinja.Value, error) {
		items, _ := s.items(obj)
		return s.list(viewList, items), wantArgs(a, 0, 0)
	},
	"values": func(s *session, obj jinja.Value, a args) (jinja.Value, error) {
		var items []jinja.Value
		for _, key := range obj.AsDict().Keys {
			items = append(items, obj.AsDict().Data[key])
		}
		return s.list(viewList, items), wantArgs(a, 0, 0)
	},
	"get": func(s *session, obj jinja.Value, a args) (jinja.Value, error) {
		if err := wantArgs(a, 1, 2); err != nil {
			return obj, err
		}
		if a[0].IsString() && obj.AsDict().Has(a[0].AsString()) {
			return obj.AsDict().Data[a[0].AsString()], nil
		}
		if len(a) == 2 {
			return a[1], nil
		}
		return jinja.None(), nil
	},
}

// pairs is dict.items().
func (s *session) pairs(obj jinja.Value) jinja.Value {
	var items []jinja.Value
	for _, key := range obj.AsDict().Keys {
		items = append(items, s.list(tupleList, []jinja.Value{jinja.NewString(key), obj.AsDict().Data[key]}))
	}
	return s.list(viewList, items)
}

func wantArgs(a args, least, most int) error {
	if len(a) < least || len(a) > most {
		return fmt.Errorf("want %d to %d arguments, got %d", least, most, len(a))
	}
	return nil
}

// text is a method that needs nothing but the string.
func text(fn func(string) string) methodFunc {
	return func(_ *session, obj jinja.Value, a args) (jinja.Value, error) {
		return jinja.NewString(fn(obj.AsString())), wantArgs(a, 0, 0)
	}
}

func textTest(fn func(string) bool) methodFunc {
	return func(_ *session, obj jinja.Value, a args) (jinja.Value, error) {
		return jinja.NewBool(fn(obj.AsString())), wantArgs(a, 0, 0)
	}
}

// withText is a method that takes one string.
func withText(fn func(s, arg string) jinja.Value) methodFunc {
	return func(_ *session, obj jinja.Value, a args) (jinja.Value, error) {
		if err := wantArgs(a, 1, 1); err != nil {
			return obj, err
		}
		if !a[0].IsString() {
			return obj, fmt.Errorf("want str, got %s", typeName(a[0]))
		}
		return fn(obj.AsString(), a[0].AsString()), nil
	}
}

var stringMethods = map[string]methodFunc{
	"strip":        stripMethod(true, true),
	"lstrip":       stripMethod(true, false),
	"rstrip":       stripMethod(false, true),
	"upper":        text(upper),
	"lower":        text(lower),
	"capitalize":   text(capitalize),
	"title":        text(title),
	"isspace":      textTest(func(s string) bool { return s != "" && strings.TrimFunc(s, isPySpace) == "" }),
	"isupper":      textTest(func(s string) bool { return hasCase(s, unicode.IsUpper, unicode.IsLower) }),
	"islower":      textTest(func(s string) bool { return hasCase(s, unicode.IsLower, unicode.IsUpper) }),
	"isdigit":      textTest(isDigits),
	"removeprefix": withText(func(s, arg string) jinja.Value { return jinja.NewString(strings.TrimPrefix(s, arg)) }),
	"removesuffix": withText(func(s, arg string) jinja.Value { return jinja.NewString(strings.TrimSuffix(s, arg)) }),
	"count":        withText(func(s, arg string) jinja.Value { return jinja.NewInt(int64(strings.Count(s, arg))) }),
	"find":         withText(func(s, arg string) jinja.Value { return codePointIndex(s, strings.Index(s, arg)) }),
	"rfind":        withText(func(s, arg string) jinja.Value { return codePointIndex(s, strings.LastIndex(s, arg)) }),
	"startswith":   affixMethod(strings.HasPrefix),
	"endswith":     affixMethod(strings.HasSuffix),
	"split":        splitMethod(pySplit),
	"rsplit":       splitMethod(pyRSplit),
	"splitlines": func(_ *session, obj jinja.Value, a args) (jinja.Value, error) {
		return stringList(splitLines(obj.AsString())), wantArgs(a, 0, 0)
	},
	"join": func(s *session, obj jinja.Value, a args) (jinja.Value, error) {
		if err := wantArgs(a, 1, 1); err != nil {
			return obj, err
		}
		items, err := s.items(a[0])
		if err != nil {
			return obj, err
		}
		parts := make([]string, len(items))
		for i, item := range items {
			if !item.IsString() {
				return obj, fmt.Errorf("want items of type str, got %s", typeName(item))
			}
			parts[i] = item.AsString()
		}
		return newString(strings.Join(parts, obj.AsString()))
	},
	"replace": func(_ *session, obj jinja.Value, a args) (jinja.Value, error) {
		if err := wantArgs(a, 2, 3); err != nil {
			return obj, err
		}
		return replace(obj.AsString(), a)
	},
}

func codePointIndex(s string, at int) jinja.Value {
	if at > 0 {
		at = utf8.RuneCountInString(s[:at])
	}
	return jinja.NewInt(int64(at))
}

// replace is s.replace(a[0], a[1], a[2]).
func replace(s string, a args) (jinja.Value, error) {
	count := int64(-1)
	if len(a) == 3 {
		var ok bool
		if count, ok = asInt(a[2]); !ok {
			return a[2], fmt.Errorf("want int, got %s", typeName(a[2]))
		}
	}
	if !a[0].IsString() || !a[1].IsString() {
		return a[0], fmt.Errorf("want two of type str, got %s and %s", typeName(a[0]), typeName(a[1]))
	}
	old, with := a[0].AsString(), a[1].AsString()
	if grown := (len(s) + 1) * max(len(with)-len(old), 0); grown > maxText {
		if strings.Count(s, old) > maxText/len(with) {
			return a[0], fmt.Errorf("want a string of at most %d bytes, got more", maxText)
		}
	}
	return newString(strings.Replace(s, old, with, int(count)))
}

func stripMethod(left, right bool) methodFunc {
	return func(_ *session, obj jinja.Value, a args) (jinja.Value, error) {
		if err := wantArgs(a, 0, 1); err != nil {
			return obj, err
		}
		cut := isPySpace
		if len(a) == 1 && !a[0].IsNone() {
			if !a[0].IsString() {
				return obj, fmt.Errorf("want str, got %s", typeName(a[0]))
			}
			set := a[0].AsString()
			cut = func(r rune) bool { return strings.ContainsRune(set, r) }
		}
		text := obj.AsString()
		if left {
			text = strings.TrimLeftFunc(text, cut)
		}
		if right {
			text = strings.TrimRightFunc(text, cut)
		}
		return jinja.NewString(text), nil
	}
}

// affixMethod is startswith and endswith: one string, or a tuple of them.
func affixMethod(has func(s, affix string) bool) methodFunc {
	return func(s *session, obj jinja.Value, a args) (jinja.Value, error) {
		if err := wantArgs(a, 1, 1); err != nil {
			return obj, err
		}
		options := a
		if a[0].IsList() && s.kind(a[0]) == tupleList {
			options = a[0].AsList().Items
		}
		found := false
		for _, o := range options {
			if !o.IsString() {
				return obj, fmt.Errorf("want str or a tuple of them, got %s", typeName(o))
			}
			found = found || has(obj.AsString(), o.AsString())
		}
		return jinja.NewBool(found), nil
	}
}

func splitMethod(split func(s, sep string, limit int) []string) methodFunc {
	return func(_ *session, obj jinja.Value, a args) (jinja.Value, error) {
		if err := wantArgs(a, 0, 2); err != nil {
			return obj, err
		}
		sep, limit := "", int64(-1)
		if len(a) > 0 && !a[0].IsNone() {
			if !a[0].IsString() || a[0].AsString() == "" {
				return obj, fmt.Errorf("want a separator of type str, not empty, got %s", typeName(a[0]))
			}
			sep = a[0].AsString()
		}
		if len(a) == 2 {
			var ok bool
			if limit, ok = asInt(a[1]); !ok {
				return obj, fmt.Errorf("want int, got %s", typeName(a[1]))
			}
		}
		return stringList(split(obj.AsString(), sep, int(limit))), nil
	}
}

func stringList(parts []string) jinja.Value {
	items := make([]jinja.Value, len(parts))
	for i, p := range parts {
		items[i] = jinja.NewString(p)
	}
	return jinja.NewList(items)
}

// pySplit is s.split(sep, limit); an empty sep stands for runs of spaces.
func pySplit(s, sep string, limit int) []string {
	if sep != "" {
		return strings.SplitN(s, sep, splitCount(limit))
	}
	var out []string
	for s = strings.TrimLeftFunc(s, isPySpace); s != ""; s = strings.TrimLeftFunc(s, isPySpace) {
		end := strings.IndexFunc(s, isPySpace)
		if end < 0 || limit >= 0 && len(out) == limit {
			return append(out, s)
		}
		out = append(out, s[:end])
		s = s[end:]
	}
	return out
}

func splitCount(limit int) int {
	if limit < 0 {
		return -1
	}
	return limit + 1
}

// pyRSplit is s.rsplit(sep, limit).
func pyRSplit(s, sep string, limit int) []string {
	var out []string
	if sep == "" {
		for s = strings.TrimRightFunc(s, isPySpace); s != ""; s = strings.TrimRightFunc(s, isPySpace) {
			at := strings.LastIndexFunc(s, isPySpace)
			if at < 0 || limit >= 0 && len(out) == limit {
				out = append(out, s)
				break
			}
			_, n := utf8.DecodeRuneInString(s[at:])
			out = append(out, s[at+n:])
			s = s[:at]
		}
		slices.Reverse(out)
		return out
	}
	for at := strings.LastIndex(s, sep); at >= 0 && (limit < 0 || len(out) < limit); at = strings.LastIndex(s, sep) {
		out = append(out, s[at+len(sep):])
		s = s[:at]
	}
	out = append(out, s)
	slices.Reverse(out)
	return out
}

// splitLines is s.splitlines().
func splitLines(s string) []string {
	isBreak := func(r rune) bool {
		return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
	}
	var out []string
	for s != "" {
		at := strings.IndexFunc(s, isBreak)
		if at < 0 {
			return append(out, s)
		}
		out = append(out, s[:at])
		_, n := utf8.DecodeRuneInString(s[at:])
		if strings.HasPrefix(s[at:], "\r\n") {
			n = 2
		}
		s = s[at+n:]
	}
	return out
}

func upper(s string) string { return cases.Upper(language.Und).String(s) }
func lower(s string) string { return cases.Lower(language.Und).String(s) }

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return cases.Title(language.Und, cases.NoLower).String(s[:n]) + lower(s[n:])
}

func hasCase(s string, want, not func(rune) bool) bool {
	return strings.IndexFunc(s, want) >= 0 && strings.IndexFunc(s, not) < 0 && strings.IndexFunc(s, unicode.IsTitle) < 0
}

func isDigits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }) < 0
}

// title is s.title(): a letter after none is a capital, the others are small.
func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, r := range s {
		switch {
		case inWord:
			b.WriteString(lower(string(r)))
		default:
			b.WriteString(capitalize(string(r)))
		}
		inWord = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
	}
	return b.String()
}

// titleWords is jinja2's filter title: words start after spaces and - ( { [ <.
func titleWords(s string) string {
	var b strings.Builder
	start := true
	for _, r := range s {
		if isPySpace(r) || strings.ContainsRune("-({[<", r) {
			b.WriteRune(r)
			start = true
			continue
		}
		if start {
			b.WriteString(upper(string(r)))
		} else {
			b.WriteString(lower(string(r)))
		}
		start = false
	}
	return b.String()
}
