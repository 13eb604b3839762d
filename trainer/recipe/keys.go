package recipe

import (
	"encoding/json"
	"strings"
)

// key is one row of the table that the decoder, Flat, FromFlat and the reference
// page share.
type key struct {
	name    string // dotted: table.key
	kind    kind
	rule    rule
	def     string // the default in words, where it is not a constant
	meaning string // what it does, one line for the reference page
	unused  string // why the key has no meaning here; empty where it has one

	in  func(*Recipe) any   // pointer to the field Parse fills
	out func(*Resolved) any // pointer to the resolved field; nil where none is kept
}

// arch is the table of the draft's geometry and head.
const arch = "dflash.dflash_architecture_config."

// tableNames are the tables a recipe may have, in the order of the reference page.
var tableNames = []string{"model", "data", "training", "dflash", "dflash.dflash_architecture_config", "compat", "run", "metadata"}

// allKeys is every key in the order of the reference page.
var allKeys = joinKeys(modelKeys, dataKeys, trainingKeys, optimizerKeys, cadenceKeys, carriedKeys, dflashKeys, lossKeys,
	geometryKeys, headKeys, compatKeys, runKeys, metadataKeys)

var keysByName = indexKeys(allKeys)

func joinKeys(groups ...[]key) []key {
	var all []key
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func indexKeys(all []key) map[string]key {
	m := make(map[string]key, len(all))
	for _, k := range all {
		m[k.name] = k
	}
	return m
}

// split cuts a dotted key into its table and its own name.
func split(name string) (table, leaf string) {
	i := strings.LastIndexByte(name, '.')
	return name[:max(i, 0)], name[i+1:]
}

// assign stores a converted value through the pointer that key.in gives.
func assign(ptr, v any) {
	switch p := ptr.(type) {
	case *bool:
		*p = v.(bool)
	case *int:
		*p = v.(int)
	case *uint64:
		*p = v.(uint64)
	case *float64:
		*p = v.(float64)
	case *string:
		*p = v.(string)
	case *[]int:
		*p = v.([]int)
	case *map[string]any:
		*p = v.(map[string]any)
	}
}

// copySame copies between two fields of the same type, or of a table to its JSON.
func copySame(to, from any) {
	switch p := to.(type) {
	case *bool:
		*p = *from.(*bool)
	case *int:
		*p = *from.(*int)
	case *uint64:
		*p = *from.(*uint64)
	case *float64:
		*p = *from.(*float64)
	case *string:
		*p = *from.(*string)
	case *[]int:
		*p = append([]int(nil), *from.(*[]int)...)
	case *json.RawMessage:
		*p = objectJSON(*from.(*map[string]any))
	}
}

// hint is the line that says what to change about a refused value: special if
// there is such advice, else the rule's own, else the range and the meaning.
func (k key) hint(special string) string {
	if special != "" {
		return special
	}
	if k.rule.hint != "" {
		return k.rule.hint
	}
	_, leaf := split(k.name)
	return "set " + leaf + " to " + k.rule.want + " (" + k.meaning + ")"
}
