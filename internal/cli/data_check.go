package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
	"vkdomino/trainer/evaluate"
	"vkdomino/trainer/pair"
)

// checkFlags is the command line of data check.
type checkFlags struct {
	model, data, template, precision string
	seqLen, rows, batch, device      int
	agreement, everything, endOfTurn bool
	dtype                            tensors.DType // of precision
}

func newCheckCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check --model DIR --data FILE.jsonl",
		Short: "Count what a data set holds: rows, roles, tokens, what is cut or left out and why",
		Long: "Count rows, roles, tokens, answer tokens and lengths of a data set, and what training would cut or leave out,\n" +
			"and why. With --target-agreement the target reads every row as it stands, and the share of answer tokens is\n" +
			"shown that it would have given itself, greedily: low for answers of another model, whose draft will learn\n" +
			"what the target does not say. `vkdomino data regenerate` lets the target answer itself.",
		Example: "  vkdomino data check --model Qwen3-0.6B --data train.jsonl --seq-len 3072\n" +
			"  vkdomino data check --model Qwen3-0.6B --data train.jsonl --rows 200 --target-agreement",
		Args: argCount(0, 0, "flags alone"),
		RunE: stoppable(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if err := refuseZero(cmd, "rows"); err != nil {
				return err
			}
			return runCheck(ctx, cmd.OutOrStdout(), f)
		}),
	}
	s := cmd.Flags()
	s.StringVar(&f.model, "model", "", "the target's folder")
	s.StringVar(&f.data, "data", "", "JSONL file of conversations or texts")
	s.StringVar(&f.template, "template", "", "chat template to use instead of the target's")
	s.IntVar(&f.seqLen, "seq-len", 2048, "tokens of a row at most, as training.training_seq_len")
	s.IntVar(&f.rows, "rows", -1, "rows to read, -1 for all, as data.sample_size")
	s.BoolVar(&f.everything, "all-tokens", false, "supervise every token, as training.answer_only_loss = false")
	s.BoolVar(&f.endOfTurn, "supervise-end-of-turn", true, "supervise the token that ends an answer, as compat.supervise_end_of_turn")
	s.BoolVar(&f.agreement, "target-agreement", false, "also run the target over the rows that are used")
	s.IntVar(&f.batch, "batch", 8, "rows of a pass with --target-agreement")
	s.StringVar(&f.precision, "precision", "bf16", "storage of the target's weights with --target-agreement: bf16 or f32")
	s.IntVar(&f.device, "device", -1, "number of the device with --target-agreement, -1 for the best one")
	return cmd
}

func runCheck(ctx context.Context, w io.Writer, f checkFlags) (err error) {
	const hint = "see `vkdomino data check --help`"
	if f.model == "" || f.data == "" {
		return fail.New(fail.Usage, hint, "data check: want --model and --data")
	}
	if err := checkNumbers("data check", intFlag{"--seq-len", f.seqLen, 1}, intFlag{"--batch", f.batch, 1}, intFlag{"--rows", f.rows, -1}); err != nil {
		return err
	}
	if f.dtype, err = parsePrecision(f.precision); err != nil {
		return err
	}
	target, err := pair.OpenTarget(f.model, f.template)
	if err != nil {
		return targetHint(err, "--model", f.model)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	opt, err := target.Options()
	if err != nil {
		return err
	}
	opt.Path, opt.SeqLen, opt.SampleSize = f.data, f.seqLen, f.rows
	opt.AnswerOnly, opt.SuperviseEndOfTurn, opt.FilterConsecutive = !f.everything, f.endOfTurn, true
	progress, end := reading()
	opt.Progress = progress
	census, err := data.TakeCensus(ctx, opt)
	end()
	if err != nil {
		return err
	}
	printCensus(w, f.data, census)
	if !f.agreement {
		return nil
	}
	a, err := agreement(ctx, f, target, census.Rows)
	if err != nil {
		return cutShort(ctx, err, "the target has not read all rows")
	}
	fmt.Fprintf(w, "target agreement  %.1f %%: %d of %d answer tokens are the target's own greedy choice\n", 100*a.Share(), a.Agree, a.Tokens)
	return nil
}

// printCensus prints one line for each thing that is counted.
func printCensus(w io.Writer, path string, n *data.Census) {
	fmt.Fprintf(w, "%s\n", path)
	fmt.Fprintf(w, "rows              %d, %d of them texts without roles\n", n.Read, n.Texts)
	var roles []string
	for _, role := range slices.Sorted(maps.Keys(n.Roles)) {
		roles = append(roles, fmt.Sprintf("%s %d", role, n.Roles[role]))
	}
	if len(roles) > 0 {
		fmt.Fprintf(w, "turns             %s\n", strings.Join(roles, ", "))
	}
	fmt.Fprintf(w, "tokens            %d, %d of them supervised (%.1f %%)\n", n.Tokens, n.AnswerTokens, percent(n.AnswerTokens, n.Tokens))
	fmt.Fprintf(w, "length of a row   median %d, 90 %% within %d, 99 %% within %d, longest %d\n",
		n.Percentile(0.5), n.Percentile(0.9), n.Percentile(0.99), n.Percentile(1))
	lose := "lose their end"
	if n.Cut == 1 {
		lose = "loses its end"
	}
	fmt.Fprintf(w, "cut to %-9s  %s %s: %s, %d of them supervised\n", fmt.Sprint(n.SeqLen), plural.Of(n.Cut, "row"), lose, plural.Of(n.CutTokens, "token"), n.CutAnswers)
	fmt.Fprintf(w, "used              %s\n", plural.Of(len(n.Rows), "row"))
	fmt.Fprintf(w, "left out          %s\n", plural.Of(n.Read-len(n.Rows)-n.Unmarked, "row"))
	for _, reason := range slices.Sorted(maps.Keys(n.Counts)) {
		if n.Counts[reason] > 0 {
			fmt.Fprintf(w, "  %-6d          %s\n", n.Counts[reason], reason)
		}
	}
	if n.Unmarked > 0 {
		fmt.Fprintf(w, "not trainable     %d rows whose answers cannot be found, which training refuses: %v\n", n.Unmarked, n.UnmarkedError)
	}
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

// agreement runs the target over the rows.
func agreement(ctx context.Context, f checkFlags, target *pair.Target, rows []data.Row) (a evaluate.Agreement, err error) {
	longest := 0
	for _, r := range rows {
		longest = max(longest, len(r.IDs))
	}
	if longest > target.Config.MaxPositions {
		return a, fail.New(fail.Usage, "lower --seq-len", "data check: want rows of at most the target's max_position_embeddings %d, got %d tokens",
			target.Config.MaxPositions, longest)
	}
	device, err := openDevice(f.device)
	if err != nil {
		return a, err
	}
	defer closeDevice(device, &err)
	c, err := newContext(device)
	if err != nil {
		return a, err
	}
	defer c.Release()
	m, err := target.Load(ctx, c, max(longest, 1), f.dtype)
	if err != nil {
		return a, err
	}
	show, end := counter("reading with the target", len(rows))
	defer end()
	return evaluate.MeasureAgreement(ctx, c, m, rows, f.batch, show)
}
