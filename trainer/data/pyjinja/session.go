package pyjinja

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// listKind tells what Python type a list of the library stands for.
type listKind int

const (
	plainList listKind = iota
	tupleList
	viewList // keys(), values(), items() or a range: it can be iterated and counted
)

// session is one rendering.
type session struct {
	kinds map[*jinja.List]listKind
	left  [][]jinja.Value // what each generator has still to give
	ticks int
	calls int
}

type (
	args   = []jinja.Value
	kwargs = map[string]jinja.Value
)

// functions returns the functions that rewritten templates call, and the
// globals of transformers' environment.
func (s *session) functions() map[string]jinja.Value {
	vars := map[string]jinja.Value{}
	for name, fn := range map[string]func(args, kwargs) (jinja.Value, error){
		"__print": s.print, "__cat": s.cat, "__op": s.op, "__neg": s.neg, "__cmp": s.cmp, "__in": s.in,
		"__attr": s.attrCall, "__item": s.itemCall, "__slice": s.slice, "__call": s.method,
		"__filter": s.filter, "__test": s.test, "__iter": s.iter, "__unpack": s.unpack,
		"__tuple": s.tuple, "__dict": s.dict, "__tick": s.tick, "__enter": s.enter, "__leave": s.leave,
		"__push": s.push,
		"range":  s.pyRange, "raise_exception": s.raise, "strftime_now": s.now,
	} {
		vars[name] = jinja.NewCallable(name, fn)
	}
	return vars
}

func (s *session) list(kind listKind, items []jinja.Value) jinja.Value {
	v := jinja.NewList(items)
	if kind != plainList {
		s.kinds[v.AsList()] = kind
	}
	return v
}

func (s *session) kind(v jinja.Value) listKind { return s.kinds[v.AsList()] }

// generator returns a value that is true, can be iterated once, and nothing else.
func (s *session) generator(items []jinja.Value) jinja.Value {
	s.left = append(s.left, items)
	return jinja.NewCallable(generatorName+strconv.Itoa(len(s.left)-1), nil)
}

// take returns the next n values of a generator, all if n is negative.
func (s *session) take(v jinja.Value, n int) []jinja.Value {
	i, err := strconv.Atoi(strings.TrimPrefix(v.AsCallable().Name, generatorName))
	if err != nil || i >= len(s.left) {
		return nil
	}
	items := s.left[i]
	if n < 0 || n > len(items) {
		n = len(items)
	}
	s.left[i] = items[n:]
	return items[:n]
}

// isView reports whether v can be iterated, but is no list.
func (s *session) isView(v jinja.Value) bool {
	return v.IsList() && s.kind(v) == viewList
}

func (s *session) print(a args, _ kwargs) (jinja.Value, error) {
	text, err := s.str(a[0])
	return jinja.NewString(text), err
}

func (s *session) cat(a args, _ kwargs) (jinja.Value, error) {
	var b strings.Builder
	for _, v := range a {
		text, err := s.str(v)
		if err != nil {
			return v, err
		}
		b.WriteString(text)
	}
	return newString(b.String())
}

// newString refuses strings that a template would grow without end.
func newString(text string) (jinja.Value, error) {
	if len(text) > maxText {
		return jinja.None(), fmt.Errorf("want a string of at most %d bytes, got %d", maxText, len(text))
	}
	return jinja.NewString(text), nil
}

func (s *session) tuple(a args, _ kwargs) (jinja.Value, error) { return s.list(tupleList, a), nil }

func (s *session) dict(a args, _ kwargs) (jinja.Value, error) {
	d := jinja.NewDict()
	for i := 0; i < len(a); i += 2 {
		if !a[i].IsString() {
			return d, fmt.Errorf("dict: want keys of type str, got %s", typeName(a[i]))
		}
		d.AsDict().Set(a[i].AsString(), a[i+1])
	}
	return d, nil
}

func (s *session) tick(args, kwargs) (jinja.Value, error) {
	if s.ticks++; s.ticks > maxTicks {
		return jinja.None(), fmt.Errorf("want at most %d loop iterations, got more", maxTicks)
	}
	return jinja.None(), nil
}

func (s *session) enter(args, kwargs) (jinja.Value, error) {
	if s.calls++; s.calls > maxCalls {
		return jinja.None(), fmt.Errorf("want at most %d nested macro calls, got more", maxCalls)
	}
	return s.tick(nil, nil)
}

func (s *session) leave(args, kwargs) (jinja.Value, error) {
	s.calls--
	return jinja.None(), nil
}

// push adds the tuple of a[1:] to the list a[0].
func (s *session) push(a args, _ kwargs) (jinja.Value, error) {
	a[0].AsList().Append(s.list(tupleList, a[1:]))
	return jinja.None(), nil
}

func (s *session) raise(a args, _ kwargs) (jinja.Value, error) {
	if len(a) != 1 {
		return jinja.None(), fmt.Errorf("raise_exception: want 1 argument, got %d", len(a))
	}
	text, err := s.str(a[0])
	if err != nil {
		return jinja.None(), err
	}
	return jinja.None(), fmt.Errorf("%s", text)
}

// now refuses: a text with today's date would change between two runs.
func (s *session) now(args, kwargs) (jinja.Value, error) {
	return jinja.None(), fmt.Errorf("strftime_now is not supported: the training data would change from day to day")
}

func (s *session) pyRange(a args, _ kwargs) (jinja.Value, error) {
	bounds := []int64{0, 0, 1}
	if len(a) < 1 || len(a) > 3 {
		return jinja.None(), fmt.Errorf("range: want 1 to 3 arguments, got %d", len(a))
	}
	for i, v := range a {
		n, ok := asInt(v)
		if !ok {
			return v, fmt.Errorf("range: want int, got %s", typeName(v))
		}
		if len(a) == 1 {
			bounds[1] = n
		} else {
			bounds[i] = n
		}
	}
	step := bounds[2]
	if step == 0 {
		return jinja.None(), fmt.Errorf("range: want a step other than 0")
	}
	var items []jinja.Value
	for n := bounds[0]; step > 0 && n < bounds[1] || step < 0 && n > bounds[1]; n += step {
		if items = append(items, jinja.NewInt(n)); len(items) > maxRange {
			return jinja.None(), fmt.Errorf("range: want at most %d numbers, got more", maxRange)
		}
	}
	return s.list(viewList, items), nil
}

// items returns what a for loop over v visits.
func (s *session) items(v jinja.Value) ([]jinja.Value, error) {
	switch {
	case v.IsList():
		return v.AsList().Items, nil
	case v.IsUndefined():
		return nil, nil
	case isGenerator(v):
		return s.take(v, -1), nil
	case v.IsString():
		var out []jinja.Value
		for _, r := range v.AsString() {
			out = append(out, jinja.NewString(string(r)))
		}
		return out, nil
	case v.IsDict():
		var out []jinja.Value
		for _, key := range v.AsDict().Keys {
			out = append(out, jinja.NewString(key))
		}
		return out, nil
	}
	return nil, fmt.Errorf("want something to iterate over, got %s", typeName(v))
}

// iter prepares a loop over a[0] with a[1] variables.
func (s *session) iter(a args, _ kwargs) (jinja.Value, error) {
	items, err := s.items(a[0])
	if err != nil {
		return jinja.None(), err
	}
	if want := a[1].AsInt(); want > 1 {
		for _, item := range items {
			if parts, err := s.items(item); err != nil || int64(len(parts)) != want {
				return jinja.None(), fmt.Errorf("loop: want items of %d values, got another %s", want, typeName(item))
			}
			if !item.IsList() {
				return jinja.None(), fmt.Errorf("loop: unpacking a %s is not supported", typeName(item))
			}
		}
	}
	return jinja.NewList(items), nil
}

func (s *session) unpack(a args, _ kwargs) (jinja.Value, error) {
	items, err := s.items(a[0])
	if err != nil {
		return jinja.None(), err
	}
	if int64(len(items)) != a[1].AsInt() {
		return jinja.None(), fmt.Errorf("set: want %d values, got %d", a[1].AsInt(), len(items))
	}
	return jinja.NewList(items), nil
}
