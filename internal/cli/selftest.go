package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/internal/selftest"
	"vkdomino/internal/selftest/cases"
	"vkdomino/tensors"
)

func newSelftestCommand() *cobra.Command {
	var dir, precision string
	var device int
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Compare this device with what the reference implementation computed",
		Long: "Run conformance cases of the reference implementation on a device and compare quantity by quantity:\n" +
			"features, hidden states, losses, gradients, weights after the last step; of a decoding case (generation.json)\n" +
			"tokens, acceptance lengths, token ids and chats. Exits with 7 where a limit is not met.",
		Example: "  vkdomino selftest\n  vkdomino selftest --precision bf16 --device 1\n  vkdomino selftest --case testdata/golden/odd-b16\n  vkdomino selftest --case testdata/golden/gen-b8",
		Args:    argCount(0, 0, "no arguments"),
		RunE: stoppable(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			dt, err := parsePrecision(precision)
			if err != nil {
				return err
			}
			dirs := []string{dir}
			if dir == "" {
				tmp, err := os.MkdirTemp("", "vkdomino-selftest-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(tmp)
				if err := os.CopyFS(tmp, cases.FS); err != nil {
					return err
				}
				dirs = dirs[:0]
				for _, name := range cases.Names() {
					dirs = append(dirs, filepath.Join(tmp, name))
				}
			}
			return runSelftest(ctx, cmd.OutOrStdout(), dirs, dt, device)
		}),
	}
	cmd.Flags().StringVar(&dir, "case", "", "folder of a case; default: the built-in cases")
	cmd.Flags().StringVar(&precision, "precision", "f32", "storage of weights and activations: f32 or bf16")
	cmd.Flags().IntVar(&device, "device", -1, "number of the device; -1: the best one")
	return cmd
}

func runSelftest(ctx context.Context, w io.Writer, dirs []string, precision tensors.DType, index int) (err error) {
	device, err := openDevice(index)
	if err != nil {
		return err
	}
	defer closeDevice(device, &err)
	gpu, err := newContext(device) // one for all cases: compiled kernels stay
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "device %d: %s, %s\n", device.Index, device.Name, device.Tier())
	defer warnTuning(gpu)
	failed := 0
	for i, dir := range dirs {
		if ctx.Err() != nil {
			return cutShort(ctx, ctx.Err(), fmt.Sprintf("%d of %s run", i, plural.Of(len(dirs), "case")))
		}
		c, err := selftest.OpenAny(dir)
		if err != nil {
			return withHint(err, "the case is damaged or of another layout: copy it again")
		}
		report, err := c.Run(gpu, precision)
		gpu.Release()
		c.Close()
		if err != nil {
			return err
		}
		report.Print(w)
		if !report.OK() {
			failed++
		}
	}
	if failed > 0 {
		return fail.New(fail.Gate, "report the device, its driver and this table", "selftest: of %s, %d missed a limit", plural.Of(len(dirs), "case"), failed)
	}
	if len(dirs) == 1 {
		fmt.Fprintln(w, "selftest: the case is within its limits")
	} else {
		fmt.Fprintf(w, "selftest: all %d cases within their limits\n", len(dirs))
	}
	return nil
}
