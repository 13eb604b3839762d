package recipe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/BurntSushi/toml"

	"vkdomino/internal/fail"
)

// entry is one value that the file or an override gave.
type entry struct {
	name   string // dotted key
	raw    any    // as the TOML library gives it
	origin string // for messages
}

// Load reads the recipe file at path, puts the overrides ("training.max_steps=200")
// on top, and checks all that can be checked without the target. Errors have
// exit code fail.Usage and a hint. Source: spec.md §15.
func Load(path string, overrides []string) (*Recipe, []Notice, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	return Parse(path, text, overrides)
}

func readFile(path string) ([]byte, error) {
	const hint = "give the path of a TOML recipe, such as configs/demo.toml"
	f, err := os.Open(path)
	if err != nil {
		return nil, fail.New(fail.Usage, hint, "recipe: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fail.New(fail.Usage, hint, "recipe: %s: want a file, got something else", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fail.New(fail.Usage, hint, "recipe: %w", err)
	}
	return text, nil
}

// Parse is Load for a recipe that is already in memory, such as an embedded one;
// name stands for the file in messages.
func Parse(name string, text []byte, overrides []string) (*Recipe, []Notice, error) {
	entries, err := readEntries(name, text)
	if err != nil {
		return nil, nil, err
	}
	entries, err = override(entries, overrides)
	if err != nil {
		return nil, nil, err
	}
	r := defaults()
	r.Name, r.Set, r.origin = name, map[string]bool{}, map[string]string{}
	var foreign []string // metadata keys without a meaning
	for _, e := range entries {
		if _, known := keysByName[e.name]; !known {
			foreign = append(foreign, e.name)
			continue
		}
		if err := r.set(e); err != nil {
			return nil, nil, err
		}
	}
	r.fillProfile()
	if err := r.check(); err != nil {
		return nil, nil, err
	}
	return r, r.notices(foreign), nil
}

// set converts, checks and stores one value.
func (r *Recipe) set(e entry) error {
	k := keysByName[e.name]
	r.origin[e.name] = e.origin
	v, want := convert(k.kind, e.raw, k.rule.want)
	if want != "" {
		return r.bad(e.name, k.hint(typeHint(k.kind, e.raw)), "want %s, got %s", want, describe(e.raw))
	}
	if k.rule.ok != nil && !k.rule.ok(v) {
		return r.bad(e.name, k.hint(""), "want %s, got %s", k.rule.want, describe(e.raw))
	}
	assign(k.in(r), v)
	r.Set[e.name] = true
	return nil
}

// readEntries parses the text and gives its known keys in file order; keys of
// [metadata] pass unchecked, any other unknown key is an error.
func readEntries(name string, text []byte) ([]entry, error) {
	if len(text) > maxFileBytes {
		return nil, fail.New(fail.Usage, "a recipe is a short text file: is this the right file?",
			"recipe: %s: want at most %d bytes, got more", name, maxFileBytes)
	}
	out := scan(string(text))
	if out.deepLine > 0 {
		return nil, fail.New(fail.Usage, "a recipe's tables are two levels deep",
			"recipe: %s:%d: nested deeper than %d levels", name, out.deepLine, maxDepth)
	}
	var root map[string]any
	md, err := toml.Decode(string(text), &root)
	if err != nil {
		return nil, syntaxError(name, err)
	}
	var entries []entry
	for _, path := range md.Keys() {
		dotted := strings.Join(path, ".")
		origin := name
		if n := out.line(dotted); n > 0 {
			origin = fmt.Sprintf("%s:%d", name, n)
		}
		e := entry{name: dotted, raw: lookup(root, path), origin: origin}
		use, err := classify(e, path)
		if err != nil {
			return nil, err
		}
		if use {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// classify says whether a key of the file is a value to set (true), a table or a
// part of another value (false), or unknown.
func classify(e entry, path []string) (bool, error) {
	if _, known := keysByName[e.name]; known && !dotInside(path) {
		return true, nil
	}
	if isTable(e.name) {
		if _, ok := e.raw.(map[string]any); !ok {
			return false, fail.New(fail.Usage, fmt.Sprintf("write the line [%s] and put its keys below it", e.name),
				"recipe: %s: %s: want a table, got %s", e.origin, e.name, describe(e.raw))
		}
		return false, nil
	}
	if path[0] == "metadata" {
		return len(path) == 2, nil
	}
	for i := 1; i < len(path); i++ {
		if _, ok := keysByName[strings.Join(path[:i], ".")]; ok {
			return false, nil // a part of that key's value, which set judges as a whole
		}
	}
	if dotInside(path) {
		return false, fail.New(fail.Usage, "a dot inside quotes is part of the name: write the key without quotes",
			"recipe: %s: %q: unknown key", e.origin, shorten(e.name))
	}
	return false, unknown(e)
}

// dotInside reports whether a part of the path holds a dot, so that joining it
// may look like another key.
func dotInside(path []string) bool {
	for _, p := range path {
		if strings.Contains(p, ".") {
			return true
		}
	}
	return false
}

func isTable(name string) bool {
	for _, t := range tableNames {
		if t == name {
			return true
		}
	}
	return false
}

func unknown(e entry) error {
	name := showKey(e.name)
	switch e.raw.(type) {
	case map[string]any, []map[string]any:
		return fail.New(fail.Usage, "the tables of a recipe are "+quoteAll(tableNames),
			"recipe: %s: %s: unknown table%s", e.origin, name, tableSuggestion(e.name))
	}
	return fail.New(fail.Usage, docsHint, "recipe: %s: %s: unknown key%s", e.origin, name, suggestion(e.name))
}

// lookup follows a path of keys through parsed TOML; nil where it leads through
// a list of tables.
func lookup(root map[string]any, path []string) any {
	var v any = root
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// syntaxError rewords an error of the TOML library with file and line.
func syntaxError(name string, err error) error {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return fail.New(fail.Usage, docsHint, "recipe: %s: %w", name, err)
	}
	if strings.HasSuffix(pe.Message, "has already been defined.") {
		twice := strings.Trim(strings.TrimSuffix(strings.TrimPrefix(pe.Message, "Key "), " has already been defined."), "'")
		return fail.New(fail.Usage, "keep one of the two", "recipe: %s:%d: %s: given twice", name, pe.Position.Line, shorten(twice))
	}
	return fail.New(fail.Usage, `a line is "key = value"; text stands in quotes; true, false and numbers do not`,
		"recipe: %s:%d: not valid TOML: %s", name, pe.Position.Line, strings.ReplaceAll(pe.Message, "\n", " "))
}
