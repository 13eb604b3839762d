// Command testreport runs the `go test -json` that its arguments are, and prints a line for each
// package, the output of what failed, and at the end every test that was skipped, with its reason,
// and their number. It exits with 1 where a test, a build or the command failed, where a package
// did not come to its end, and where there was nothing to read.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json` and, for builds, `go help buildjson`.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

func main() {
	ok, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// run runs a command and reports on what it prints; it is an error if the command fails.
func run(command []string, out io.Writer) (bool, error) {
	if len(command) == 0 {
		return false, errors.New("want the words of a `go test -json` command, got none")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ok, err := report(in, out)
	if failed := cmd.Wait(); failed != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w", strings.Join(command, " "), failed))
	}
	return ok, err
}

// tests is what is known of a stream of events.
type tests struct {
	out      io.Writer
	text     map[[2]string]*strings.Builder // by package and test
	begun    map[string]bool                // packages that have not come to their end
	packages int                            // that have
	skipped  []string
	failed   bool
}

// report says whether every package passed.
func report(in io.Reader, out io.Writer) (bool, error) {
	t := &tests{out: out, text: map[[2]string]*strings.Builder{}, begun: map[string]bool{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			t.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	fmt.Fprintf(out, "%d tests skipped\n", len(t.skipped))
	for _, s := range t.skipped {
		fmt.Fprintln(out, "  "+s)
	}
	for _, name := range slices.Sorted(maps.Keys(t.begun)) {
		fmt.Fprintf(out, "unfinished\t%s\n", name)
	}
	return !t.failed && len(t.begun) == 0 && t.packages > 0, nil
}

// line takes in a line of the stream.
func (t *tests) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(t.out, "%s", line) // not of a test: what the go command itself says
		t.failed = true
		return
	}
	key := [2]string{e.Package, e.Test}
	if t.text[key] == nil {
		t.text[key] = &strings.Builder{}
	}
	switch e.Action {
	case "output":
		t.text[key].WriteString(e.Output)
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "build-fail":
		t.failed = true
	case "start":
		t.begun[e.Package] = true
	case "fail":
		t.failed = true
		fmt.Fprint(t.out, t.text[key])
	case "skip":
		if e.Test != "" {
			t.skipped = append(t.skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(t.text[key].String())))
		}
	}
	if e.Test == "" && slices.Contains([]string{"pass", "fail", "skip"}, e.Action) {
		t.end(e)
	}
}

// end takes in the end of a package, which says skip where there are no tests.
func (t *tests) end(e event) {
	delete(t.begun, e.Package)
	if e.Action != "skip" {
		t.packages++
		fmt.Fprintf(t.out, "%s\t%s\t%.1fs\n", e.Action, e.Package, e.Elapsed)
	}
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
