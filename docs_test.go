package main

import (
	"go/ast"
	"go/parser"
	"go/token"
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
