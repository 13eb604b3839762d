package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReport(t *testing.T) {
	const skip = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: no headers\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1}
`
	const fail = `{"Action":"output","Package":"q","Test":"TestB","Output":"want 1, got 2\n"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"fail","Package":"q","Elapsed":2}
`
	for name, c := range map[string]struct {
		in   string
		ok   bool
		want []string
	}{
		"skipped": {skip, true, []string{"1 tests skipped", "p TestA: a_test.go:3: no headers", "pass\tp\t1.0s"}},
		"failed":  {skip + fail, false, []string{"want 1, got 2", "fail\tq\t2.0s"}},
		"build":   {skip + `{"ImportPath":"r","Action":"build-output","Output":"r.go:1: broken\n"}` + "\n" + `{"ImportPath":"r","Action":"build-fail"}`, false, []string{"r.go:1: broken"}},
		"go":      {"go: no such module\n", false, []string{"go: no such module"}},
		"cut":     {skip + `{"Action":"start","Package":"r"}` + "\n" + `{"Action":"run","Package":"r","Test":"TestC"}`, false, []string{"pass\tp\t1.0s", "unfinished\tr"}},
		"torn":    {skip + `{"Action":"pa`, false, []string{`{"Action":"pa`}},
		"empty":   {skip + `{"Action":"start","Package":"e"}` + "\n" + `{"Action":"skip","Package":"e"}`, true, []string{"1 tests skipped"}},
		"nothing": {"", false, []string{"0 tests skipped"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			ok, err := report(strings.NewReader(c.in), &out)
			require.NoError(t, err)
			require.Equal(t, c.ok, ok)
			for _, want := range c.want {
				require.Contains(t, out.String(), want)
			}
		})
	}
}

// TestRun: the command's own end counts, also where all that it printed is fine.
func TestRun(t *testing.T) {
	const passed = `echo '{"Action":"start","Package":"p"}'; echo '{"Action":"pass","Package":"p","Elapsed":1}'`
	for name, c := range map[string]struct {
		command []string
		err     string
	}{
		"passed":     {[]string{"sh", "-c", passed}, ""},
		"failed":     {[]string{"sh", "-c", passed + "; exit 3"}, "exit status 3"},
		"killed":     {[]string{"sh", "-c", passed + "; kill -9 $$"}, "signal: killed"},
		"no program": {[]string{"no-such-program"}, "no-such-program"},
		"no words":   {nil, "want the words of a `go test -json` command, got none"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			ok, err := run(c.command, &out)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.True(t, ok)
			require.Contains(t, out.String(), "pass\tp\t1.0s")
		})
	}
}
