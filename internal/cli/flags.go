package cli

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vkdomino/internal/atomicfile"
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
	info, err := os.Stat(path)
	switch {
	case err != nil: // a new file
	case info.IsDir():
		return fail.New(fail.Usage, "name a file in it", "%s: want a file, got the folder %s", flag, path)
	case !info.Mode().IsRegular(): // which the new file would take the place of
		return fail.New(fail.Usage, "name another file", "%s: want a regular file, got %s", flag, path)
	}
	err = atomicfile.CheckWritable(filepath.Dir(path))
	if named := new(fs.PathError); errors.As(err, &named) {
		err = named.Err
	}
	if err != nil {
		return fail.New(fail.Disk, "make its folder first, or name a file elsewhere", "%s: %s: its folder: %w", flag, path, err)
	}
	return nil
}

// checkAppendedFile is checkOutputFile for a file that a command goes on with, where there is one.
func checkAppendedFile(flag, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrPermission):
		return fail.New(fail.Disk, "name a file that can be written", "%s: %w", flag, err)
	}
	return checkOutputFile(flag, path)
}

// targetHint has the hint name the flag of a target's folder, where err is that there is no target in it.
func targetHint(err error, flag, dir string) error {
	if err == nil {
		return nil
	}
	if _, missing := os.Stat(filepath.Join(dir, "config.json")); missing == nil {
		return err
	}
	return fail.New(fail.CodeOf(err), "give the folder of a Hugging Face checkpoint with "+flag, "%w", err)
}

// intFlag is the value of a flag and the least that it may be.
type intFlag struct {
	flag         string
	value, least int
}

// checkNumbers refuses the first that is too small.
func checkNumbers(command string, list ...intFlag) error {
	for _, n := range list {
		if n.value < n.least {
			return fail.New(fail.Usage, "see `vkdomino "+command+" --help`", "%s: %s: want %d or more, got %d", command, n.flag, n.least, n.value)
		}
	}
	return nil
}

// refuseZero refuses a 0 for flags in which it would stand for a default, or for nothing to do.
func refuseZero(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "0" {
			return fail.New(fail.Usage, "leave it out for its default", "--%s: want anything but 0", name)
		}
	}
	return nil
}
