package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/bench"
	"vkdomino/vk"
)

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the device, the kernels and the training step",
		Long: "Measure the device, the kernels and the training step, with seeded random weights and features.\n" +
			"Times are medians of several runs; docs/benchmarks.md says what each figure and JSON field means.",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchPeakCommand(), newBenchGemmCommand(), newBenchOpCommand(), newBenchStepCommand(), newBenchOnlineCommand(), newBenchKernelsCommand())
	return cmd
}

// benchFlags are the flags of every benchmark.
type benchFlags struct {
	device, runs    int
	json, precision string
}

func (f *benchFlags) add(cmd *cobra.Command, runs int) {
	f.addDevice(cmd)
	cmd.Flags().IntVar(&f.runs, "runs", runs, "timed runs of each figure")
}

// addDevice adds the flags of benchmarks that time nothing.
func (f *benchFlags) addDevice(cmd *cobra.Command) {
	f.runs = 1
	cmd.Flags().IntVar(&f.device, "device", -1, "the device's number; -1 is the best one")
	cmd.Flags().StringVar(&f.precision, "precision", "bf16", "of weights and activations: bf16 or f32")
	cmd.Flags().StringVar(&f.json, "json", "", "write the figures to this file as well")
}

// measure calls do with a context on the device.
func (f *benchFlags) measure(cmd *cobra.Command, do func(c *ops.Context, dtype tensors.DType, out io.Writer) error) error {
	return f.withDevice(cmd, func(d *vk.Device, dtype tensors.DType, out io.Writer) error {
		c, err := newContext(d)
		if err != nil {
			return err
		}
		printBenchDevice(out, d)
		return do(c, dtype, out)
	})
}

// withDevice opens the device and calls do.
func (f *benchFlags) withDevice(cmd *cobra.Command, do func(d *vk.Device, dtype tensors.DType, out io.Writer) error) (err error) {
	dtype, err := parsePrecision(f.precision)
	if err != nil {
		return err
	}
	if f.runs < 1 {
		return fail.New(fail.Usage, helpHint(cmd), "--runs: want 1 or more, got %d", f.runs)
	}
	if err := checkOutputFile("--json", f.json); err != nil {
		return err
	}
	device, err := openDevice(f.device)
	if err != nil {
		return err
	}
	defer closeDevice(device, &err)
	return do(device, dtype, cmd.OutOrStdout())
}

// show writes a report to the file of --json and prints it. The file comes first: printing ends the program where its reader
// has gone, and a file that cannot be written is no reason not to print. Benchmarks that take long show what they have so far.
func (f *benchFlags) show(report any, print func()) error {
	err := f.write(report)
	print()
	return err
}

// write writes a report to the file of --json, if there is one.
func (f *benchFlags) write(report any) error {
	if f.json == "" {
		return nil
	}
	text, err := json.MarshalIndent(struct {
		Command string `json:"command"`
		Report  any    `json:"report"`
	}{strings.Join(os.Args[1:], " "), report}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(f.json, append(text, '\n'), 0o644)
}

// presetRun is what the flags of a command that measures a preset ask for.
type presetRun struct {
	c      *ops.Context
	preset bench.Preset
	dtype  tensors.DType
	runs   int
	out    io.Writer
	flags  *benchFlags
}

// presetCommand completes a command that measures the step of a preset.
func presetCommand(cmd *cobra.Command, runs int, do func(presetRun) error) *cobra.Command {
	var f benchFlags
	var s stepFlags
	cmd.Args = argCount(0, 0, "flags alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := s.preset(cmd)
		if err != nil {
			return err
		}
		return f.measure(cmd, func(c *ops.Context, dtype tensors.DType, out io.Writer) error {
			return do(presetRun{c, p, dtype, f.runs, out, &f})
		})
	}
	f.add(cmd, runs)
	s.add(cmd)
	return cmd
}

func newBenchStepCommand() *cobra.Command {
	return presetCommand(&cobra.Command{
		Use:   "step",
		Short: "The Domino training step with random weights and features",
		Long: "The Domino training step without the target's forward pass: draft forward, loss, backward, clipping, AdamW.\n" +
			"Presets: " + strings.Join(bench.Names(), ", ") + ".",
		Example: "  vkdomino bench step --preset toy\n  vkdomino bench step --preset specforge --json step.json\n  vkdomino bench step --preset toy --anchors 64",
	}, 20, func(r presetRun) error {
		return r.step(false)
	})
}

// stepFlags choose a preset and change its sizes.
type stepFlags struct {
	name                          string
	batch, anchors, length, vocab int
	optimizer                     bool
}

func (s *stepFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.name, "preset", "toy", "shapes: "+strings.Join(bench.Names(), ", "))
	cmd.Flags().IntVar(&s.batch, "batch", 0, "samples, instead of the preset's")
	cmd.Flags().IntVar(&s.anchors, "anchors", 0, "blocks of a sample, instead of the preset's")
	cmd.Flags().IntVar(&s.length, "length", 0, "tokens of a sample, instead of the preset's")
	cmd.Flags().IntVar(&s.vocab, "vocab", 0, "size of the vocabulary, instead of the preset's")
	cmd.Flags().BoolVar(&s.optimizer, "optimizer", true, "with masters, moments and the update; preset specforge: without")
}

// preset is the preset with the flags applied.
func (s *stepFlags) preset(cmd *cobra.Command) (bench.Preset, error) {
	p, err := bench.Find(s.name)
	if err != nil {
		return p, err
	}
	for _, o := range []struct {
		flag string
		set  func()
	}{
		{"batch", func() { p.Batch = s.batch }}, {"anchors", func() { p.Anchors = s.anchors }}, {"length", func() { p.SeqLen = s.length }},
		{"vocab", func() { p.SetVocab(s.vocab) }}, {"optimizer", func() { p.Optimizer = s.optimizer }},
	} {
		if cmd.Flags().Changed(o.flag) {
			o.set()
		}
	}
	return p, p.Check()
}

// slowStep is a step that is shown by itself when it has run, so that something is there before all have.
const slowStep = 2 * time.Second

// step says what the step will take, measures it, and prints the report: the kernels' table last, which takes a step more.
func (r presetRun) step(target bool) error {
	m, err := bench.PlanStep(r.preset, r.dtype, target, r.c.Device.MaxBindingBytes)
	if err != nil {
		return err
	}
	printMemory(r.out, m)
	if err := checkBenchMemory(m, r.c.Device); err != nil {
		return err
	}
	report, err := bench.Step(r.c, r.preset, bench.StepOptions{Precision: r.dtype, Runs: r.runs, Table: true, Target: target,
		Ran: func(n int, took time.Duration) {
			if took >= slowStep {
				fmt.Fprintf(r.out, "step %d took %.2f s\n", n, took.Seconds())
			}
		},
		Timed: func(report *bench.StepReport) error {
			return r.flags.show(report, func() { printStep(r.out, report) })
		}})
	if err != nil {
		return err
	}
	return r.flags.show(report, func() { printKernels(r.out, report) })
}

// checkBenchMemory refuses what the device cannot hold.
func checkBenchMemory(m bench.Memory, d *vk.Device) error {
	return m.Plan.CheckOr(d.Now(), "lower --batch, --anchors or --length, or take a smaller preset")
}

func newBenchPeakCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:     "peak",
		Short:   "What the device does at best: arithmetic, bandwidth, cost of a command",
		Long:    "What the device does at best: multiplications and additions on registers alone, copies, and what a dispatch,\na barrier and a submission cost.",
		Example: "  vkdomino bench peak --json peak.json",
		Args:    argCount(0, 0, "flags alone"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.measure(cmd, func(c *ops.Context, _ tensors.DType, out io.Writer) error {
				r, err := bench.Peak(c, f.runs)
				if err != nil {
					return err
				}
				return f.show(r, func() { printPeak(out, r) })
			})
		},
	}
	f.add(cmd, 10)
	return cmd
}

func newBenchOpCommand() *cobra.Command {
	return presetCommand(&cobra.Command{
		Use:     "op",
		Short:   "Every op at the shapes of a preset",
		Long:    "Every op at the shapes that a preset's training step, or decoding, has: time, TFLOP/s or GB/s, and how much of the\ndevice's own peak that is.",
		Example: "  vkdomino bench op\n  vkdomino bench op --preset qwen3-8b --batch 1 --json op.json",
	}, 5, func(r presetRun) error {
		report, err := bench.Op(r.c, r.preset, r.dtype, r.runs)
		if err != nil {
			return err
		}
		return r.flags.show(report, func() { printOps(r.out, report) })
	})
}

func newBenchOnlineCommand() *cobra.Command {
	return presetCommand(&cobra.Command{
		Use:   "online",
		Short: "The training step with the target's forward pass",
		Long: "The training step as `vkdomino train` runs it: the target's forward pass through the last layer that the draft\n" +
			"captures, then the draft's step. Presets: " + strings.Join(bench.Names(), ", ") + ".",
		Example: "  vkdomino bench online --preset toy\n  vkdomino bench online --preset qwen3-8b --json online.json",
	}, 10, func(r presetRun) error {
		return r.step(true)
	})
}

func newBenchGemmCommand() *cobra.Command {
	var f benchFlags
	var set string
	cmd := &cobra.Command{
		Use:     "gemm",
		Short:   "Matrix products NT, NN and TN over tables of shapes",
		Long:    "Matrix products in the three layouts of training: NT (forward), NN (gradient of the input), TN (gradient of the\nweight, f32, added to what is there). Sets of shapes: " + strings.Join(bench.GemmSets(), ", ") + ".",
		Example: "  vkdomino bench gemm\n  vkdomino bench gemm --shapes qwen3-8b --json gemm.json\n  vkdomino bench gemm --shapes 512x512x512,256x4096x256",
		Args:    argCount(0, 0, "flags alone"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.measure(cmd, func(c *ops.Context, dtype tensors.DType, out io.Writer) error {
				shapes, err := bench.GemmShapes(set, c.Device.CPU)
				if err != nil {
					return err
				}
				plan, err := bench.PlanGemm(shapes, dtype)
				if err != nil {
					return err
				}
				if err := plan.CheckOr(c.Device.Now(), "take smaller --shapes"); err != nil {
					return err
				}
				_, err = bench.Gemm(c, shapes, dtype, f.runs, func(r *bench.GemmReport) error {
					return f.show(r, func() { printGemm(out, r) })
				})
				return err
			})
		},
	}
	f.add(cmd, 10)
	cmd.Flags().StringVar(&set, "shapes", "auto", "a set of shapes, or MxNxK[,MxNxK…]; auto is toy on a CPU and qwen3-8b on a GPU")
	return cmd
}
