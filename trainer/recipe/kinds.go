package recipe

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind is the type of a key's value.
type kind int

const (
	kindBool   kind = iota
	kindInt         // fits in 32 bits
	kindSeed        // 0 to 2^63-1
	kindFloat       // finite, fits in float32; a TOML integer is accepted
	kindString      // without NUL
	kindInts        // a list of kindInt
	kindObject      // a table of plain values
	kindDevice      // "auto" or an index
)

var kindNames = map[kind]string{
	kindBool: "bool", kindInt: "int", kindSeed: "int", kindFloat: "float", kindString: "string",
	kindInts: "list of int", kindObject: "table", kindDevice: "int or string",
}

// rule is the range of a key: what is allowed, in words, and its test on a
// converted value. A nil ok allows every value of the kind.
type rule struct {
	want string
	ok   func(v any) bool
	hint string
}

func (r rule) withHint(hint string) rule { r.hint = hint; return r }

func atLeast(n int) rule {
	return rule{want: fmt.Sprintf("an integer >= %d", n), ok: func(v any) bool { return v.(int) >= n }}
}

func minusOneOr(n int) rule {
	return rule{want: fmt.Sprintf("-1 or an integer >= %d", n), ok: func(v any) bool { return v.(int) == -1 || v.(int) >= n }}
}

func exactly(n int) rule {
	return rule{want: strconv.Itoa(n), ok: func(v any) bool { return v.(int) == n }}
}

func number(want string, ok func(x float64) bool) rule {
	return rule{want: want, ok: func(v any) bool { return ok(v.(float64)) }}
}

func oneOf(names ...string) rule {
	want := quoteAll(names)
	if len(names) > 1 {
		want = "one of " + want
	}
	return rule{want: want, ok: func(v any) bool { return slices.Contains(names, v.(string)) }}
}

func onlyBool(b bool, hint string) rule {
	return rule{want: strconv.FormatBool(b), ok: func(v any) bool { return v.(bool) == b }, hint: hint}
}

var (
	anyBool     = rule{want: "true or false"}
	anyText     = rule{want: "a string"}
	anyObject   = rule{want: "a table of strings, numbers and booleans"}
	path        = rule{want: "a path", ok: func(v any) bool { return v != "" }}
	positive    = number("a number > 0", func(x float64) bool { return x > 0 })
	nonNegative = number("a number >= 0", func(x float64) bool { return x >= 0 })
	unit        = number("a number in [0, 1]", func(x float64) bool { return x >= 0 && x <= 1 })
	unitNotZero = number("a number in (0, 1]", func(x float64) bool { return x > 0 && x <= 1 })
	unitNotOne  = number("a number in [0, 1)", func(x float64) bool { return x >= 0 && x < 1 })
	layerList   = rule{want: "a list of one or more integers >= 0", ok: func(v any) bool {
		ids := v.([]int)
		for _, id := range ids {
			if id < 0 {
				return false
			}
		}
		return len(ids) > 0
	}}
	evenSize = rule{want: "an even integer >= 2", ok: func(v any) bool { return v.(int) >= 2 && v.(int)%2 == 0 }}
)

// convert turns a value as the TOML library gives it into the Go value of a
// kind, or says what is wanted instead: want is empty where the conversion did.
func convert(k kind, raw any, rangeWords string) (v any, want string) {
	switch k {
	case kindInt:
		return toInt(raw, rangeWords)
	case kindSeed:
		if n, ok := raw.(int64); ok && n >= 0 {
			return uint64(n), ""
		}
		return nil, rangeWords
	case kindFloat:
		return toFloat(raw, rangeWords)
	case kindString:
		return toText(raw, rangeWords)
	case kindInts:
		return toInts(raw, rangeWords)
	case kindObject:
		return toObject(raw, rangeWords)
	case kindDevice:
		return toDevice(raw, rangeWords)
	}
	b, ok := raw.(bool)
	if !ok {
		return nil, rangeWords
	}
	return b, ""
}

func toInt(raw any, want string) (any, string) {
	n, ok := raw.(int64)
	if !ok {
		return nil, want
	}
	if n > math.MaxInt32 || n < math.MinInt32 {
		return nil, "an integer that fits in 32 bits"
	}
	return int(n), ""
}

func toFloat(raw any, want string) (any, string) {
	x, ok := raw.(float64)
	if n, isInt := raw.(int64); isInt {
		x, ok = float64(n), true
	}
	switch {
	case !ok:
		return nil, want
	case math.IsNaN(x) || math.IsInf(x, 0):
		return nil, "a finite number"
	case math.IsInf(float64(float32(x)), 0) || (float32(x) == 0 && x != 0):
		return nil, "a number that float32 can hold"
	}
	return x, ""
}

func toText(raw any, want string) (any, string) {
	s, ok := raw.(string)
	if !ok {
		return nil, want
	}
	if strings.ContainsRune(s, 0) {
		return nil, "a string without NUL characters"
	}
	return s, ""
}

func toInts(raw any, want string) (any, string) {
	list, ok := raw.([]any)
	if !ok {
		return nil, want
	}
	ids := make([]int, len(list))
	for i, e := range list {
		n, w := toInt(e, want)
		if w != "" {
			return nil, w
		}
		ids[i] = n.(int)
	}
	return ids, ""
}

func toObject(raw any, want string) (any, string) {
	m, ok := raw.(map[string]any)
	if !ok {
		return nil, want
	}
	if !plainValue(m) {
		return nil, "a table without dates, nan and inf"
	}
	return m, ""
}

func toDevice(raw any, want string) (any, string) {
	if raw == "auto" {
		return -1, ""
	}
	if n, w := toInt(raw, want); w == "" && n.(int) >= 0 {
		return n, ""
	}
	return nil, want
}

// plainValue reports whether v can stand in config.json: no dates, no NaN, no infinities.
func plainValue(v any) bool {
	switch v := v.(type) {
	case bool, int64, string:
		return true
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	case []any:
		for _, e := range v {
			if !plainValue(e) {
				return false
			}
		}
		return true
	case []map[string]any:
		for _, e := range v {
			if !plainValue(e) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, e := range v {
			if !plainValue(e) {
				return false
			}
		}
		return true
	}
	return false
}

// maxShown is how many characters of a found value a message shows.
const maxShown = 60

// describe shows a found value in a message, as TOML would spell it.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(shorten(v))
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		return formatFloat(v)
	case []int:
		return shorten(formatInts(v))
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v[:min(len(v), maxShown)] {
			parts = append(parts, describe(e))
		}
		return shorten("[" + strings.Join(parts, ", ") + "]")
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	case time.Time:
		return "a date or time"
	}
	return fmt.Sprintf("a %T", v)
}

func shorten(s string) string {
	r := []rune(s)
	if len(r) <= maxShown {
		return s
	}
	return string(r[:maxShown]) + "…"
}

// formatFloat is the shortest spelling that reads back as the same float64, with
// a point or an exponent so that it stays a TOML float.
func formatFloat(x float64) string {
	s := strconv.FormatFloat(x, 'g', -1, 64)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return strings.ToLower(strings.TrimPrefix(s, "+"))
	}
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

func formatInts(ids []int) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(id)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func quoteAll(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = strconv.Quote(n)
	}
	return strings.Join(q, ", ")
}

const docsHint = "docs/recipe.md lists every key with its type, default and range"

// typeHint says how to respell a value of the wrong type, or "".
func typeHint(k kind, raw any) string {
	isNumber := k == kindInt || k == kindSeed || k == kindFloat
	switch v := raw.(type) {
	case string:
		low := strings.ToLower(strings.TrimSpace(v))
		_, err := strconv.ParseInt(low, 10, 64)
		switch {
		case low == "null" || low == "none" || low == "~":
			return "TOML has no null: leave the key out"
		case k == kindBool && (low == "true" || low == "false" || low == "yes" || low == "no"):
			return "write true or false, without quotes"
		case isNumber && errors.Is(err, strconv.ErrRange):
			return "the number does not fit in 64 bits"
		case isNumber:
			return "write a number, without quotes"
		}
	case float64:
		if k == kindInt || k == kindSeed {
			return "write a whole number, without a point or an exponent"
		}
	}
	if _, isText := raw.(string); k == kindString && !isText {
		return "write the value in quotes"
	}
	return ""
}

// showKey is a dotted key for a message, quoted where it holds anything unusual.
func showKey(name string) string {
	plainChar := func(c rune) bool {
		return c == '_' || c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	if strings.ContainsFunc(name, func(c rune) bool { return !plainChar(c) }) {
		return strconv.Quote(shorten(name))
	}
	return shorten(name)
}
