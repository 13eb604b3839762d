package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/ops"
	"vkdomino/trainer"
	"vkdomino/trainer/evaluate"
	"vkdomino/trainer/pair"
)

// runDigits of the digest that identifies a run stand in each row of its output.
const runDigits = 16

// regenerateFlags is the command line of data regenerate.
type regenerateFlags struct {
	target, data, out, template, precision string
	filter                                 ops.Filter
	maxNew, batch, rows, device            int
	seed                                   uint64
}

func newRegenerateCommand() *cobra.Command {
	var f regenerateFlags
	cmd := &cobra.Command{
		Use:   "regenerate --target DIR --data IN.jsonl --out OUT.jsonl",
		Short: "Let the target answer the prompts of a data set itself",
		Long: "Write OUT with a row for each row of IN: the turns before its first answer, and the target's own answer to\n" +
			"them. A draft learns what its target says from such data best. Other keys of a row stay; `regenerated` says\n" +
			"where its answer comes from. A run that was stopped or killed goes on where OUT ends, with the same bytes as\n" +
			"one that was not, whatever --batch is; an OUT of another input, target or settings is refused.",
		Example: "  vkdomino data regenerate --target Qwen3-0.6B --data prompts.jsonl --out train.jsonl --max-new-tokens 2048\n" +
			"  vkdomino data regenerate --target Qwen3-0.6B --data prompts.jsonl --out train.jsonl --temperature 0.7 --top-p 0.8 --top-k 20",
		Args: argCount(0, 0, "flags alone"),
		RunE: stoppable(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if err := refuseZero(cmd, "rows"); err != nil {
				return err
			}
			return runRegenerate(ctx, cmd.OutOrStdout(), f)
		}),
	}
	s := cmd.Flags()
	s.StringVar(&f.target, "target", "", "the target's folder")
	s.StringVar(&f.data, "data", "", "JSONL file of conversations")
	s.StringVar(&f.out, "out", "", "JSONL file to write or to go on with")
	s.StringVar(&f.template, "template", "", "chat template to use instead of the target's")
	s.IntVar(&f.rows, "rows", -1, "rows of --data, -1 for all")
	s.IntVar(&f.maxNew, "max-new-tokens", 512, "length of an answer")
	s.Float64Var(&f.filter.Temperature, "temperature", 0, "sample at this temperature; 0: the most probable token")
	s.Float64Var(&f.filter.TopP, "top-p", 1, "sample from the most probable tokens that sum to this share")
	s.IntVar(&f.filter.TopK, "top-k", 0, "sample from that many most probable tokens; 0: all")
	s.Uint64Var(&f.seed, "seed", 42, "seed of the samples")
	s.IntVar(&f.batch, "batch", 8, "prompts decoded at a time")
	s.StringVar(&f.precision, "precision", "bf16", "storage of weights and activations: bf16 or f32")
	s.IntVar(&f.device, "device", -1, "number of the device, -1 for the best one")
	return cmd
}

func (f *regenerateFlags) check() error {
	const hint = "see `vkdomino data regenerate --help`"
	if f.target == "" || f.data == "" || f.out == "" {
		return fail.New(fail.Usage, hint, "data regenerate: want --target, --data and --out")
	}
	err := checkNumbers("data regenerate", intFlag{"--max-new-tokens", f.maxNew, 1}, intFlag{"--batch", f.batch, 1}, intFlag{"--rows", f.rows, -1})
	if err == nil {
		err = checkAppendedFile("--out", f.out)
	}
	if err != nil {
		return err
	}
	return checkSampling(f.filter)
}

func runRegenerate(ctx context.Context, w io.Writer, f regenerateFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	dtype, err := parsePrecision(f.precision)
	if err != nil {
		return err
	}
	target, err := pair.OpenTarget(f.target, f.template)
	if err != nil {
		return targetHint(err, "--target", f.target)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	r, survey, err := f.prepare(ctx, target)
	if err != nil {
		return err
	}
	device, err := openDevice(f.device)
	if err != nil {
		return err
	}
	defer closeDevice(device, &err)
	build := func(c *ops.Context) (*domino.Decoder, error) {
		return pair.NewDecoder(ctx, c, target, nil, domino.DecoderConfig{Slots: min(f.batch, survey.Rows), Context: survey.Longest + f.maxNew}, dtype)
	}
	plan, err := trainer.PlanOf(func(c *ops.Context) error { _, err := build(c); return err })
	if err != nil {
		return err
	}
	if err := plan.CheckOr(device.Now(), "lower --batch or --max-new-tokens"); err != nil {
		return err
	}
	c, err := newContext(device)
	if err != nil {
		return err
	}
	defer c.Release()
	if r.Decoder, err = build(c); err != nil {
		return err
	}
	show, end := counter("answering", survey.Rows)
	r.Progress = show
	done, err := evaluate.Regenerate(ctx, r)
	end()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %s, %d of them from before; %s, %.1f a second; %s ended at %s\n",
		f.out, plural.Of(done.Rows, "row"), done.Resumed, plural.Of(done.Tokens, "token"), float64(done.Tokens)/max(done.Seconds, 1e-9),
		plural.Of(done.Cut, "answer"), plural.Of(f.maxNew, "token"))
	return nil
}

// prepare reads the whole input once, before the device is opened.
func (f *regenerateFlags) prepare(ctx context.Context, target *pair.Target) (r evaluate.Regeneration, s evaluate.Survey, err error) {
	opt, err := target.Options()
	if err != nil {
		return r, s, err
	}
	progress, end := reading()
	defer end()
	opt.Path, opt.Progress = f.data, progress
	if s, err = evaluate.SurveyPrompts(ctx, opt, f.rows); err != nil {
		return r, s, err
	}
	opt.Progress = nil // the second reading has a counter of its own
	if most := target.Config.MaxPositions; f.maxNew > most-s.Longest {
		return r, s, fail.New(fail.Usage, "take the row out, or lower --max-new-tokens",
			"data regenerate: %s:%d: want at most the target's max_position_embeddings, %d tokens, of prompt and answer, got %d and %d", f.data, s.Line, most, s.Longest, f.maxNew)
	}
	r = evaluate.Regeneration{Data: opt, Rows: f.rows, Out: f.out, Batch: f.batch, Options: domino.DecodeOptions{MaxNewTokens: f.maxNew,
		StopTokens: target.Stops,
		Sampling:   f.filter, Seed: f.seed}}
	r.Run, err = f.identity(target, s, r.Options.StopTokens)
	return r, s, err
}

// identity is a digest of all that the answers depend on, but for the device.
func (f *regenerateFlags) identity(target *pair.Target, s evaluate.Survey, stops []int32) (string, error) {
	fingerprint, err := trainer.Fingerprint(f.target, target.Config, target.Weights)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal([]any{fingerprint, target.Tokenizer.SHA256(), s.SHA256, s.Prompts, stops, f.maxNew, f.filter.Temperature, f.filter.TopP, f.filter.TopK, f.seed, f.precision})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:runDigits], nil
}
