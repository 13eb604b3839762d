package recipe

import (
	"strings"

	"github.com/BurntSushi/toml"

	"vkdomino/internal/fail"
)

const overrideHint = `write it as table.key=value, for example training.max_steps=200`

// override puts "key=value" overrides on top of the file's entries, the last one
// of a key winning. A value is TOML; what is not valid TOML, and every bare text
// given to a key of type string, is taken as the text itself.
func override(entries []entry, overrides []string) ([]entry, error) {
	for _, o := range overrides {
		e, err := parseOverride(o)
		if err != nil {
			return nil, err
		}
		entries = replaceOrAppend(entries, e)
	}
	return entries, nil
}

func replaceOrAppend(entries []entry, e entry) []entry {
	for i := range entries {
		if entries[i].name == e.name {
			entries[i] = e
			return entries
		}
	}
	return append(entries, e)
}

func parseOverride(o string) (entry, error) {
	origin := "override " + describe(o)
	if strings.ContainsAny(o, "\n\r") {
		return entry{}, fail.New(fail.Usage, overrideHint, "recipe: %s: want one line", origin)
	}
	name, value, ok := strings.Cut(o, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" {
		return entry{}, fail.New(fail.Usage, overrideHint, "recipe: %s: want key=value", origin)
	}
	e := entry{name: name, origin: origin}
	k, known := keysByName[name]
	switch {
	case isTable(name):
		return entry{}, fail.New(fail.Usage, overrideHint, "recipe: %s: %s is a table: name one of its keys", origin, name)
	case !known:
		return entry{}, unknown(e)
	}
	e.raw = overrideValue(k.kind, value)
	return e, nil
}

func overrideValue(k kind, value string) any {
	if out := scan("v = " + value); out.deepLine > 0 || len(value) > maxFileBytes {
		return value
	}
	var doc map[string]any
	if _, err := toml.Decode("v = "+value, &doc); err != nil || len(doc) != 1 {
		return value
	}
	if _, isText := doc["v"].(string); k == kindString && !isText {
		return value
	}
	return doc["v"]
}
