package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"vkdomino/trainer"
	"vkdomino/trainer/recipe"
	"vkdomino/vk"
)

func newTrainCommand() *cobra.Command {
	var fresh, profile bool
	cmd := &cobra.Command{
		Use:   "train RECIPE [key=value…]",
		Short: "Train a draft from a TOML recipe, or go on with a run",
		Long: "Train a draft from a TOML recipe. The run goes on by itself from the newest valid checkpoint in\n" +
			"training.output_dir; at the end the draft is exported to output_dir/export. Keys are overridden by\n" +
			"dotted names, such as training.max_steps=200. Ctrl-C writes a checkpoint, once there is a step, and\n" +
			"exits with code 130.",
		Example: "  vkdomino train configs/demo.toml\n  vkdomino train configs/qwen3-8b.toml training.max_steps=2000 run.device=0\n  vkdomino train configs/demo.toml --fresh",
		Args:    argCount(1, -1, "a recipe"),
		RunE: stoppable(func(ctx context.Context, _ *cobra.Command, args []string) error {
			outliveReader() // the run's record is in its folder
			r, notices, err := recipe.Load(args[0], args[1:])
			if err != nil {
				return err
			}
			return train(ctx, r, notices, trainFlags{fresh, profile})
		}),
	}
	cmd.Flags().BoolVar(&fresh, "fresh", false, "set an old run in output_dir aside and begin anew")
	cmd.Flags().BoolVar(&profile, "profile", false, "time every kernel by itself (slow), and print where the time goes")
	return cmd
}

type trainFlags struct{ fresh, profile bool }

// train runs a recipe that has been read.
func train(ctx context.Context, r *recipe.Recipe, notices []recipe.Notice, flags trainFlags) (err error) {
	progress, end := reading()
	session, err := trainer.Prepare(ctx, r, progress)
	end()
	if err != nil {
		return err
	}
	defer session.Close()
	printNotices(os.Stdout, append(notices, session.Notices...))
	fmt.Println(session.Data.Summary())
	device, err := openDevice(session.Recipe.Device)
	if err != nil {
		return err
	}
	defer closeDevice(device, &err)
	if flags.profile {
		device.Profile()
		defer func() { printProfile(device) }()
	}
	c, err := newContext(device)
	if err != nil {
		return err
	}
	fmt.Printf("device %d: %s, %s\n", device.Index, device.Name, device.Tier())
	defer warnTuning(c)
	return trainer.Train(ctx, session, trainer.Options{Fresh: flags.fresh, Out: os.Stdout, Context: c})
}

func printProfile(d *vk.Device) {
	fmt.Printf("%-48s %10s %12s %12s %12s\n", "kernel", "runs", "wall", "processor", "wall each")
	for _, s := range d.Samples() {
		fmt.Printf("%-48s %10d %12s %12s %12s\n", s.Name, s.Count, s.Total.Round(time.Millisecond), s.CPU.Round(time.Millisecond),
			(s.Total / time.Duration(s.Count)).Round(time.Microsecond))
	}
}

func printNotices(w io.Writer, list []recipe.Notice) {
	for _, n := range list {
		level := "notice"
		if n.Warning {
			level = "warning"
		}
		fmt.Fprintf(w, "%s: %s\n", level, n)
	}
}
