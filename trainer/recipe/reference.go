package recipe

import (
	"fmt"
	"strings"
)

// KeyDoc describes one key of a recipe.
type KeyDoc struct {
	Table, Name string
	Type        string // bool, int, float, string, list of int, table
	Default     string
	Allowed     string // the range, in words
	Meaning     string
}

// Keys describes every key that a recipe may have, table by table.
func Keys() []KeyDoc {
	r := defaults()
	r.fillProfile()
	docs := make([]KeyDoc, 0, len(allKeys))
	for _, k := range allKeys {
		d := KeyDoc{Type: kindNames[k.kind], Default: k.def, Allowed: k.rule.want, Meaning: k.meaning}
		d.Table, d.Name = split(k.name)
		if d.Default == "" {
			d.Default = spellDefault(k, r)
		}
		docs = append(docs, d)
	}
	return docs
}

func spellDefault(k key, r *Recipe) string {
	if k.kind == kindDevice {
		return "auto"
	}
	return spell(k.in(r))
}

var tableIntro = map[string]string{
	"model":                             "The frozen target.",
	"data":                              "What the draft is trained on.",
	"training":                          "Lengths, optimizer, schedule and cadence.",
	"dflash":                            "Blocks, anchors and losses. Keys of another method, or of PyTorch, are accepted and ignored.",
	"dflash.dflash_architecture_config": "The draft's geometry and head. What is left out is the target's.",
	"compat":                            "Switches that only vkdomino has: how closely to follow one of the reference implementations, and two extensions.",
	"run":                               "How to run, and the evaluation while training. A resumed run may change all of it but the precision.",
	"metadata":                          "A note about the recipe.",
}

// Markdown is docs/recipe.md: every key with its type, default, range and meaning.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Recipe reference

A recipe is a TOML file. Its tables and keys are those of Model-Optimizer's recipe, so that the two files can be read side by side;
` + "`[compat]` and `[run]`" + ` are vkdomino's own. A key that is not in this list, a value of the wrong type or out of range, or
a combination that cannot be trained, is refused with exit code 2 before any weight is read.

Any key can be changed on the command line: ` + "`vkdomino train configs/demo.toml training.max_steps=200 run.precision=f32`" + `.
Such a value is TOML; text needs no quotes there. Relative paths are relative to the working directory.

A default that names a profile is the one that ` + "`compat.profile`" + ` sets; the key itself, where given, wins.

This page is written by ` + "`go test ./trainer/recipe -run TestReferencePage -update`" + `.
`)
	table := ""
	for _, d := range Keys() {
		if d.Table != table {
			table = d.Table
			fmt.Fprintf(&b, "\n## [%s]\n\n%s\n\n| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n", table, tableIntro[table])
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", d.Name, d.Type, cell(d.Default), cell(d.Allowed), cell(d.Meaning))
	}
	return b.String()
}

// cell keeps a text from ending its table cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
