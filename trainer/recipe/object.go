package recipe

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// objectJSON writes a table of the recipe as JSON with sorted keys. A TOML float
// keeps its point (48.0, not 48): some loaders tell the two apart.
func objectJSON(m map[string]any) json.RawMessage { return appendJSON(nil, m) }

func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		return append(b, formatFloat(v)...)
	case string:
		text, _ := json.Marshal(v) // a string always marshals
		return append(b, text...)
	case []any:
		return appendList(b, v)
	case []map[string]any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = e
		}
		return appendList(b, list)
	case map[string]any:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(appendJSON(b, name), ": "...)
			b = appendJSON(b, v[name])
		}
		return append(b, '}')
	}
	return b
}

func appendList(b []byte, list []any) []byte {
	b = append(b, '[')
	for i, e := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendJSON(b, e)
	}
	return append(b, ']')
}
