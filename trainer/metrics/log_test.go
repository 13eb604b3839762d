package metrics

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

func stepRow(step int, loss float64) Row {
	var r Row
	r.SetInt(Step, int64(step))
	r.SetFloat(Loss, loss)
	return r
}

// runSteps writes the rows [from, to) through a Log of its own, as one process does.
func runSteps(t *testing.T, dir string, from, to int) {
	t.Helper()
	l, err := OpenLog(dir, from, true)
	require.NoError(t, err)
	for step := from; step < to; step++ {
		require.NoError(t, l.Write(stepRow(step, float64(step)/8)))
	}
	require.NoError(t, l.Close())
}

func lines(from, to int) string {
	var b strings.Builder
	for step := from; step < to; step++ {
		loss := fmt.Sprint(float64(step) / 8)
		if !strings.Contains(loss, ".") {
			loss += ".0"
		}
		fmt.Fprintf(&b, "{\"step\":%d,\"loss\":%s}\n", step, loss)
	}
	return b.String()
}

func TestOpenLogCuts(t *testing.T) {
	cases := []struct {
		name, before string
		fromStep     int
		want         string
	}{
		{"no file", "", 0, ""},
		{"goes on where it ended", lines(0, 5), 5, lines(0, 5)},
		{"rows beyond the checkpoint", lines(0, 9), 4, lines(0, 4)},
		{"begins anew", lines(0, 9), 0, ""},
		{"torn last line", lines(0, 5) + `{"step":5,"lo`, 9, lines(0, 5)},
		{"whole last line without newline", lines(0, 5) + `{"step":5,"loss":1.0}`, 9, lines(0, 5)},
		{"zeros after a power loss", lines(0, 5) + "\x00\x00\n\x00\x00\n", 9, lines(0, 5)},
		{"torn behind rows to cut", lines(0, 7) + `{"st`, 5, lines(0, 5)},
		{"broken behind rows to cut", lines(0, 7) + "junk\n" + lines(8, 9), 5, lines(0, 5)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "metrics.jsonl")
			if c.before != "" {
				require.NoError(t, os.WriteFile(path, []byte(c.before), 0o644))
			}
			l, err := OpenLog(dir, c.fromStep, true)
			require.NoError(t, err)
			require.NoError(t, l.Write(stepRow(c.fromStep, 1)))
			require.NoError(t, l.Close())
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, c.want+fmt.Sprintf("{\"step\":%d,\"loss\":1.0}\n", c.fromStep), string(got))
			left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestBrokenRowsAreErrors(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"junk", lines(0, 2) + "junk\n" + lines(3, 4), "line 3"},
		{"no step", lines(0, 2) + "{\"loss\":1.0}\n" + lines(3, 4), "line 3: step: want an integer >= 0"},
		{"step falls", lines(0, 3) + lines(1, 5), "line 4: step: want > 2, got 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "metrics.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o644))
			for _, open := range []func() error{
				func() error { _, err := OpenLog(dir, 100, true); return err },
				func() error { _, err := ReadRows(path); return err },
			} {
				err := open()
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, path)
				require.Equal(t, fail.Other, fail.CodeOf(err))
				require.NotEmpty(t, fail.HintOf(err))
			}
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, c.text, string(after), "a refused file stays as it was")
		})
	}
}

func TestReadRowsWhileARunWrites(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenLog(dir, 0, true)
	require.NoError(t, err)
	defer l.Close()
	for step := range 3 {
		require.NoError(t, l.Write(stepRow(step, math.NaN())))
		rows, err := ReadRows(filepath.Join(dir, "metrics.jsonl"))
		require.NoError(t, err)
		require.Len(t, rows, step+1, "each row is there as soon as Write returns")
	}
	_, err = ReadRows(filepath.Join(dir, "other.jsonl"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestWriteRefusesStepsThatDoNotRise(t *testing.T) {
	l, err := OpenLog(t.TempDir(), 2, true)
	require.NoError(t, err)
	defer l.Close()
	var none Row
	none.SetFloat(Loss, 1)
	require.ErrorContains(t, l.Write(none), "want >= 2")
	require.ErrorContains(t, l.Write(stepRow(1, 1)), "want >= 2")
	require.NoError(t, l.Write(stepRow(2, 1)))
	require.ErrorContains(t, l.Write(stepRow(2, 1)), "want >= 3")
	_, err = OpenLog(t.TempDir(), -1, true)
	require.ErrorContains(t, err, "want >= 0, got -1")
}

func TestWritingTroubleIsADiskError(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err := OpenLog(filepath.Join(file, "run"), 0, true)
	require.Equal(t, fail.Disk, fail.CodeOf(err))

	l, err := OpenLog(dir, 0, true)
	require.NoError(t, err)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	rows := l.rows
	l.rows = full
	err = l.Write(stepRow(0, 1))
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	require.NotEmpty(t, fail.HintOf(err))
	l.rows = rows
	require.NoError(t, l.Close())
}

func TestNoEventsWhereTheRecipeWantsNone(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenLog(dir, 0, false)
	require.NoError(t, err)
	var r Row
	r.SetInt(Step, 0)
	require.NoError(t, l.Write(r))
	require.NoError(t, l.Close())
	require.NoDirExists(t, filepath.Join(dir, tensorBoardDir))
	rows, err := ReadRows(filepath.Join(dir, jsonlName))
	require.NoError(t, err)
	require.Len(t, rows, 1)
}
