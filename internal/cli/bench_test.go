package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/trainer/bench"
)

func runBench(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := newBenchCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func TestBenchStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "step.json")
	out, err := runBench(t, "step", "--preset", "toy", "--anchors", "2", "--length", "24", "--vocab", "128", "--runs", "2", "--json", file)
	require.NoError(t, err)
	for _, text := range []string{"memory planned: ", "batch 1, length 24, 2 anchors of block 8, vocabulary 128", "forward ", "backward ", "optimizer ",
		"total, with the host", "this device's own peaks", "kernel, timed by itself", "adamw"} {
		require.Contains(t, out, text)
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var got struct {
		Report struct {
			Vocabulary int
			Total      struct{ Runs int }
			Kernels    []struct{ Kernel string }
			Memory     struct {
				Planned int64 `json:"planned_bytes"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, 128, got.Report.Vocabulary)
	require.Equal(t, 2, got.Report.Total.Runs)
	require.NotEmpty(t, got.Report.Kernels)
	require.Positive(t, got.Report.Memory.Planned)
}

// TestBenchKernels: a driver that does not tell of its compiler is refused with a hint; one that does gets a table.
func TestBenchKernels(t *testing.T) {
	out, err := runBench(t, "kernels", "--preset", "toy", "--anchors", "2", "--length", "24", "--vocab", "128")
	if err == nil {
		require.Contains(t, out, "of the usual ones spill registers")
		return
	}
	require.ErrorContains(t, err, "does not tell what its compiler does")
	require.Equal(t, fail.Other, fail.CodeOf(err))
	require.Contains(t, fail.HintOf(err), "docs/benchmarks.md")
}

// TestPrintCompiled: figures stand in their columns under any driver's names, and what spills is counted where it is usual.
func TestPrintCompiled(t *testing.T) {
	var out bytes.Buffer
	printCompiled(&out, &bench.KernelsReport{Preset: "toy", Precision: "bf16", Kernels: []bench.CompiledKernel{
		{Name: "a", Spec: []uint32{64, 1}, Usual: true, Figures: map[string]uint64{"VGPRs": 48, "Pre-Sched VGPRs": 40, "LDS size": 1024, "Subgroups per SIMD": 16, "Instructions": 201, "Code size": 1020, "Inverse Throughput": 575}},
		{Name: "b", Usual: true, Spills: 7, Figures: map[string]uint64{"Number of GPRs": 24, "Static cycle count": 721}},
		{Name: "c", Spills: 9},
		{Name: "d", Usual: true, Figures: map[string]uint64{"Registers used": 48, "Half-registers used": 20, "Max Waves Per Core": 2, "Instruction Count": 122}},
	}})
	lines := strings.Split(out.String(), "\n")
	require.Equal(t, []string{"a", "0", "48", "1024", "16", "201", "1020", "575", "64", "1"}, strings.Fields(lines[2]))
	require.Equal(t, []string{"b", "7", "24", "-", "-", "-", "-", "721"}, strings.Fields(lines[3]))
	require.Equal(t, []string{"*", "c", "9", "-", "-", "-", "-", "-", "-"}, strings.Fields(lines[4]))
	require.Equal(t, []string{"d", "0", "48", "-", "2", "122", "-", "-"}, strings.Fields(lines[5]))
	require.Equal(t, "4 kernels, 1 of the usual ones spill registers", lines[6])
}

// TestPrintPeak: matrices have a line where the tier has them, those of a workgroup with their shape.
func TestPrintPeak(t *testing.T) {
	var out bytes.Buffer
	printPeak(&out, &bench.PeakReport{})
	require.NotContains(t, out.String(), "matrices")
	printPeak(&out, &bench.PeakReport{Peaks: bench.Peaks{Matrix: 400, Workgroup: 700}, WorkgroupShape: "256x128x64 by 256"})
	require.Regexp(t, `matrices on registers .* 400 TFLOP/s\nmatrices of a workgroup .* 700 TFLOP/s, 256x128x64 by 256\n`, out.String())
}

func TestBenchGemm(t *testing.T) {
	out, err := runBench(t, "gemm", "--shapes", "16x24x32", "--runs", "1", "--precision", "f32")
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(out, "16x24x32 "), out)
	require.Equal(t, 1, strings.Count(out, "of peak"), out)
}

// writes is a reader of the output that a test calls.
type writes func()

func (w writes) Write(p []byte) (int, error) { w(); return len(p), nil }

// The file is there when the figures are printed, where printing may end the program.
func TestBenchWritesBeforePrinting(t *testing.T) {
	f := benchFlags{json: filepath.Join(t.TempDir(), "peak.json")}
	require.NoError(t, f.show(&bench.PeakReport{}, func() { printPeak(writes(func() { require.FileExists(t, f.json) }), &bench.PeakReport{}) }))

	var out bytes.Buffer
	f.json = filepath.Join(t.TempDir(), "no", "peak.json")
	err := f.show(&bench.PeakReport{}, func() { printPeak(&out, &bench.PeakReport{}) })
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	require.NotEmpty(t, out.String(), "a file that cannot be written is no reason not to print")
}

// A table that grows while it is measured has its head once, and each product once.
func TestPrintGemm(t *testing.T) {
	var out bytes.Buffer
	f, r := benchFlags{json: filepath.Join(t.TempDir(), "gemm.json")}, &bench.GemmReport{Precision: "bf16"}
	for _, layout := range []string{"NT", "NN"} {
		r.Rows = append(r.Rows, bench.GemmRow{GemmShape: bench.GemmShape{M: 16, N: 24, K: 32}, Layout: layout})
		printGemm(&out, r)
		require.NoError(t, f.write(r))
		text, err := os.ReadFile(f.json)
		require.NoError(t, err)
		require.Equal(t, len(r.Rows), strings.Count(string(text), `"layout"`))
	}
	require.Equal(t, 2, strings.Count(out.String(), "16x24x32 "))
	require.Equal(t, 1, strings.Count(out.String(), "of peak"))
	require.NoError(t, (&benchFlags{}).write(r))
}

func TestBenchErrors(t *testing.T) {
	for _, c := range []struct {
		args, message string
		code          fail.Code
	}{
		{"step --preset huge", `no preset "huge"`, fail.Usage},
		{"step --batch 0", "want batch and anchors of at least 1", fail.Usage},
		{"step --length 1", "length and vocabulary of at least 2", fail.Usage},
		{"step --runs 0", "--runs: want 1 or more, got 0", fail.Usage},
		{"step --precision f16", "--precision: want bf16 or f32", fail.Usage},
		{"gemm --shapes 1x2", `want MxNxK of sizes from 1 to 1048576, got "1x2"`, fail.Usage},
		{"step --preset qwen3-8b --batch 100000", "the run needs", fail.Memory},
		{"nothing", `unknown command "nothing"`, fail.Usage},
		{"peak --device 99", "device 99", fail.Other},
	} {
		_, err := runBench(t, strings.Fields(c.args)...)
		require.ErrorContains(t, err, c.message, c.args)
		require.Equal(t, c.code, fail.CodeOf(err), c.args)
	}
}
