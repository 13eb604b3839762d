package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThirdPartyIsComplete compares THIRD_PARTY.md with go.mod and with the modules
// that the packages and their tests are linked with.
func TestThirdPartyIsComplete(t *testing.T) {
	listed := pairs(t, "THIRD_PARTY.md", `(?m)^\| (\S+) \| (v\d\S*) \| \S[^|]* \| [^|]+ \|$`)
	required := pairs(t, "go.mod", `(?m)^\t(\S+) (v\d\S*)`)
	for module, version := range listed {
		require.Equal(t, required[module], version, "%s: THIRD_PARTY.md and go.mod differ", module)
	}
	out, err := exec.Command("go", "list", "-deps", "-test", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./...").Output()
	require.NoError(t, err)
	linked := strings.Fields(string(out))
	require.NotEmpty(t, linked)
	for _, module := range linked {
		require.Contains(t, listed, module, "THIRD_PARTY.md lacks a module that is linked")
	}
}

// pairs reads a file's matches of pattern: first group to second.
func pairs(t *testing.T, path, pattern string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	found := map[string]string{}
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		found[match[1]] = match[2]
	}
	require.NotEmpty(t, found)
	return found
}
