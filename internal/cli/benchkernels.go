package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
	"vkdomino/tensors"
	"vkdomino/trainer/bench"
	"vkdomino/vk"
)

func newBenchKernelsCommand() *cobra.Command {
	var f benchFlags
	var s stepFlags
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "What the driver's compiler makes of the kernels: registers, spills, occupancy",
		Long: "Compiles every kernel of a preset's training step, with the target's forward pass and the update, and of decoding, and\n" +
			"prints what the driver tells of each. Nothing runs and nothing is allocated. Kernels that may be chosen instead of the\n" +
			"usual ones are marked with a star. Presets: " + strings.Join(bench.Names(), ", ") + ".",
		Example: "  vkdomino bench kernels --preset qwen3-8b --json kernels.json",
		Args:    argCount(0, 0, "flags alone"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := s.preset(cmd)
			if err != nil {
				return err
			}
			return f.withDevice(cmd, func(d *vk.Device, dtype tensors.DType, out io.Writer) error {
				printBenchDevice(out, d)
				if !d.TellsStatistics() {
					return fail.New(fail.Other, "take another --device, or run the driver of a GPU without one (docs/benchmarks.md, Compilers)",
						"bench: kernels: %s %s does not tell what its compiler does (VK_KHR_pipeline_executable_properties)", d.Driver, d.DriverInfo)
				}
				r, err := bench.Kernels(d, p, dtype)
				if err != nil {
					return err
				}
				return f.show(r, func() { printCompiled(out, r) })
			})
		},
	}
	f.addDevice(cmd)
	s.add(cmd)
	return cmd
}

// compiledColumns are the figures of the table, under the names that drivers have for them.
var compiledColumns = []struct {
	head  string
	names []string
}{
	{"registers", []string{"Register Count", "Number of GPRs", "VGPRs", "GPRs", "Registers used"}},
	{"shared", []string{"Shared Memory Size", "LDS size"}},
	{"occupancy", []string{"Subgroups per SIMD", "Max warps/SM", "Threads", "Max Waves Per Core"}},
	{"instructions", []string{"Instructions", "Instruction count"}},
	{"code bytes", []string{"Code size", "Binary Size"}},
	{"cycles", []string{"Inverse Throughput", "Static cycle count", "Cycle count"}},
}

func printCompiled(w io.Writer, r *bench.KernelsReport) {
	fmt.Fprintf(w, "kernels of preset %s, %s, as the driver compiles them\n", r.Preset, r.Precision)
	fmt.Fprintf(w, "  %-48s %8s", "kernel", "spills")
	for _, c := range compiledColumns {
		fmt.Fprintf(w, " %12s", c.head)
	}
	fmt.Fprintln(w, "  constants")
	spilled := 0
	for _, k := range r.Kernels {
		mark := " "
		if !k.Usual {
			mark = "*"
		} else if k.Spills > 0 {
			spilled++
		}
		fmt.Fprintf(w, "%s %-48s %8d", mark, k.Name, k.Spills)
		for _, c := range compiledColumns {
			text := "-"
			if v, ok := k.Figure(c.names...); ok {
				text = fmt.Sprint(v)
			}
			fmt.Fprintf(w, " %12s", text)
		}
		fmt.Fprintln(w, " ", strings.Trim(fmt.Sprint(k.Spec), "[]"))
	}
	fmt.Fprintf(w, "%d kernels, %d of the usual ones spill registers\n", len(r.Kernels), spilled)
}
