package recipe

import (
	"fmt"
	"strings"
)

// distance is the Levenshtein distance of two names in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// closest is the candidate nearest to name, or "" if none is near: at most a
// third of the name's letters differ.
func closest(name string, candidates []string) string {
	if len(name) > 2*maxShown {
		return ""
	}
	best, bestAt := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), c); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// suggestion says for an unknown key which one may be meant: the words after the
// semicolon of the message, or "".
func suggestion(name string) string {
	table, leaf := split(name)
	var elsewhere string
	var siblings, leaves []string
	byLeaf := map[string]string{}
	for _, k := range allKeys {
		t, l := split(k.name)
		switch {
		case strings.EqualFold(k.name, name):
			return fmt.Sprintf("; upper and lower case matter: write %q", k.name)
		case strings.EqualFold(l, leaf) && elsewhere == "":
			elsewhere = t
		case t == table:
			siblings = append(siblings, l)
		}
		leaves, byLeaf[l] = append(leaves, l), k.name
	}
	if elsewhere != "" {
		return fmt.Sprintf("; %s belongs in [%s]", strings.ToLower(leaf), elsewhere)
	}
	for _, s := range siblings {
		if s == "dflash_"+leaf {
			return fmt.Sprintf("; did you mean %q?", s)
		}
	}
	if s := closest(leaf, siblings); s != "" {
		return fmt.Sprintf("; did you mean %q?", s)
	}
	if s := closest(leaf, leaves); s != "" {
		return fmt.Sprintf("; did you mean %q?", byLeaf[s])
	}
	return ""
}

// tableSuggestion is suggestion for the name of a table.
func tableSuggestion(name string) string {
	for _, t := range tableNames {
		if strings.EqualFold(t, name) {
			return fmt.Sprintf("; upper and lower case matter: write [%s]", t)
		}
	}
	if t := closest(name, tableNames); t != "" {
		return fmt.Sprintf("; did you mean [%s]?", t)
	}
	for _, t := range tableNames {
		if _, leaf := split(t); leaf == name {
			return fmt.Sprintf("; did you mean [%s]?", t)
		}
	}
	return ""
}
