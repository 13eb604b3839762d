// Command testreport reads `go test -json` and prints a line for each package, the output of
// what failed, and at the end every test that was skipped, with its reason, and their number.
// It exits with 1 where a test or a build failed, and where there was nothing to read.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json` and, for builds, `go help buildjson`.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

func main() {
	ok, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// report says whether every package passed.
func report(in io.Reader, out io.Writer) (bool, error) {
	text := map[[2]string]*strings.Builder{} // by package and test
	var skipped []string
	packages, ok := 0, true
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(out, "%s", line) // not of a test: what the go command itself says
				ok = false
				continue
			}
			key := [2]string{e.Package, e.Test}
			if text[key] == nil {
				text[key] = &strings.Builder{}
			}
			switch e.Action {
			case "output":
				text[key].WriteString(e.Output)
			case "build-output":
				fmt.Fprint(out, e.Output)
			case "build-fail":
				ok = false
			case "fail":
				ok = false
				fmt.Fprint(out, text[key])
			case "skip":
				if e.Test != "" {
					skipped = append(skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(text[key].String())))
				}
			}
			if e.Test == "" && (e.Action == "pass" || e.Action == "fail") {
				packages++
				fmt.Fprintf(out, "%s\t%s\t%.1fs\n", e.Action, e.Package, e.Elapsed)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	fmt.Fprintf(out, "%d tests skipped\n", len(skipped))
	for _, s := range skipped {
		fmt.Fprintln(out, "  "+s)
	}
	return ok && packages > 0, nil
}

// reason is what a skipped test said.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}
