package pyjinja

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// filterTable holds the filters that are known; an entry computes value|name(a, k).
// It is filled by init, because map and select look names up in it.
var filterTable map[string]func(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error)

func init() {
	filterTable = map[string]func(*session, jinja.Value, args, kwargs) (jinja.Value, error){
		"trim": trimFilter, "upper": textFilter(upper), "lower": textFilter(lower), "capitalize": textFilter(capitalize), "title": textFilter(titleWords),
		"string": textFilter(func(s string) string { return s }), "length": lengthFilter, "count": lengthFilter,
		"first": firstFilter, "last": lastFilter, "join": joinFilter, "default": defaultFilter, "d": defaultFilter,
		"replace": replaceFilter, "tojson": tojsonFilter, "int": intFilter, "float": floatFilter, "list": listFilter,
		"items": itemsFilter, "map": mapFilter, "reverse": reverseFilter, "indent": indentFilter, "abs": absFilter,
		"safe": safeFilter, "sort": sortFilter, "dictsort": dictsortFilter,
		"select": selectFilter(true, false), "reject": selectFilter(false, false),
		"selectattr": selectFilter(true, true), "rejectattr": selectFilter(false, true),
	}
}

func (s *session) filter(a args, k kwargs) (jinja.Value, error) {
	name := a[0].AsString()
	fn, ok := filterTable[name]
	if !ok {
		return a[1], fmt.Errorf("filter %q is not supported", name)
	}
	v, err := fn(s, a[1], a[2:], k)
	if err != nil {
		return v, fmt.Errorf("filter %s: %w", name, err)
	}
	return v, nil
}

// params puts arguments, positional and named, in the order of names. Missing
// ones are undefined.
func params(a args, k kwargs, names ...string) (args, error) {
	if len(a) > len(names) {
		return nil, fmt.Errorf("want at most %d arguments, got %d", len(names), len(a))
	}
	out := make(args, len(names))
	for i := range out {
		out[i] = jinja.Undefined()
	}
	copy(out, a)
	for name, v := range k {
		i := slices.Index(names, name)
		if i < 0 || i < len(a) {
			return nil, fmt.Errorf("unexpected argument %q", name)
		}
		out[i] = v
	}
	return out, nil
}

func textFilter(fn func(string) string) func(*session, jinja.Value, args, kwargs) (jinja.Value, error) {
	return func(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
		if _, err := params(a, k); err != nil {
			return v, err
		}
		text, err := s.str(v)
		return jinja.NewString(fn(text)), err
	}
}

func trimFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "chars")
	if err != nil {
		return v, err
	}
	text, err := s.str(v)
	if err != nil {
		return v, err
	}
	if p[0].IsUndefined() {
		p = nil
	}
	return stripMethod(true, true)(s, jinja.NewString(text), p)
}

func lengthFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	if _, err := params(a, k); err != nil {
		return v, err
	}
	if isGenerator(v) {
		return v, fmt.Errorf("want a list, got a generator: add the filter list")
	}
	items, err := s.items(v)
	return jinja.NewInt(int64(len(items))), err
}

func firstFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	var items []jinja.Value
	var err error
	if isGenerator(v) {
		items = s.take(v, 1)
	} else {
		items, err = s.items(v)
	}
	if err != nil || len(items) == 0 {
		return jinja.Undefined(), err
	}
	_, err = params(a, k)
	return items[0], err
}

func lastFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	if isGenerator(v) {
		return v, fmt.Errorf("want a list, got a generator: add the filter list")
	}
	items, err := s.items(v)
	if err != nil || len(items) == 0 {
		return jinja.Undefined(), err
	}
	_, err = params(a, k)
	return items[len(items)-1], err
}

func joinFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "d", "attribute")
	if err != nil {
		return v, err
	}
	items, err := s.items(v)
	if err != nil {
		return v, err
	}
	sep, err := s.str(p[0])
	if err != nil {
		return v, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if !p[1].IsUndefined() {
			if item, err = s.path(item, p[1]); err != nil {
				return v, err
			}
		}
		if parts[i], err = s.str(item); err != nil {
			return v, err
		}
	}
	return newString(strings.Join(parts, sep))
}

// path is jinja2's attribute of filters: "a.b" means [a][b].
func (s *session) path(v, attribute jinja.Value) (jinja.Value, error) {
	if attribute.IsInt() {
		return s.item(v, attribute)
	}
	if !attribute.IsString() {
		return v, fmt.Errorf("attribute: want str or int, got %s", typeName(attribute))
	}
	for part := range strings.SplitSeq(attribute.AsString(), ".") {
		key := jinja.NewString(part)
		if isDigits(part) {
			n, err := strconv.ParseInt(part, 10, 64)
			if err != nil {
				return v, fmt.Errorf("attribute %q: %w", part, err)
			}
			key = jinja.NewInt(n)
		}
		var err error
		if v, err = s.item(v, key); err != nil {
			return v, err
		}
	}
	return v, nil
}

func defaultFilter(_ *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "default_value", "boolean")
	if err != nil {
		return v, err
	}
	if !v.IsUndefined() && (v.IsTruthy() || !p[1].IsTruthy()) {
		return v, nil
	}
	if len(a) == 0 && p[0].IsUndefined() {
		return jinja.NewString(""), nil
	}
	return p[0], nil
}

func replaceFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "old", "new", "count")
	if err != nil {
		return v, err
	}
	text, err := s.str(v)
	if err != nil {
		return v, err
	}
	if p[2].IsUndefined() || p[2].IsNone() {
		p = p[:2]
	}
	return replace(text, p)
}

func tojsonFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return v, err
	}
	style := jsonStyle{ascii: p[0].IsTruthy(), item: ", ", key: ": ", sortKeys: p[3].IsTruthy()}
	if n, ok := asInt(p[1]); ok || p[1].IsString() {
		const widest = 64
		if n > widest {
			return v, fmt.Errorf("indent: want at most %d, got %d", widest, n)
		}
		style.multiline, style.item = true, ","
		style.indent = strings.Repeat(" ", int(max(n, 0)))
		if p[1].IsString() {
			style.indent = p[1].AsString()
		}
	} else if !p[1].IsUndefined() && !p[1].IsNone() {
		return v, fmt.Errorf("indent: want int or str, got %s", typeName(p[1]))
	}
	if !p[2].IsUndefined() && !p[2].IsNone() {
		items, err := s.items(p[2])
		if err != nil || len(items) != 2 || !items[0].IsString() || !items[1].IsString() {
			return v, fmt.Errorf("separators: want two strings")
		}
		style.item, style.key = items[0].AsString(), items[1].AsString()
	}
	return s.encode(v, style)
}

func (s *session) encode(v jinja.Value, style jsonStyle) (jinja.Value, error) {
	var b strings.Builder
	if err := s.toJSON(&b, v, style, 0); err != nil {
		return v, err
	}
	return newString(b.String())
}

func intFilter(_ *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "default")
	if err != nil {
		return v, err
	}
	if n, ok := asInt(v); ok {
		return jinja.NewInt(n), nil
	}
	f := math.NaN()
	if v.IsFloat() {
		f = v.AsFloat()
	}
	if v.IsString() {
		text := strings.TrimFunc(v.AsString(), isPySpace)
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return jinja.NewInt(n), nil
		}
		f = parseFloat(text)
	}
	if v.IsUndefined() || isBigInt(v) {
		return v, fmt.Errorf("want a number or a string, got %s", typeName(v))
	}
	if f = math.Trunc(f); math.Abs(f) < 1<<63 {
		return jinja.NewInt(int64(f)), nil
	}
	if p[0].IsUndefined() {
		return jinja.NewInt(0), nil
	}
	return p[0], nil
}

// parseFloat reads a decimal number, NaN if there is none.
func parseFloat(text string) float64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "xXpP_") {
		return math.NaN()
	}
	return f
}

func floatFilter(_ *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "default")
	if err != nil {
		return v, err
	}
	if f, ok := asFloat(v); ok {
		return jinja.NewFloat(f), nil
	}
	if v.IsUndefined() || isBigInt(v) {
		return v, fmt.Errorf("want a number or a string, got %s", typeName(v))
	}
	if v.IsString() {
		if f := parseFloat(strings.TrimFunc(v.AsString(), isPySpace)); !math.IsNaN(f) {
			return jinja.NewFloat(f), nil
		}
	}
	if p[0].IsUndefined() {
		return jinja.NewFloat(0), nil
	}
	return p[0], nil
}

func listFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	if _, err := params(a, k); err != nil {
		return v, err
	}
	items, err := s.items(v)
	return jinja.NewList(slices.Clone(items)), err
}

func itemsFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	if _, err := params(a, k); err != nil {
		return v, err
	}
	switch {
	case v.IsUndefined():
		return s.generator(nil), nil
	case v.IsDict():
		return s.generator(s.pairs(v).AsList().Items), nil
	}
	return v, fmt.Errorf("want a mapping, got %s", typeName(v))
}

func mapFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	items, err := s.items(v)
	if err != nil {
		return v, err
	}
	out := make([]jinja.Value, len(items))
	for i, item := range items {
		if attribute, ok := k["attribute"]; ok && len(a) == 0 {
			out[i], err = s.path(item, attribute)
			if fallback, ok := k["default"]; ok && err == nil && out[i].IsUndefined() {
				out[i] = fallback
			}
		} else if len(a) > 0 && a[0].IsString() && !ok {
			out[i], err = s.filter(append(args{a[0], item}, a[1:]...), k)
		} else {
			err = fmt.Errorf("want a filter's name or attribute=")
		}
		if err != nil {
			return v, err
		}
	}
	return s.generator(out), nil
}

func reverseFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	if _, err := params(a, k); err != nil {
		return v, err
	}
	if isGenerator(v) {
		return v, fmt.Errorf("want a list, got a generator: add the filter list")
	}
	items, err := s.items(v)
	if err != nil {
		return v, err
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	if !v.IsString() {
		return s.generator(items), nil
	}
	var b strings.Builder
	for _, r := range items {
		b.WriteString(r.AsString())
	}
	return jinja.NewString(b.String()), nil
}

// indentFilter is jinja2's indent(width=4, first=False, blank=False).
func indentFilter(_ *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "width", "first", "blank")
	if err != nil {
		return v, err
	}
	const usual, widest = 4, 64
	pad := strings.Repeat(" ", usual)
	if n, ok := asInt(p[0]); ok {
		pad = strings.Repeat(" ", int(min(max(n, 0), widest)))
	} else if p[0].IsString() {
		pad = p[0].AsString()
	} else if !p[0].IsUndefined() {
		return v, fmt.Errorf("width: want int or str, got %s", typeName(p[0]))
	}
	if !v.IsString() {
		return v, fmt.Errorf("want str, got %s", typeName(v))
	}
	lines := splitLines(v.AsString() + "\n")
	for i := range lines {
		if i == 0 && p[1].IsTruthy() || i > 0 && (lines[i] != "" || p[2].IsTruthy()) {
			lines[i] = pad + lines[i]
		}
	}
	return newString(strings.Join(lines, "\n"))
}

func absFilter(_ *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	if _, err := params(a, k); err != nil {
		return v, err
	}
	if n, ok := asInt(v); ok && n != math.MinInt64 {
		return jinja.NewInt(max(n, -n)), nil
	}
	if v.IsFloat() {
		return jinja.NewFloat(math.Abs(v.AsFloat())), nil
	}
	return v, fmt.Errorf("want a number, got %s", typeName(v))
}

// selectFilter keeps the items whose test, or truth, is keep; withAttr looks at
// an attribute of each.
func selectFilter(keep, withAttr bool) func(*session, jinja.Value, args, kwargs) (jinja.Value, error) {
	return func(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
		if len(k) > 0 || withAttr && len(a) == 0 {
			return v, fmt.Errorf("want positional arguments")
		}
		items, err := s.items(v)
		if err != nil {
			return v, err
		}
		var out []jinja.Value
		for _, item := range items {
			value, rest := item, a
			if withAttr {
				if value, err = s.path(item, a[0]); err != nil {
					return v, err
				}
				rest = a[1:]
			}
			ok := value.IsTruthy()
			if len(rest) > 0 {
				if ok, err = s.namedTest(rest[0], value, rest[1:]); err != nil {
					return v, err
				}
			}
			if ok == keep {
				out = append(out, item)
			}
		}
		return s.generator(out), nil
	}
}

func (s *session) namedTest(name, v jinja.Value, a args) (bool, error) {
	if !name.IsString() {
		return false, fmt.Errorf("want a test's name, got %s", typeName(name))
	}
	r, err := s.test(append(args{name, v}, a...), nil)
	return err == nil && r.AsBool(), err
}

// safeFilter marks a text as HTML; an empty one stays a string, so that it
// stays false.
func safeFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	if _, err := params(a, k); err != nil {
		return v, err
	}
	text, err := s.str(v)
	if err != nil || text == "" {
		return jinja.NewString(text), err
	}
	return jinja.NewCallable(markup+text, nil), nil
}

// sortKey is what sort and dictsort compare: letter case does not count.
func sortKey(v jinja.Value) jinja.Value {
	if v.IsString() {
		return jinja.NewString(lower(v.AsString()))
	}
	return v
}

func sortFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	p, err := params(a, k, "reverse", "case_sensitive", "attribute")
	if err != nil {
		return v, err
	}
	items, err := s.items(v)
	if err != nil {
		return v, err
	}
	keys := make([]jinja.Value, len(items))
	order := make([]int, len(items))
	for i, item := range items {
		order[i] = i
		if !p[2].IsUndefined() && !p[2].IsNone() {
			if item, err = s.path(item, p[2]); err != nil {
				return v, err
			}
		}
		if keys[i] = item; !p[1].IsTruthy() {
			keys[i] = sortKey(item)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		if p[0].IsTruthy() {
			i, j = j, i
		}
		c, e := compareOrder(keys[i], keys[j])
		err = cmp.Or(err, e)
		return c
	})
	out := make([]jinja.Value, len(items))
	for i, at := range order {
		out[i] = items[at]
	}
	return jinja.NewList(out), err
}

func dictsortFilter(s *session, v jinja.Value, a args, k kwargs) (jinja.Value, error) {
	if len(a)+len(k) > 0 || !v.IsDict() {
		return v, fmt.Errorf("want a dict and no arguments, got %s", typeName(v))
	}
	pairs := s.pairs(v).AsList().Items
	slices.SortStableFunc(pairs, func(x, y jinja.Value) int {
		return strings.Compare(lower(x.AsList().Get(0).AsString()), lower(y.AsList().Get(0).AsString()))
	})
	return jinja.NewList(pairs), nil
}
