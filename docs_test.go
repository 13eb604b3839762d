package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExitCodesAreDocumented compares docs/exit-codes.md with the constants of internal/fail.
func TestExitCodesAreDocumented(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "internal/fail/fail.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	inCode := map[string]bool{"0": true}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, v := range spec.Values {
			if literal, ok := v.(*ast.BasicLit); ok && literal.Kind == token.INT {
				inCode[literal.Value] = true
			}
		}
		return false
	})
	inDocs := map[string]bool{}
	for code := range pairs(t, "docs/exit-codes.md", `(?m)^\| (\d+) \| ([^|]+) \|`) {
		inDocs[code] = true
	}
	require.Equal(t, inCode, inDocs)
}

var (
	specHeading = regexp.MustCompile(`(?m)^#{2,3} (\d+(?:\.(?:\d+|[A-Z]))?)\b`)
	specCase    = regexp.MustCompile(`(?m)^\| (C\d[^|]*) \|`)
	citation    = regexp.MustCompile(`§(\d+(?:\.(?:\d+|[A-Z]))?)`)
	caseNumber  = regexp.MustCompile(`\bC\d+b?\b`)
	otherDoc    = regexp.MustCompile(`\b\w+\.md §`)
)

// specSections lists the numbered sections of docs/spec.md and the cases of its §19.A.
func specSections(t *testing.T) (sections, cases map[string]bool) {
	t.Helper()
	text, err := os.ReadFile("docs/spec.md")
	require.NoError(t, err)
	sections, cases = map[string]bool{}, map[string]bool{}
	for _, m := range specHeading.FindAllStringSubmatch(string(text), -1) {
		require.False(t, sections[m[1]], "docs/spec.md has section %s twice", m[1])
		sections[m[1]] = true
	}
	for _, m := range specCase.FindAllStringSubmatch(string(text), -1) {
		for _, name := range strings.Split(m[1], ", ") {
			cases[name] = true
		}
	}
	return sections, cases
}

// TestCitedSectionsExist holds comments to docs/spec.md: a section number in one is a heading
// there, and a case number beside §19.A a line of its table.
func TestCitedSectionsExist(t *testing.T) {
	sections, cases := specSections(t)
	found := 0
	eachFile(t, func(path string, text []byte) {
		for i, line := range strings.Split(string(text), "\n") {
			for _, m := range otherDoc.FindAllString(line, -1) {
				if m != "spec.md §" {
					t.Errorf("%s:%d: cites a section of another document: %q", path, i+1, m)
				}
			}
			for _, m := range citation.FindAllStringSubmatch(line, -1) {
				found++
				if !sections[m[1]] {
					t.Errorf("%s:%d: docs/spec.md has no section %s", path, i+1, m[1])
				}
			}
			if !strings.Contains(line, "§19.A") {
				continue
			}
			for _, name := range caseNumber.FindAllString(line, -1) {
				if !cases[name] {
					t.Errorf("%s:%d: docs/spec.md has no case %s", path, i+1, name)
				}
			}
		}
	}, ".go", ".comp", ".glsl")
	require.Greater(t, found, 100)
}
