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
	printPeaks(w, r.Peaks)
	fmt.Fprintf(w, "work %.4g TFLOP minimum, %.4g executed by matrix kernels\n", r.MinimumFLOP/1e12, r.ExecutedFLOP/1e12)
	fmt.Fprintf(w, "rate %.4g TFLOP/s of the minimum work, %.1f%% of this device's peak; %.3f ms forward and backward per sample; %.2f samples/s\n", r.Tera, 100*r.Share, r.PerSample, r.SamplesPerSec)
	if r.Target {
		fmt.Fprintf(w, "target: %.4g TFLOP, %.4g TFLOP/s\n", r.TargetFLOP/1e12, r.TargetTera)
	}
	fmt.Fprintf(w, "memory allocated: %s (planned %s)\n", gigabytes(r.Memory.Allocated), gigabytes(r.Memory.Planned))
	fmt.Fprintf(w, "loss %.4f, gradient norm %.4g\n", r.Loss, r.GradNorm)
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

func printPeak(w io.Writer, r *bench.PeakReport) {
	fmt.Fprintf(w, "%-34s %s\n", "", spreadHead)
	fmt.Fprintf(w, "%-34s %s %10.4g TFLOP/s", "f32 multiply-add on registers", spread(r.FMATime.Time), r.FMA)
	if r.Device.CPU {
		fmt.Fprintf(w, ", %.1f GF/s/core", r.FMAPerProcessor)
	}
	fmt.Fprintln(w)
	if r.Matrix > 0 {
		fmt.Fprintf(w, "%-34s %s %10.4g TFLOP/s\n", "matrices on registers", spread(r.MatrixTime.Time), r.Matrix)
	}
	if r.Workgroup > 0 {
		fmt.Fprintf(w, "%-34s %s %10.4g TFLOP/s, %s\n", "matrices of a workgroup", spread(r.WorkgroupTime.Time), r.Workgroup, r.WorkgroupShape)
	}
	fmt.Fprintf(w, "%-34s %s %10.4g GB/s\n", "copy, bytes read and written", spread(r.CopyTime.Time), r.Copy)
	fmt.Fprintf(w, "%-34s %s %10.4g GB/s\n", "sum of two tensors by a kernel", spread(r.ShaderTime.Time), r.Shader)
	fmt.Fprintf(w, "a small dispatch %.2f us, with a barrier %.2f us; a submission and its wait %.1f us\n", r.Dispatch, r.Barrier, r.Submit)
}

func printOps(w io.Writer, r *bench.OpReport) {
	printPeaks(w, r.Peaks)
	fmt.Fprintf(w, "%-24s %-26s %s %10s %9s %8s\n", "op, "+r.Precision, "shape, preset "+r.Preset, spreadHead, "TFLOP/s", "GB/s", "of peak")
	for _, o := range r.Rows {
		fmt.Fprintf(w, "%-24s %-26s %s %10s %9s %7.1f%%\n", o.Op, o.Shape, spread(o.Time), number(o.Tera), number(o.Giga), 100*o.Share)
	}
}

// printPeaks says what the other figures stand beside.
func printPeaks(w io.Writer, p bench.Peaks) {
	fmt.Fprintf(w, "this device's own peaks, measured: %.4g TFLOP/s, %.4g GB/s\n", p.Compute(), p.Bandwidth())
}

// number is x, or a dash for 0.
func number(x float64) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprintf("%.4g", x)
}

// printGemm prints the last product of a report, and the head of the table above the first.
func printGemm(w io.Writer, r *bench.GemmReport) {
	if len(r.Rows) == 1 {
		printGemmHead(w, r)
	}
	g := r.Rows[len(r.Rows)-1]
	fmt.Fprintf(w, "%-20s %-6s %s %10.4g %7.1f%%", g.GemmShape, g.Layout, spread(g.Time), g.Tera, 100*g.Share)
	if r.Device.CPU {
		fmt.Fprintf(w, " %14.2f", g.PerProcessor)
	}
	fmt.Fprintf(w, "  %s; %s\n", g.Tile, g.Kernel)
}

func printGemmHead(w io.Writer, r *bench.GemmReport) {
	printPeaks(w, r.Peaks)
	fmt.Fprintf(w, "%-20s %-6s %s %10s %8s", "m x n x k, "+r.Precision, "layout", spreadHead, "TFLOP/s", "of peak")
	if r.Device.CPU {
		fmt.Fprintf(w, " %14s", "GF/s/core")
	}
	fmt.Fprintln(w, "  tile; kernel, workgroups")
}
