package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"vkdomino/trainer/bench"
)

func newBenchKernelsCommand() *cobra.Command {
	return presetCommand(&cobra.Command{
		Use:   "kernels",
		Short: "What the driver's compiler makes of the kernels: registers, spills, shared memory",
	}, 1, func(r presetRun) (any, error) {
		report, err := bench.Kernels(r.c.Device, r.preset, r.dtype)
		if err != nil {
			return nil, err
		}
		printCompiled(r.out, report)
		return report, nil
	})
}

func printCompiled(w io.Writer, r *bench.KernelsReport) {
	for _, k := range r.Kernels {
		fmt.Fprintf(w, "%s %v %d %v\n", k.Name, strings.Trim(fmt.Sprint(k.Spec), "[]"), k.Spills, k.Figures)
	}
}
