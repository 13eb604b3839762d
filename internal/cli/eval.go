package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/trainer/evaluate"
	"vkdomino/trainer/pair"
	"vkdomino/trainer/recipe"
	"vkdomino/vk"
)

// evalFlags is the command line of eval; 0 and "" stand for what recipe or draft say.
type evalFlags struct {
	target, draft, against, data, template string
	prompts, maxNew, draftTokens, batch    int
	precision                              string
	device                                 int
	json, html                             string
	quick                                  bool // without Parts and warming up, which only times need
}

func newEvalCommand() *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use:   "eval --draft DIR [--target DIR] [--data FILE.jsonl]",
		Short: "Measure a draft: acceptance length, target calls, times, and whether it is lossless",
		Long: "Decode the prompts of FILE greedily with target and draft, with the draft's head, with the head off and\n" +
			"with the target alone. A prompt is all messages before the first answer. DIR of --draft is an export or a\n" +
			"checkpoint of a run; a checkpoint brings target, data, precision and lengths of its recipe, which flags\n" +
			"override. An answer that is not the target's own ends with exit code 7.",
		Example: "  vkdomino eval --draft runs/demo/checkpoint-600 --prompts -1\n" +
			"  vkdomino eval --target Qwen3-8B --draft my-draft --against other-draft --data eval.jsonl --html eval.html",
		Args: argCount(0, 0, "flags alone"),
		RunE: stoppable(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if err := refuseZero(cmd, "prompts", "max-new-tokens", "draft-tokens"); err != nil {
				return err
			}
			return runEval(ctx, cmd.OutOrStdout(), f)
		}),
	}
	s := cmd.Flags()
	s.StringVar(&f.target, "target", "", "the target's folder; default: the checkpoint's recipe")
	s.StringVar(&f.draft, "draft", "", "the draft: an export or a checkpoint")
	s.StringVar(&f.against, "against", "", "a second draft to show beside it")
	s.StringVar(&f.data, "data", "", "JSONL file of conversations; default: run.eval_data of the checkpoint's recipe")
	s.StringVar(&f.template, "template", "", "chat template to use instead of the target's")
	s.IntVar(&f.prompts, "prompts", 0, "prompts to decode, -1 for all; default: the checkpoint's recipe, or all")
	s.IntVar(&f.maxNew, "max-new-tokens", 0, "length of an answer; default: the checkpoint's recipe, or 64")
	s.IntVar(&f.draftTokens, "draft-tokens", 0, "K, tokens drafted in a cycle; default: what the draft says, or its block size - 1")
	s.StringVar(&f.precision, "precision", "", "storage of weights and activations, bf16 or f32; default: the checkpoint's recipe, or bf16")
	s.IntVar(&f.device, "device", -1, "number of the device, -1 for the best one")
	s.IntVar(&f.batch, "batch", 1, "prompts decoded at a time: the times are of such passes")
	s.StringVar(&f.json, "json", "", "write the result as JSON to this file, - for standard output")
	s.StringVar(&f.html, "html", "", "write the result as one HTML page to this file")
	return cmd
}

func runEval(ctx context.Context, w io.Writer, f evalFlags) error {
	result, err := measure(ctx, f)
	if err != nil {
		return cutShort(ctx, err, "no result was written")
	}
	if err := writeEval(w, f, result); err != nil {
		return err
	}
	if !result.Lossless() {
		return fail.New(fail.Gate, "report it with the JSON file", "eval: want every answer to be the target's own; see the lossless column")
	}
	return nil
}

// measure opens what the flags name and a device, and decodes.
func measure(ctx context.Context, f evalFlags) (result *evaluate.Result, err error) {
	e, err := openEvaluation(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	device, err := openDevice(e.flags.device)
	if err != nil {
		return nil, err
	}
	defer closeDevice(device, &err)
	return e.run(ctx, device)
}

// evaluation is what eval has opened.
type evaluation struct {
	flags   evalFlags // with their defaults filled in
	target  *pair.Target
	drafts  []*pair.Draft
	prompts [][]int32
}

// openEvaluation reads and checks everything that needs no device.
func openEvaluation(ctx context.Context, f evalFlags) (*evaluation, error) {
	if f.draft == "" {
		return nil, fail.New(fail.Usage, "see `vkdomino eval --help`", "eval: want --draft, got none")
	}
	e := &evaluation{flags: f}
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func (e *evaluation) open(ctx context.Context) error {
	for _, path := range []string{e.flags.draft, e.flags.against} {
		if path == "" {
			continue
		}
		s, err := pair.OpenDraft(ctx, path)
		if err != nil {
			return err
		}
		e.drafts = append(e.drafts, s)
	}
	e.flags.inherit(e.drafts[0].Recipe)
	if err := e.flags.check(); err != nil {
		return err
	}
	var err error
	if e.target, err = pair.OpenTarget(e.flags.target, e.flags.template); err != nil {
		return targetHint(err, "--target", e.flags.target)
	}
	if most := e.target.Config.MaxPositions; e.flags.maxNew > most {
		return fail.New(fail.Usage, "lower --max-new-tokens", "eval: --max-new-tokens: want at most the target's max_position_embeddings %d, got %d", most, e.flags.maxNew)
	}
	for _, s := range e.drafts {
		if err := s.Check(e.target); err != nil {
			return err
		}
	}
	progress, end := reading()
	defer end()
	e.prompts, err = e.target.Prompts(ctx, e.flags.data, e.flags.prompts, progress)
	return err
}

func (e *evaluation) close() error {
	var errs []error
	for _, s := range e.drafts {
		errs = append(errs, s.Close())
	}
	if e.target != nil {
		errs = append(errs, e.target.Close())
	}
	return errors.Join(errs...)
}

// inherit fills what the command line leaves open: from a checkpoint's recipe, else the defaults.
func (f *evalFlags) inherit(r *recipe.Resolved) {
	if r == nil {
		r = &recipe.Resolved{EvalPrompts: -1, EvalMaxNewTokens: 64, Precision: "bf16", Device: -1}
	}
	for _, v := range []struct {
		to   *string
		from string
	}{{&f.target, r.ModelPath}, {&f.template, r.ChatTemplate}, {&f.data, r.EvalData}, {&f.precision, r.Precision}} {
		if *v.to == "" {
			*v.to = v.from
		}
	}
	for _, v := range []struct {
		to   *int
		from int
	}{{&f.prompts, r.EvalPrompts}, {&f.maxNew, r.EvalMaxNewTokens}} {
		if *v.to == 0 {
			*v.to = v.from
		}
	}
}

func (f *evalFlags) check() error {
	const hint = "see `vkdomino eval --help`"
	switch {
	case f.target == "" || f.data == "":
		return fail.New(fail.Usage, hint, "eval: want --target and --data, which only a checkpoint's recipe replaces")
	case f.json != "" && f.json == f.html:
		return fail.New(fail.Usage, hint, "eval: want two files for --json and --html, got %s for both", f.json)
	}
	if err := checkNumbers("eval", intFlag{"--prompts", f.prompts, -1}, intFlag{"--max-new-tokens", f.maxNew, 1}, intFlag{"--batch", f.batch, 1}); err != nil {
		return err
	}
	if f.draftTokens != 0 { // else what the draft says
		if err := checkNumbers("eval", intFlag{"--draft-tokens", f.draftTokens, 1}); err != nil {
			return err
		}
	}
	if f.json != "-" {
		if err := checkOutputFile("--json", f.json); err != nil {
			return err
		}
	}
	if err := checkOutputFile("--html", f.html); err != nil {
		return err
	}
	_, err := parsePrecision(f.precision)
	return err
}

// run decodes with every draft and with the target alone.
func (e *evaluation) run(ctx context.Context, device *vk.Device) (*evaluate.Result, error) {
	c, err := newContext(device)
	if err != nil {
		return nil, err
	}
	f := e.flags
	defer c.Release()
	opt := evaluate.Options{MaxNewTokens: f.maxNew, Batch: f.batch, Stops: e.target.Stops}
	result := &evaluate.Result{FormatVersion: evaluate.FormatVersion, Target: f.target, Data: f.data, Device: device.Name, Precision: f.precision,
		Prompts: len(e.prompts), MaxNewTokens: f.maxNew, Batch: min(f.batch, len(e.prompts)), Resamples: evaluate.DefaultResamples}
	fmt.Fprintf(os.Stderr, "decoding %s on %s\n", plural.Of(len(e.prompts), "prompt"), device.Name)
	target, err := e.loadTarget(ctx, c)
	if err != nil {
		return nil, err
	}
	var alone *domino.Decoding
	for _, s := range e.drafts {
		d, err := e.decoder(ctx, c, target, s, opt)
		if err != nil {
			return nil, err
		}
		if !f.quick {
			if err := evaluate.WarmUp(ctx, d, e.prompts, opt); err != nil {
				return nil, err
			}
		}
		if alone == nil {
			if alone, err = evaluate.Alone(ctx, d, e.prompts, opt); err != nil {
				return nil, err
			}
			result.NoDraft = evaluate.NewMeasure(alone, alone, 0, result.Resamples)
		}
		draft, err := evaluate.Compare(ctx, d, s.Config, e.prompts, alone, opt)
		if err != nil {
			return nil, err
		}
		if !f.quick {
			if draft.Parts, err = evaluate.TimeParts(ctx, d, e.prompts, opt); err != nil {
				return nil, err
			}
		}
		draft.Path, draft.Step = s.Path, s.Step
		result.Drafts = append(result.Drafts, draft)
	}
	return result, nil
}

// loadTarget uploads the target, with RoPE tables for the longest block of any draft.
func (e *evaluation) loadTarget(ctx context.Context, c *ops.Context) (*model.Target, error) {
	dtype, err := parsePrecision(e.flags.precision)
	if err != nil {
		return nil, err
	}
	block := 0
	for _, s := range e.drafts {
		block = max(block, s.Config.BlockSize)
	}
	return e.target.Load(ctx, c, evaluate.Positions(e.prompts, e.flags.maxNew, block), dtype)
}

func (e *evaluation) decoder(ctx context.Context, c *ops.Context, target *model.Target, s *pair.Draft, opt evaluate.Options) (*domino.Decoder, error) {
	dtype, err := parsePrecision(e.flags.precision)
	if err != nil {
		return nil, err
	}
	draft, err := s.Load(ctx, c, dtype)
	if err != nil {
		return nil, err
	}
	k := e.flags.draftTokens
	if k == 0 {
		k = s.DraftTokens
	}
	return evaluate.Prepare(c, target, draft, e.prompts, k, opt)
}
