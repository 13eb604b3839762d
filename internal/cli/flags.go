package cli

import (
	"math"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// Values of flags that several commands have, checked before anything is opened.

// helpHint is the hint that names a command's help.
func helpHint(cmd *cobra.Command) string { return "see `" + cmd.CommandPath() + " --help`" }

// parsePrecision is the dtype that a --precision flag names.
func parsePrecision(name string) (tensors.DType, error) { return parseDType("--precision", name) }

// parseDType reads the value of a flag that is bf16 or f32.
func parseDType(flag, text string) (tensors.DType, error) {
	dtype, ok := map[string]tensors.DType{"bf16": tensors.BF16, "f32": tensors.F32}[text]
	if !ok {
		return dtype, fail.New(fail.Usage, "give bf16 or f32", "%s: want bf16 or f32, got %q", flag, text)
	}
	return dtype, nil
}

// checkSampling refuses a temperature, top-k or top-p that gives no distribution.
func checkSampling(f ops.Filter) error {
	if !(f.Temperature >= 0 && f.Temperature <= math.MaxFloat64) || f.TopK < 0 || !(f.TopP > 0 && f.TopP <= 1) {
		return fail.New(fail.Usage, "--temperature 0 is greedy, --top-k 0 and --top-p 1 leave no token out",
			"sampling: want --temperature and --top-k of 0 or more and --top-p above 0 and at most 1, got %v, %d and %v", f.Temperature, f.TopK, f.TopP)
	}
	return nil
}

// checkOutputFile refuses a file that could not be written once all is computed; "" is none.
func checkOutputFile(flag, path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fail.New(fail.Usage, "name a file in it", "%s: want a file, got the folder %s", flag, path)
	}
	if _, err := os.Stat(filepath.Dir(path) + string(filepath.Separator) + "."); err != nil {
		return fail.New(fail.Disk, "make its folder first, or name another file", "%s: %w", flag, err)
	}
	return nil
}

// refuseZero refuses a 0 for flags in which it would stand for a default.
func refuseZero(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "0" {
			return fail.New(fail.Usage, "leave it out for its default", "--%s: want anything but 0", name)
		}
	}
	return nil
}
