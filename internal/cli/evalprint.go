package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/plural"
	"vkdomino/trainer/evaluate"
)

// writeEval writes the files that were asked for, and prints the tables or the JSON. Files come first: printing ends the
// program where its reader has gone, and a file that cannot be written is no reason not to print.
func writeEval(out io.Writer, f evalFlags, r *evaluate.Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	err = writeEvalFiles(f, r, text)
	if f.json != "-" {
		printEval(out, r)
		return err
	}
	_, printing := out.Write(text)
	return errors.Join(err, printing)
}

func writeEvalFiles(f evalFlags, r *evaluate.Result, text []byte) (err error) {
	if f.html != "" {
		err = atomicfile.Write(f.html, 0o644, func(w io.Writer) error { return writePage(w, r) })
	}
	if f.json != "" && f.json != "-" {
		err = errors.Join(err, atomicfile.WriteFile(f.json, text, 0o644))
	}
	return err
}

// printEval prints what was measured, a table for each kind of number.
func printEval(w io.Writer, r *evaluate.Result) {
	fmt.Fprintf(w, "target %s, %s\ndata   %s: %s, %s, greedy, %d at a time, on %s\n",
		r.Target, r.Precision, r.Data, plural.Of(r.Prompts, "prompt"), plural.Of(r.MaxNewTokens, "new token"), r.Batch, r.Device)
	for _, d := range r.Drafts {
		fmt.Fprintf(w, "\ndraft  %s%s: %s, block size %d, %s\n\n", d.Path, stepText(d.Step), d.Kind, d.BlockSize, plural.Of(d.DraftTokens, "drafted token"))
		ways := waysOf(r, d)
		printWays(w, ways)
		printShares(w, "cycles by acceptance length, %", ways, 1, func(m *evaluate.Measure) []float64 { return shares(m.Histogram) })
		printShares(w, "accepted by draft position, %", ways, 1, func(m *evaluate.Measure) []float64 { return m.Accepted })
		p := d.Parts
		fmt.Fprintf(w, "\na cycle's parts (%s): draft %.2f ms, head %.2f ms, verify %.2f ms\n", plural.Of(p.Prompts, "prompt"), p.Draft, p.Head, p.Verify)
	}
}

func stepText(step int) string {
	if step < 0 {
		return ""
	}
	return fmt.Sprintf(" (step %d)", step)
}

// way is one way of decoding, as a row of the tables.
type way struct {
	name string
	m    *evaluate.Measure
}

func waysOf(r *evaluate.Result, d evaluate.Draft) []way {
	if d.HeadOff == nil {
		return []way{{"with the draft", &d.Full}, {"no draft", &r.NoDraft}}
	}
	return []way{{"with the head", &d.Full}, {"head off", d.HeadOff}, {"no draft", &r.NoDraft}}
}

func printWays(w io.Writer, ways []way) {
	fmt.Fprintf(w, "%-15s %6s  %-15s %12s %10s %10s %10s  %s\n", "", "tau", "95 % interval", "calls/token", "call gain", "ms/cycle", "wall gain", "lossless")
	for _, v := range ways {
		m := v.m
		fmt.Fprintf(w, "%-15s %6.3f  %6.3f – %6.3f %12.3f %9.2fx %10.2f %9.2fx  %s\n", v.name, m.Tau, m.Low, m.High, m.CallsPerToken,
			m.CallSpeedUp, m.CycleMillis, m.WallSpeedUp, losslessText(m.Lossless))
	}
}

func losslessText(l evaluate.Lossless) string {
	if l.OK() {
		return fmt.Sprintf("%d of %d", l.Equal, l.Of)
	}
	return fmt.Sprintf("%d of %d: prompt %d differs at token %d", l.Equal, l.Of, *l.Prompt+1, *l.Position+1)
}

// shares is counts over their sum.
func shares(counts []int) []float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	out := make([]float64, len(counts))
	for i, n := range counts {
		out[i] = float64(n) / float64(max(sum, 1))
	}
	return out
}

// printShares prints a row of percentages for each way that drafts; the first column is
// numbered from.
func printShares(w io.Writer, title string, ways []way, from int, of func(*evaluate.Measure) []float64) {
	fmt.Fprintf(w, "\n%s\n%-15s", title, "")
	for i := range of(ways[0].m) {
		fmt.Fprintf(w, " %5d", from+i)
	}
	fmt.Fprintln(w)
	for _, v := range ways[:len(ways)-1] {
		var row strings.Builder
		for _, x := range of(v.m) {
			fmt.Fprintf(&row, " %5.1f", 100*x)
		}
		fmt.Fprintf(w, "%-15s%s\n", v.name, row.String())
	}
}
