package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vkdomino/trainer"
	"vkdomino/trainer/recipe"
)

func newTrainCommand() *cobra.Command {
	var fresh bool
	cmd := &cobra.Command{
		Use:   "train RECIPE [key=value…]",
		Short: "Train a draft from a TOML recipe, or go on with a run",
		Long: "Train a draft from a TOML recipe. The run goes on by itself from the newest valid checkpoint in\n" +
			"training.output_dir; at the end the draft is exported to output_dir/export. Keys are overridden by\n" +
			"dotted names, such as training.max_steps=200. Ctrl-C writes a checkpoint and exits with code 130.",
		Example: "  vkdomino train configs/demo.toml\n  vkdomino train configs/qwen3-8b.toml training.max_steps=2000 run.device=0\n  vkdomino train configs/demo.toml --fresh",
		Args:    argCount(1, -1, "a recipe"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, notices, err := recipe.Load(args[0], args[1:])
			if err != nil {
				return err
			}
			return train(cmd.Context(), r, notices, fresh)
		},
	}
	cmd.Flags().BoolVar(&fresh, "fresh", false, "set an old run in output_dir aside and begin anew")
	return cmd
}

// train runs a recipe that has been read.
func train(ctx context.Context, r *recipe.Recipe, notices []recipe.Notice, fresh bool) (err error) {
	session, err := trainer.Prepare(r)
	if err != nil {
		return err
	}
	defer session.Close()
	printNotices(append(notices, session.Notices...))
	fmt.Println(session.Data.Summary())
	device, err := openDevice(session.Recipe.Device)
	if err != nil {
		return err
	}
	defer closeDevice(device, &err)
	fmt.Printf("device %d: %s, %s\n", device.Index, device.Name, device.Tier())
	return trainer.Train(ctx, session, trainer.Options{Fresh: fresh, Out: os.Stdout, Device: device})
}

func printNotices(list []recipe.Notice) {
	for _, n := range list {
		level := "notice"
		if n.Warning {
			level = "warning"
		}
		fmt.Printf("%s: %s\n", level, n)
	}
}
