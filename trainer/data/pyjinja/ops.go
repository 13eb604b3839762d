package pyjinja

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/ardanlabs/jinja"
)

// asInt returns the value of an int or a bool.
func asInt(v jinja.Value) (int64, bool) {
	switch {
	case v.IsInt():
		return v.AsInt(), true
	case v.IsBool() && v.AsBool():
		return 1, true
	case v.IsBool():
		return 0, true
	}
	return 0, false
}

func asFloat(v jinja.Value) (float64, bool) {
	if v.IsFloat() {
		return v.AsFloat(), true
	}
	n, ok := asInt(v)
	return float64(n), ok
}

func (s *session) neg(a args, _ kwargs) (jinja.Value, error) {
	v := a[1]
	minus := a[0].AsString() == "-"
	if n, ok := asInt(v); ok && n != math.MinInt64 {
		if minus {
			n = -n
		}
		return jinja.NewInt(n), nil
	}
	if v.IsFloat() && minus {
		return jinja.NewFloat(-v.AsFloat()), nil
	}
	if v.IsFloat() {
		return v, nil
	}
	return v, fmt.Errorf("want a number after %s, got %s", a[0].AsString(), typeName(v))
}

// op is a binary operator of arithmetic.
func (s *session) op(a args, _ kwargs) (jinja.Value, error) {
	op, x, y := a[0].AsString(), a[1], a[2]
	m, okM := asInt(x)
	n, okN := asInt(y)
	if okM && okN {
		return intOp(op, m, n)
	}
	f, okF := asFloat(x)
	g, okG := asFloat(y)
	if okF && okG {
		return floatOp(op, f, g)
	}
	if op == "+" && x.IsString() && y.IsString() {
		return newString(x.AsString() + y.AsString())
	}
	if op == "+" && x.IsList() && y.IsList() && s.kind(x) == s.kind(y) && !s.isView(x) {
		return s.list(s.kind(x), slices.Concat(x.AsList().Items, y.AsList().Items)), nil
	}
	if op == "*" && (x.IsString() && okN || y.IsString() && okM) {
		return repeat(x, y)
	}
	if op == "%" && x.IsString() {
		return x, fmt.Errorf("formatting with %% is not supported")
	}
	return x, fmt.Errorf("unsupported operand types for %s: %s and %s", op, typeName(x), typeName(y))
}

func repeat(x, y jinja.Value) (jinja.Value, error) {
	if y.IsString() {
		x, y = y, x
	}
	n, _ := asInt(y)
	text := x.AsString()
	if n > 0 && len(text) > 0 && n > maxText/int64(len(text)) {
		return x, fmt.Errorf("want a string of at most %d bytes, got more", maxText)
	}
	return jinja.NewString(strings.Repeat(text, int(max(n, 0)))), nil
}

func intOp(op string, m, n int64) (jinja.Value, error) {
	x, y, z := big.NewInt(m), big.NewInt(n), new(big.Int)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		z.Mul(x, y)
	case "**":
		const maxExponent = 64 // 2 to that is beyond 64 bits already
		if n < 0 || n > maxExponent && (m < -1 || m > 1) {
			return jinja.None(), fmt.Errorf("%d ** %d is not supported", m, n)
		}
		z.Exp(x, y, nil)
	default:
		if n == 0 {
			return jinja.None(), fmt.Errorf("division by zero")
		}
		if op == "/" {
			return jinja.NewFloat(float64(m) / float64(n)), nil
		}
		quotient, rest := new(big.Int).QuoRem(x, y, new(big.Int))
		if rest.Sign() != 0 && (rest.Sign() < 0) != (n < 0) { // Python rounds down
			quotient.Sub(quotient, big.NewInt(1))
			rest.Add(rest, y)
		}
		if z = quotient; op == "%" {
			z = rest
		}
	}
	if !z.IsInt64() {
		return jinja.None(), fmt.Errorf("%d %s %d: integers beyond 64 bits are not supported", m, op, n)
	}
	return jinja.NewInt(z.Int64()), nil
}

func floatOp(op string, f, g float64) (jinja.Value, error) {
	var r float64
	switch op {
	case "+":
		r = f + g
	case "-":
		r = f - g
	case "*":
		r = f * g
	case "/":
		if g == 0 {
			return jinja.None(), fmt.Errorf("division by zero")
		}
		r = f / g
	default:
		return jinja.None(), fmt.Errorf("%s of floats is not supported", op)
	}
	return jinja.NewFloat(r), nil
}

// equal is Python's ==.
func (s *session) equal(x, y jinja.Value, depth int) bool {
	if f, ok := asFloat(x); ok {
		m, okM := asInt(x)
		n, okN := asInt(y)
		if okM && okN {
			return m == n
		}
		g, ok := asFloat(y)
		return ok && f == g
	}
	switch {
	case depth > maxDepth:
		return false
	case x.IsList() && y.IsList():
		return s.kind(x) == s.kind(y) && slices.EqualFunc(x.AsList().Items, y.AsList().Items,
			func(a, b jinja.Value) bool { return s.equal(a, b, depth+1) })
	case x.IsDict() && y.IsDict():
		if x.AsDict().Len() != y.AsDict().Len() {
			return false
		}
		for key, item := range x.AsDict().Data {
			other, ok := y.AsDict().Get(key)
			if !ok || !s.equal(item, other, depth+1) {
				return false
			}
		}
		return true
	case isBigInt(x) && isBigInt(y):
		return x.AsCallable().Name == y.AsCallable().Name
	}
	return x.Equals(y)
}

func (s *session) cmp(a args, _ kwargs) (jinja.Value, error) {
	ok, err := s.compare(a[0].AsString(), a[1], a[2])
	return jinja.NewBool(ok), err
}

func (s *session) compare(op string, x, y jinja.Value) (bool, error) {
	switch op {
	case "==":
		return s.equal(x, y, 0), nil
	case "!=":
		return !s.equal(x, y, 0), nil
	}
	order, err := compareOrder(x, y)
	if err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	switch op {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	}
	return order >= 0, nil
}

func compareOrder(x, y jinja.Value) (int, error) {
	m, okM := asInt(x)
	n, okN := asInt(y)
	if okM && okN {
		return cmp.Compare(m, n), nil
	}
	f, okF := asFloat(x)
	g, okG := asFloat(y)
	switch {
	case okF && okG && !math.IsNaN(f) && !math.IsNaN(g):
		return cmp.Compare(f, g), nil
	case x.IsString() && y.IsString():
		return strings.Compare(x.AsString(), y.AsString()), nil
	}
	return 0, fmt.Errorf("want two numbers or two strings, got %s and %s", typeName(x), typeName(y))
}

func (s *session) in(a args, _ kwargs) (jinja.Value, error) {
	ok, err := s.contains(a[1], a[0])
	return jinja.NewBool(ok), err
}

func (s *session) contains(container, item jinja.Value) (bool, error) {
	switch {
	case container.IsString():
		if !item.IsString() {
			return false, fmt.Errorf("in: want a string in a string, got %s", typeName(item))
		}
		return strings.Contains(container.AsString(), item.AsString()), nil
	case container.IsDict():
		if item.IsList() || item.IsDict() {
			return false, fmt.Errorf("in: want a key, got %s", typeName(item))
		}
		return item.IsString() && container.AsDict().Has(item.AsString()), nil
	}
	if isGenerator(container) {
		return false, fmt.Errorf("in: want a list, got a generator: add the filter list")
	}
	items, err := s.items(container)
	if err != nil {
		return false, fmt.Errorf("in: %w", err)
	}
	return slices.ContainsFunc(items, func(v jinja.Value) bool { return s.equal(v, item, 0) }), nil
}

func (s *session) attrCall(a args, _ kwargs) (jinja.Value, error) {
	return s.attr(a[0], a[1].AsString())
}

// attr is obj.name: a method comes before a key.
func (s *session) attr(obj jinja.Value, name string) (jinja.Value, error) {
	switch {
	case obj.IsUndefined():
		return obj, fmt.Errorf("want a value before .%s, got an undefined one", name)
	case isMethod(obj, name):
		return obj, fmt.Errorf("method %q of %s is supported only where it is called", name, typeName(obj))
	case obj.IsDict():
		v, _ := obj.AsDict().Get(name)
		return v, nil
	case obj.IsCallable():
		return obj, fmt.Errorf("attribute %q of a %s is not supported", name, typeName(obj))
	}
	return jinja.Undefined(), nil
}

func (s *session) itemCall(a args, _ kwargs) (jinja.Value, error) { return s.item(a[0], a[1]) }

// item is obj[key]: a key comes before a method.
func (s *session) item(obj, key jinja.Value) (jinja.Value, error) {
	if obj.IsUndefined() {
		return obj, fmt.Errorf("want a value before [ ], got an undefined one")
	}
	if key.IsString() {
		if obj.IsDict() && obj.AsDict().Has(key.AsString()) {
			return obj.AsDict().Data[key.AsString()], nil
		}
		return s.attr(obj, key.AsString())
	}
	n, ok := asInt(key)
	if !ok || !obj.IsList() && !obj.IsString() {
		return jinja.Undefined(), nil
	}
	if s.isView(obj) {
		return obj, fmt.Errorf("want a list before [ ], got a view")
	}
	items, err := s.items(obj)
	if err != nil {
		return obj, err
	}
	if n < 0 {
		n += int64(len(items))
	}
	if n < 0 || n >= int64(len(items)) {
		return jinja.Undefined(), nil
	}
	return items[n], nil
}

// slice is obj[start:stop:step].
func (s *session) slice(a args, _ kwargs) (jinja.Value, error) {
	obj := a[0]
	if !obj.IsString() && !obj.IsList() || s.isView(obj) {
		return obj, fmt.Errorf("slice: want a list or a string, got %s", typeName(obj))
	}
	items, err := s.items(obj)
	if err != nil {
		return obj, err
	}
	indices, err := sliceIndices(len(items), a[1:])
	if err != nil {
		return obj, err
	}
	picked := make([]jinja.Value, 0, len(indices))
	for _, i := range indices {
		picked = append(picked, items[i])
	}
	if obj.IsList() {
		return s.list(s.kind(obj), picked), nil
	}
	var b strings.Builder
	for _, r := range picked {
		b.WriteString(r.AsString())
	}
	return jinja.NewString(b.String()), nil
}

// sliceIndices is range(*slice(start, stop, step).indices(n)) of Python.
func sliceIndices(n int, bounds []jinja.Value) ([]int, error) {
	var given [3]bool
	var at [3]int64
	for i, v := range bounds {
		if v.IsUndefined() || v.IsNone() {
			continue
		}
		var ok bool
		if at[i], ok = asInt(v); !ok {
			return nil, fmt.Errorf("slice: want int, got %s", typeName(v))
		}
		given[i] = true
	}
	step := int64(1)
	if given[2] {
		step = at[2]
	}
	if step == 0 {
		return nil, fmt.Errorf("slice: want a step other than 0")
	}
	low, high := int64(0), int64(n)
	start, stop := low, high
	if step < 0 {
		low, high = -1, int64(n)-1
		start, stop = high, low
	}
	if given[0] {
		start = clampIndex(at[0], int64(n), low, high)
	}
	if given[1] {
		stop = clampIndex(at[1], int64(n), low, high)
	}
	var out []int
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		out = append(out, int(i))
	}
	return out, nil
}

func clampIndex(i, n, low, high int64) int64 {
	if i < 0 {
		i += n
	}
	return min(max(i, low), high)
}
