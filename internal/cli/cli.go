// Package cli holds the commands of vkdomino: they read the command line, call
// the packages that do the work, and turn errors into a message, a hint and an
// exit code (internal/fail).
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/trainer"
	"vkdomino/vk"
)

// Main runs the program with the given arguments and returns its exit code.
func Main(args []string) int {
	root, out := newRoot(), &output{w: os.Stdout}
	root.SetArgs(args)
	root.SetOut(out)
	err := out.verdict(root.Execute())
	if err == nil {
		return 0
	}
	report(os.Stderr, err)
	return int(fail.CodeOf(err))
}

// report prints an error and its hint.
func report(w io.Writer, err error) {
	fmt.Fprintf(w, "vkdomino: %v\n", err)
	if hint := fail.HintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

// withHint gives an error a hint, unless it has one.
func withHint(err error, hint string) error {
	if fail.HintOf(err) != "" {
		return err
	}
	return fail.New(fail.CodeOf(err), hint, "%w", err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "vkdomino",
		Short:         "Train Domino speculative-decoding drafts on any Vulkan device",
		Long:          "vkdomino trains Domino and DFlash speculative-decoding drafts for Qwen3 targets:\none binary, on an NVIDIA, AMD, Intel or Apple GPU, or on the CPU through lavapipe.",
		Version:       trainer.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail.New(fail.Usage, helpHint(cmd), "%w", err)
	})
	root.AddCommand(newTrainCommand(), newExportCommand(), newDoctorCommand(), newSelftestCommand(), newDemoCommand(), newDataCommand(), newGenerateCommand(), newEvalCommand(), newBenchCommand())
	return root
}

// unknownCommand refuses words that are no command below cmd.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fail.New(fail.Usage, helpHint(cmd), "unknown command %q", args[0])
}

// argCount wants from least to most arguments (any number, where most is negative), and says what they are.
func argCount(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || (most >= 0 && len(args) > most) {
			name := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
			return fail.New(fail.Usage, helpHint(cmd), "%s: want %s, got %s", name, what, plural.Of(len(args), "argument"))
		}
		return nil
	}
}

// openDevice opens a device by its number, -1 for the best one, in the tier that the environment asks for.
func openDevice(index int) (*vk.Device, error) {
	if index < -1 {
		return nil, fail.New(fail.Usage, "run `vkdomino doctor` to see the devices", "--device: want a number from 0, or -1 for the best one, got %d", index)
	}
	tier, err := vk.ParseTier(os.Getenv(vk.TierVariable))
	if err != nil {
		return nil, err
	}
	return vk.Open(vk.Options{Index: index, Tier: tier})
}

// closeDevice closes a device; validation messages, if a layer is on, become an error.
func closeDevice(d *vk.Device, err *error) {
	if text := d.Close(); len(text) > 0 && *err == nil {
		*err = errors.New("vulkan validation: " + strings.Join(text, "\n"))
	}
}
