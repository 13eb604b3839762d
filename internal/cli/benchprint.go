package cli

import (
	"fmt"
	"io"

	"vkdomino/trainer/bench"
	"vkdomino/vk"
)

func printBenchDevice(w io.Writer, d *vk.Device) {
	i := bench.DeviceOf(d)
	fmt.Fprintf(w, "device %d: %s, %s %s, Vulkan %s\n", d.Index, i.Name, i.Driver, i.DriverInfo, i.API)
	fmt.Fprintf(w, "tier %s, subgroup size %d; times by %s\n", i.Tier, i.Subgroup, i.Clock)
}

const spreadHead = "     median        min        p25        p75"

// spread is a time in the columns of spreadHead.
func spread(s bench.Spread) string {
	return fmt.Sprintf("%8.3f ms %7.3f ms %7.3f ms %7.3f ms", s.Median, s.Min, s.P25, s.P75)
}

func gigabytes(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

func printMemory(w io.Writer, m bench.Memory) {
	fmt.Fprintf(w, "memory planned: %s\n", gigabytes(m.Planned))
	for _, p := range m.Purposes {
		fmt.Fprintf(w, "  %10s  %s\n", gigabytes(p.Bytes), p.Name)
	}
}

func printStep(w io.Writer, r *bench.StepReport) {
	fmt.Fprintf(w, "step %s %s: batch %d, length %d, %d anchors of block %d, vocabulary %d; %d draft rows, %d with a label\n",
		r.Preset, r.Precision, r.Batch, r.SeqLen, r.Anchors, r.Block, r.Vocab, r.DraftRows, r.HeadRows)
	fmt.Fprintf(w, "%-22s %s   of %d runs\n", "", spreadHead, r.Total.Runs)
	for _, name := range r.PhaseNames() {
		fmt.Fprintf(w, "%-22s %s\n", name, spread(r.Phases[name]))
	}
	if r.OnDevice.Median > 0 {
		fmt.Fprintf(w, "%-22s %s\n", "on the device", spread(r.OnDevice))
	}
	fmt.Fprintf(w, "%-22s %s\n", "total, with the host", spread(r.Total))
	if r.Processor != nil {
		fmt.Fprintf(w, "%-22s %s\n", "processor time", spread(*r.Processor))
	}
	fmt.Fprintf(w, "work %.4g TFLOP minimum, %.4g executed by matrix kernels\n", r.MinimumFLOP/1e12, r.ExecutedFLOP/1e12)
	fmt.Fprintf(w, "rate %.4g TFLOP/s of the minimum work; %.3f ms forward and backward per sample; %.2f samples/s\n", r.Tera, r.PerSample, r.SamplesPerSec)
	fmt.Fprintf(w, "memory allocated: %s (planned %s)\n", gigabytes(r.Memory.Allocated), gigabytes(r.Memory.Planned))
	fmt.Fprintf(w, "loss %.4f, gradient norm %.4g\n", r.Loss, r.GradNorm)
	printKernels(w, r)
}

// printKernels is the table of where the time goes.
func printKernels(w io.Writer, r *bench.StepReport) {
	if len(r.Table) == 0 {
		return
	}
	processor, rate, unit := "", "TFLOP/s", 1.0
	if r.Device.CPU {
		processor, rate, unit = "  processor", "GF/s/core", 1e3
	}
	fmt.Fprintf(w, "%-44s %6s %10s%s %7s %10s %9s\n", "kernel, timed by itself", "runs", "ms", processor, "share", rate, "GB/s")
	for _, k := range r.Table {
		fmt.Fprintf(w, "%-44s %6d %10.3f", k.Name, k.Runs, k.Time)
		if r.Device.CPU {
			fmt.Fprintf(w, " %10.3f", k.CPU)
		}
		fmt.Fprintf(w, " %6.1f%% %10s %9s\n", 100*k.Share, number(unit*k.Tera), number(k.Giga))
	}
}

// number is x, or a dash for 0.
func number(x float64) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprintf("%.4g", x)
}

func printGemm(w io.Writer, r *bench.GemmReport) {
	fmt.Fprintf(w, "%-20s %-6s %s %10s", "m x n x k, "+r.Precision, "layout", spreadHead, "TFLOP/s")
	if r.Device.CPU {
		fmt.Fprintf(w, " %14s", "GF/s/core")
	}
	fmt.Fprintln(w, "  kernel, workgroups")
	for _, g := range r.Rows {
		fmt.Fprintf(w, "%-20s %-6s %s %10.4g", g.GemmShape, g.Layout, spread(g.Time), g.Tera)
		if r.Device.CPU {
			fmt.Fprintf(w, " %14.2f", g.PerProcessor)
		}
		fmt.Fprintf(w, "  %s\n", g.Kernel)
	}
}
