package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/pair"
)

// exportFlags is the command line of export.
type exportFlags struct {
	checkpoint, out string
	dtype           string
	target, data    string // "": the recipe's
	precision       string
	device          int // -1: the best one
	noCheck         bool
}

func newExportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export CHECKPOINT OUT",
		Short: "Write a checkpoint's draft in the format that SpecForge, SGLang and Model-Optimizer load",
		Long: "Write a checkpoint's draft to OUT, load it back, and decode 8 prompts greedily with the recipe's target: with\n" +
			"the checkpoint's weights rounded to --dtype and with what was read back. Tokens and acceptance lengths must be\n" +
			"equal; otherwise nothing is left at OUT and the exit code is 7. OUT is a new or empty folder, or an older\n" +
			"export, which is replaced.",
		Example: "  vkdomino export runs/demo/checkpoint-600 drafts/demo\n" +
			"  vkdomino export runs/demo/checkpoint-600 drafts/demo-f32 --dtype f32\n" +
			"  vkdomino export runs/demo/checkpoint-600 drafts/demo --target /models/Qwen3-8B --data prompts.jsonl",
		Args: argCount(2, 2, "a checkpoint and an output folder"),
		RunE: stoppable(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			f.checkpoint, f.out = args[0], args[1]
			return runExport(ctx, cmd.OutOrStdout(), f)
		}),
	}
	s := cmd.Flags()
	s.StringVar(&f.dtype, "dtype", "bf16", "dtype of the weights: bf16 or f32")
	s.StringVar(&f.target, "target", "", "folder of the target; default: the recipe's")
	s.StringVar(&f.data, "data", "", "JSONL file whose first 8 rows are decoded; default: the recipe's run.eval_data, else its training data")
	s.StringVar(&f.precision, "precision", "f32", "storage of the weights while decoding: f32, or bf16 for half the memory, without the τ of the f32 weights")
	s.IntVar(&f.device, "device", -1, "number of the device that decodes, -1 for the best one")
	s.BoolVar(&f.noCheck, "no-check", false, "write without decoding, for which neither target nor device is needed")
	return cmd
}

func runExport(ctx context.Context, w io.Writer, f exportFlags) (err error) {
	opt := trainer.ExportOptions{Target: f.target}
	if opt.DType, err = parseDType("--dtype", f.dtype); err != nil {
		return err
	}
	precision, err := parsePrecision(f.precision)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(f.checkpoint, checkpoint.ManifestFile)); err != nil {
		return fail.New(fail.Other, "give a checkpoint folder of a run, such as runs/demo/checkpoint-600", "export: want a checkpoint: %w", err)
	}
	loaded, err := checkpoint.Load(ctx, f.checkpoint)
	if err != nil {
		return err
	}
	defer loaded.Close()
	draft, err := pair.OfCheckpoint(loaded)
	if err != nil {
		return err
	}
	if err := export.CheckPlace(f.out); err != nil {
		return err
	}
	if f.noCheck {
		if _, err := trainer.ExportCheckpoint(ctx, draft, f.out, opt); err != nil {
			return err
		}
		fmt.Fprintf(w, "exported the draft of step %d: %s\nnot checked by decoding: --no-check\n", draft.Step, f.out)
		return nil
	}
	return f.checked(ctx, w, draft, opt, precision)
}

// checked exports with the check: all that it needs is there before anything is written.
func (f *exportFlags) checked(ctx context.Context, w io.Writer, draft *pair.Draft, opt trainer.ExportOptions, precision tensors.DType) (err error) {
	target, err := f.prepare(ctx, draft, &opt)
	if err != nil {
		return orNoCheck(err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	plan, err := trainer.PlanOf(func(c *ops.Context) error { return opt.Check.Load(ctx, c, target, draft, precision) })
	if err != nil {
		return orNoCheck(err)
	}
	device, err := openDevice(f.device)
	if err != nil {
		return orNoCheck(err)
	}
	defer closeDevice(device, &err)
	if err := plan.CheckOr(device.Now(), "decode with --precision bf16"); err != nil {
		return orNoCheck(err)
	}
	c, err := newContext(device)
	if err != nil {
		return err
	}
	defer c.Release()
	if err := opt.Check.Load(ctx, c, target, draft, precision); err != nil {
		return orNoCheck(err)
	}
	report, err := trainer.ExportCheckpoint(ctx, draft, f.out, opt)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "exported the draft of step %d: %s\n%s\n", draft.Step, f.out, report)
	return nil
}

// prepare opens the target and reads the prompts.
func (f *exportFlags) prepare(ctx context.Context, draft *pair.Draft, opt *trainer.ExportOptions) (*pair.Target, error) {
	r := draft.Recipe
	dir, file := r.ModelPath, r.DataPath
	if r.EvalData != "" {
		file = r.EvalData
	}
	if f.target != "" {
		dir = f.target
	}
	if f.data != "" {
		file = f.data
	}
	target, err := pair.OpenTarget(dir, r.ChatTemplate)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail.New(fail.CodeOf(err), "give the target's folder with --target", "target %s: %w", dir, err)
	}
	if err != nil {
		return nil, err
	}
	if opt.Check, err = trainer.NewExportCheck(ctx, target, draft, file); err != nil {
		return nil, errors.Join(err, target.Close())
	}
	return target, nil
}

// orNoCheck adds to the hint of what keeps the check from being made that it can be left out.
func orNoCheck(err error) error {
	if fail.CodeOf(err) == fail.Interrupted {
		return err
	}
	const without = "export with --no-check, which does not decode"
	if hint := fail.HintOf(err); hint != "" {
		return fail.New(fail.CodeOf(err), hint+"; or "+without, "export check: %w", err)
	}
	return fail.New(fail.CodeOf(err), without, "export check: %w", err)
}
