package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vkdomino/configs"
	"vkdomino/internal/fail"
	"vkdomino/testdata/demo"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/metrics"
	"vkdomino/trainer/recipe"
)

const demoDir = "runs/demo-command"

func newDemoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Train a small draft from nothing in a few minutes, without a GPU or a download",
		Long: "Train a Domino draft for a tiny Qwen3 target that the program carries with it, with the recipe of\n" +
			"configs/demo.toml, in the folder " + demoDir + ". It begins anew each time and sets an older run aside.",
		Example: "  vkdomino demo",
		Args:    argCount(0, 0, "no arguments"),
		RunE: stoppable(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			outliveReader()
			return runDemo(ctx)
		}),
	}
}

func runDemo(ctx context.Context) error {
	if err := setDemoAside(); err != nil {
		return err
	}
	input := filepath.Join(demoDir, "input")
	if err := unpack(input, demo.FS); err != nil {
		return err
	}
	text, err := configs.Read("demo.toml")
	if err != nil {
		return err
	}
	r, notices, err := recipe.Parse("demo.toml", text, []string{
		"training.output_dir=" + demoDir,
		"model.model_name_or_path=" + filepath.Join(input, "target"),
		"data.data_path=" + filepath.Join(input, "train.jsonl"),
		"run.eval_data=" + filepath.Join(input, "eval.jsonl"),
	})
	if err != nil {
		return err
	}
	if err := train(ctx, r, notices, trainFlags{}); err != nil {
		if fail.CodeOf(err) == fail.Interrupted {
			return fail.New(fail.Interrupted, "the demo begins anew; a run of your own, such as that of configs/demo.toml, goes on", "%w", err)
		}
		return err
	}
	if err := demoSummary(); err != nil {
		return err
	}
	if err := demoDecoding(ctx, r.Training.MaxSteps); err != nil {
		return err
	}
	demoNext(r.Training.MaxSteps)
	return nil
}

func setDemoAside() error {
	release, err := checkpoint.Lock(demoDir)
	if err != nil {
		return err
	}
	defer release()
	aside, err := checkpoint.SetAside(demoDir)
	if aside != "" {
		fmt.Printf("set the old demo aside: %s\n", aside)
	}
	return err
}

// unpack writes embedded files to a folder.
func unpack(dir string, files fs.FS) error {
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, path)
		if d.IsDir() {
			return diskError(os.MkdirAll(to, 0o755))
		}
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return diskError(os.WriteFile(to, b, 0o644))
	})
}

// diskError gives an error of writing the demo's files its exit code.
func diskError(err error) error {
	if err == nil {
		return nil
	}
	return fail.New(fail.Disk, "free some space, or run the demo in a folder that can be written", "demo: %w", err)
}

// demoSummary says how well the draft was trained.
func demoSummary() error {
	rows, err := metrics.ReadRows(filepath.Join(demoDir, "metrics.jsonl"))
	if err != nil {
		return err
	}
	tail := rows[max(0, len(rows)-50):]
	mean := func(name string) float64 {
		sum := 0.0
		for _, r := range tail {
			v, _ := r.Value(name)
			sum += v
		}
		return sum / float64(len(tail))
	}
	fmt.Printf("\nmean of the last %d steps        with the head   backbone alone\n", len(tail))
	fmt.Printf("  loss                            %10.3f     %12.3f\n", mean(metrics.FinalLoss), mean(metrics.BaseLoss))
	fmt.Printf("  accuracy                        %10.3f     %12.3f\n", mean(metrics.Accuracy), mean(metrics.BaseAccuracy))
	return nil
}

// demoBatch is the number of prompts that the demo decodes at a time: all of them.
const demoBatch = 48

// demoDecoding decodes the demo's held-out prompts with the checkpoint's draft and shows what
// its users would get.
func demoDecoding(ctx context.Context, steps int) error {
	result, err := measure(ctx, evalFlags{draft: checkpoint.Dir(demoDir, steps), prompts: -1, batch: demoBatch, device: -1, quick: true})
	if err != nil {
		return cutShort(ctx, err, "the draft is trained, but its prompts are not decoded")
	}
	d := result.Drafts[0]
	fmt.Printf("\n%d new prompts decoded, %d drafted tokens a cycle\n%-28s %6s %18s %9s %9s\n", result.Prompts, d.DraftTokens,
		"", "tau", "target calls/token", "speed-up", "lossless")
	for _, v := range waysOf(result, d) {
		fmt.Printf("  %-26s %6.2f %18.2f %8.2fx %9s\n", v.name, v.m.Tau, v.m.CallsPerToken, v.m.CallSpeedUp, losslessText(v.m.Lossless))
	}
	fmt.Printf("tau: tokens that a call of the target gives, mean over prompts; speed-up: in calls of the target\n")
	if !result.Lossless() {
		return fail.New(fail.Gate, "run `vkdomino selftest`", "demo: want every answer to be the target's own")
	}
	return nil
}

// demoNext says what was made and what to do next.
func demoNext(steps int) {
	fmt.Printf("\nwhat it made\n  %-40s loss and accuracy by step\n  %-40s one line a step\n  %-40s for TensorBoard\n  %-40s the newest checkpoint\n  %-40s the draft, as SpecForge and SGLang load it\n",
		demoDir+"/curves.png", demoDir+"/metrics.jsonl", demoDir+"/tensorboard", checkpoint.Dir(demoDir, steps), demoDir+"/export")
	fmt.Printf("\nnext\n  %-40s does your GPU hold the real thing?\n  %-40s the same as a run of your own: stop it, start it again\n",
		os.Args[0]+" doctor configs/qwen3-8b.toml", os.Args[0]+" train configs/demo.toml") // the program as it was called
}
