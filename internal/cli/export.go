package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
	"vkdomino/tensors"
	"vkdomino/trainer"
	"vkdomino/trainer/checkpoint"
)

func newExportCommand() *cobra.Command {
	var dtype string
	cmd := &cobra.Command{
		Use:     "export CHECKPOINT OUT",
		Short:   "Write a checkpoint's draft in the format that SpecForge, SGLang and Model-Optimizer load",
		Example: "  vkdomino export runs/demo/checkpoint-600 drafts/demo\n  vkdomino export runs/demo/checkpoint-600 drafts/demo-f32 --dtype f32",
		Args:    argCount(2, 2, "a checkpoint and an output folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dt, ok := map[string]tensors.DType{"bf16": tensors.BF16, "f32": tensors.F32}[dtype]
			if !ok {
				return fail.New(fail.Usage, "see `vkdomino export --help`", "--dtype: want bf16 or f32, got %q", dtype)
			}
			if _, err := os.Stat(args[0]); err != nil {
				return fail.New(fail.Other, "give a checkpoint folder of a run, such as runs/demo/checkpoint-600", "export: %w", err)
			}
			loaded, err := checkpoint.Load(args[0])
			if err != nil {
				return err
			}
			defer loaded.Close()
			if err := trainer.ExportCheckpoint(loaded, args[1], dt); err != nil {
				return err
			}
			fmt.Printf("exported the draft of step %d: %s\n", loaded.State.Step, args[1])
			return nil
		},
	}
	cmd.Flags().StringVar(&dtype, "dtype", "bf16", "dtype of the weights: bf16 or f32")
	return cmd
}
