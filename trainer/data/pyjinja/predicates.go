package pyjinja

import (
	"fmt"

	"github.com/ardanlabs/jinja"
)

// pyTest is a test of jinja2: how many arguments it takes, and its result.
type pyTest struct {
	args int
	fn   func(s *session, v jinja.Value, a args) (bool, error)
}

// testTable holds the tests that are known.
var testTable = map[string]pyTest{
	"defined":   isKind(func(_ *session, v jinja.Value) bool { return !v.IsUndefined() }),
	"undefined": isKind(func(_ *session, v jinja.Value) bool { return v.IsUndefined() }),
	"none":      isKind(func(_ *session, v jinja.Value) bool { return v.IsNone() }),
	"boolean":   isKind(func(_ *session, v jinja.Value) bool { return v.IsBool() }),
	"true":      isKind(func(_ *session, v jinja.Value) bool { return v.IsBool() && v.AsBool() }),
	"false":     isKind(func(_ *session, v jinja.Value) bool { return v.IsBool() && !v.AsBool() }),
	"integer":   isKind(func(_ *session, v jinja.Value) bool { return v.IsInt() || isBigInt(v) }),
	"float":     isKind(func(_ *session, v jinja.Value) bool { return v.IsFloat() }),
	"number":    isKind(func(_ *session, v jinja.Value) bool { return v.IsNumber() || v.IsBool() || isBigInt(v) }),
	"string":    isKind(func(_ *session, v jinja.Value) bool { return v.IsString() || isMarkup(v) }),
	"mapping":   isKind(func(_ *session, v jinja.Value) bool { return v.IsDict() }),
	"callable": isKind(func(_ *session, v jinja.Value) bool {
		return v.IsCallable() && !isBigInt(v) && !isMarkup(v) && !isGenerator(v)
	}),
	"sequence":    isKind(isSequence),
	"iterable":    isKind(isIterable),
	"eq":          comparison("=="),
	"equalto":     comparison("=="),
	"ne":          comparison("!="),
	"lt":          comparison("<"),
	"lessthan":    comparison("<"),
	"le":          comparison("<="),
	"gt":          comparison(">"),
	"greaterthan": comparison(">"),
	"ge":          comparison(">="),
	"==":          comparison("=="), // by name, in select and its like
	"!=":          comparison("!="),
	"<":           comparison("<"),
	"<=":          comparison("<="),
	">":           comparison(">"),
	">=":          comparison(">="),
	"in":          {1, func(s *session, v jinja.Value, a args) (bool, error) { return s.contains(a[0], v) }},
	"odd":         remainder(1),
	"even":        remainder(0),
	"upper":       letterCase(stringMethods["isupper"]),
	"lower":       letterCase(stringMethods["islower"]),
	"divisibleby": {1, func(s *session, v jinja.Value, a args) (bool, error) { return divides(v, a[0], 0) }},
	"sameas":      {1, sameAs},
}

func (s *session) test(a args, k kwargs) (jinja.Value, error) {
	name := a[0].AsString()
	t, ok := testTable[name]
	if !ok {
		return a[1], fmt.Errorf("test %q is not supported", name)
	}
	if len(k) > 0 || len(a)-2 != t.args {
		return a[1], fmt.Errorf("test %s: want %d arguments, got %d", name, t.args, len(a)-2+len(k))
	}
	r, err := t.fn(s, a[1], a[2:])
	if err != nil {
		return a[1], fmt.Errorf("test %s: %w", name, err)
	}
	return jinja.NewBool(r), nil
}

func isKind(is func(*session, jinja.Value) bool) pyTest {
	return pyTest{0, func(s *session, v jinja.Value, _ args) (bool, error) { return is(s, v), nil }}
}

// isSequence: what has a length and an index, which an undefined value of
// jinja2 has too.
func isSequence(s *session, v jinja.Value) bool {
	return v.IsString() || v.IsDict() || v.IsUndefined() || v.IsList() && !s.isView(v)
}

func isIterable(_ *session, v jinja.Value) bool {
	return v.IsString() || v.IsDict() || v.IsUndefined() || v.IsList() || isGenerator(v)
}

func comparison(op string) pyTest {
	return pyTest{1, func(s *session, v jinja.Value, a args) (bool, error) { return s.compare(op, v, a[0]) }}
}

func remainder(want int64) pyTest {
	return pyTest{0, func(_ *session, v jinja.Value, _ args) (bool, error) {
		return divides(v, jinja.NewInt(2), want)
	}}
}

// divides reports whether v % by is want.
func divides(v, by jinja.Value, want int64) (bool, error) {
	m, okM := asInt(v)
	n, okN := asInt(by)
	if !okM || !okN {
		return false, fmt.Errorf("want int, got %s and %s", typeName(v), typeName(by))
	}
	r, err := intOp("%", m, n)
	return err == nil && r.AsInt() == want, err
}

func letterCase(method methodFunc) pyTest {
	return pyTest{0, func(s *session, v jinja.Value, _ args) (bool, error) {
		text, err := s.str(v)
		if err != nil {
			return false, err
		}
		r, err := method(s, jinja.NewString(text), nil)
		return err == nil && r.AsBool(), err
	}}
}

// sameAs is Python's is, for the values that exist once.
func sameAs(_ *session, v jinja.Value, a args) (bool, error) {
	w := a[0]
	if !w.IsNone() && !w.IsBool() {
		return false, fmt.Errorf("want true, false or none, got %s", typeName(w))
	}
	return v.IsNone() && w.IsNone() || v.IsBool() && w.IsBool() && v.AsBool() == w.AsBool(), nil
}
