//go:build unix

// Package benchnvidia_test checks run.sh with a stand-in for the binary.
package benchnvidia_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// doctor lines of a CPU, of a GPU, and of a GPU that cannot be used.
const (
	cpu    = "device 0: llvmpipe (LLVM 15.0.6, 256 bits) (cpu)\n  memory            7.6 GiB\n"
	gpu    = "device 1: NVIDIA H100 80GB HBM3 (discrete)\n  memory            79.6 GiB\n"
	lesser = "device 1: GeForce 8800 (discrete)\n  cannot be used: it lacks subgroup arithmetic\n"
)

// measure runs the script with a binary that prints the devices and writes down what else it is asked for.
// Benchmarks end with the codes, in turn, then with 0: the script's timeout is replaced by one that only runs.
func measure(t *testing.T, devices, codes string, args ...string) (calls []string, out string, code int) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"vkdomino": "#!/bin/sh\nif [ \"$1\" = doctor ]; then cat \"" + dir + "/devices\"; exit; fi\n" +
			"echo \"$1 $2\" >>\"" + dir + "/calls\"\nread -r code <\"" + dir + "/codes\"\nsed -i 1d \"" + dir + "/codes\"\nexit ${code:-0}\n",
		"timeout": "#!/bin/sh\n[ \"$1 $2\" = '-k 5' ] || exit 99\nshift 3\nexec \"$@\"\n",
		"devices": devices, "codes": codes, "calls": "",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	cmd := exec.Command("bash", append([]string{"run.sh", "--binary", filepath.Join(dir, "vkdomino"), "--python", "none", "--out", filepath.Join(dir, "out")}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	text, _ := cmd.CombinedOutput()
	list, err := os.ReadFile(filepath.Join(dir, "calls"))
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(list)), "\n"), string(text), cmd.ProcessState.ExitCode()
}

var all = []string{"bench peak", "bench gemm", "bench step"}

// Large shapes need a GPU: without one nothing is measured, and the reader is told what may be missing.
func TestNeedsAGPU(t *testing.T) {
	for _, c := range []struct {
		devices string
		args    []string
		runs    bool
	}{
		{cpu, nil, false},
		{"", nil, false},
		{cpu + lesser, nil, false},
		{cpu + gpu, []string{"--device", "0"}, false},
		{cpu + gpu, nil, true},
		{cpu + gpu, []string{"--device", "1"}, true},
		{cpu, []string{"--toy"}, true},
	} {
		calls, out, code := measure(t, c.devices, "", c.args...)
		if c.runs {
			require.Equal(t, all, calls, out)
			require.Zero(t, code, out)
			continue
		}
		require.Equal(t, []string{""}, calls, out)
		require.Equal(t, 1, code)
		require.Contains(t, out, "NVIDIA_DRIVER_CAPABILITIES=all")
	}
}

// A part that runs out of its time has it once more, one that fails has not.
func TestTriesOnceMore(t *testing.T) {
	calls, out, code := measure(t, gpu, "0\n124\n0\n0\n")
	require.Equal(t, []string{"bench peak", "bench gemm", "bench gemm", "bench step"}, calls, out)
	require.Zero(t, code, out)
	calls, out, code = measure(t, gpu, "0\n124\n137\n5\n")
	require.Equal(t, []string{"bench peak", "bench gemm", "bench gemm", "bench step"}, calls, out)
	require.Equal(t, 1, code)
	require.Contains(t, out, "parts that failed: gemm step\n")
}
