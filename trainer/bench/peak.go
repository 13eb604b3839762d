package bench

import (
	"time"

	"vkdomino/ops"
	"vkdomino/tensors"
)

// Peaks are what a device does at best, measured: what other figures stand beside.
type Peaks struct {
	// FMA is the rate of f32 multiplications and additions on registers alone, in TFLOP/s.
	FMA float64 `json:"fma_tflops"`
	// Matrix is the rate of cooperative matrices of a subgroup in registers alone, in TFLOP/s; 0 where the tier has none.
	Matrix float64 `json:"matrix_tflops,omitempty"`
	// Workgroup is the same of cooperative matrices of a workgroup, which tier T3 has.
	Workgroup float64 `json:"workgroup_matrix_tflops,omitempty"`
	// Copy and Shader are bytes read and written, in GB/s: by a copy of a buffer, and by a kernel that adds two tensors.
	Copy   float64 `json:"copy_gb_per_second"`
	Shader float64 `json:"shader_gb_per_second"`
}

// Compute is the rate that matrix kernels can reach, in TFLOP/s.
func (p Peaks) Compute() float64 { return max(p.FMA, p.Matrix, p.Workgroup) }

// Bandwidth is the most of the ways to move bytes, in GB/s.
func (p Peaks) Bandwidth() float64 { return max(p.Copy, p.Shader) }

// PeakReport are the peaks with their times, and what a command costs by itself.
type PeakReport struct {
	Device Device `json:"device"`
	Peaks
	// FMAPerProcessor is GFLOP/s per second of processor time, on a CPU device.
	FMAPerProcessor float64 `json:"fma_gflops_per_processor_second,omitempty"`
	FMATime         Timing  `json:"fma"`
	MatrixTime      Timing  `json:"matrix"`                    // zero where the tier has no matrices
	WorkgroupTime   Timing  `json:"workgroup_matrix"`          // zero where the tier has none of a workgroup
	WorkgroupShape  string  `json:"workgroup_shape,omitempty"` // of the product that they were measured with
	CopyTime        Timing  `json:"copy"`
	ShaderTime      Timing  `json:"shader"`

	// Dispatch is the time of a small kernel among others that do not depend on it, Barrier of one that waits
	// for the one before, Submit the wall time of a submission with one kernel; in microseconds.
	Dispatch float64 `json:"dispatch_us"`
	Barrier  float64 `json:"dispatch_and_barrier_us"`
	Submit   float64 `json:"submit_and_wait_us"`
}

// quickRuns are the runs of the peaks that stand beside other figures.
const quickRuns = 3

// MeasurePeaks measures the peaks that other figures stand beside, in less than a second.
func MeasurePeaks(c *ops.Context) (Peaks, error) {
	r := &PeakReport{}
	m, err := newMeter(c, quickRuns)
	if err != nil {
		return Peaks{}, err
	}
	err = r.peaks(m)
	return r.Peaks, err
}

// Peak measures what the device does at best. Nothing else must use the device meanwhile.
func Peak(c *ops.Context, runs int) (*PeakReport, error) {
	r := &PeakReport{Device: DeviceOf(c.Device)}
	m, err := newMeter(c, runs)
	if err != nil {
		return nil, err
	}
	if err := r.peaks(m); err != nil {
		return nil, err
	}
	return r, r.overheads(m)
}

// Sizes of the work that peaks are measured with, on a CPU device and on others.
func probeSizes(cpu bool) (invocations, steps, floats int) {
	if cpu {
		return 1 << 11, 1 << 9, 1 << 23
	}
	return 1 << 18, 1 << 2, 1 << 26 // a fifth of a second on the slowest
}

func (r *PeakReport) peaks(m meter) (err error) {
	c := m.c
	invocations, steps, floats := probeSizes(c.Device.CPU)
	sums := c.Alloc("probe", tensors.F32, invocations)
	var flop float64
	if r.FMATime, err = m.time(func() { flop = c.ProbeFMA(sums, steps) }); err != nil {
		return err
	}
	r.FMA = r.FMATime.perSecond(flop) / 1e12
	r.FMAPerProcessor = r.FMATime.perProcessorSecond(flop) / 1e9
	if err := m.finite("probe", sums); err != nil {
		return err
	}
	if c.HasMatrices() {
		if err := r.matrices(m); err != nil {
			return err
		}
	}
	if err := r.workgroupMatrices(m); err != nil {
		return err
	}
	a, b := c.Alloc("copied", tensors.F32, floats), c.Alloc("copy", tensors.F32, floats)
	c.Zero(a)
	c.Zero(b)
	if r.CopyTime, err = m.time(func() { c.Copy(b, a) }); err != nil {
		return err
	}
	r.Copy = r.CopyTime.perSecond(2*float64(a.Bytes())) / 1e9
	if r.ShaderTime, err = m.time(func() { c.Add(b, a, b) }); err != nil {
		return err
	}
	r.Shader = r.ShaderTime.perSecond(3*float64(a.Bytes())) / 1e9
	return nil
}

// matrices measures products in registers.
func (r *PeakReport) matrices(m meter) (err error) {
	groups, steps := 2048, 1<<10
	if m.c.Device.CPU {
		groups, steps = 4, 1<<4
	}
	sums := m.c.Alloc("matrix probe", tensors.F32, m.c.ProbeMatrixLen(groups))
	var flop float64
	if r.MatrixTime, err = m.time(func() { flop = m.c.ProbeMatrix(sums, groups, steps) }); err != nil {
		return err
	}
	r.Matrix = r.MatrixTime.perSecond(flop) / 1e12
	return m.finite("matrix probe", sums)
}

// workgroupMatrices measures products of matrices of a workgroup, where the tier has them.
func (r *PeakReport) workgroupMatrices(m meter) (err error) {
	const groups, steps = 1024, 1 << 9
	shape, elements := m.c.WorkgroupProbe()
	if shape == "" {
		return nil
	}
	sums := m.c.Alloc("workgroup probe", tensors.F32, groups*elements)
	var flop float64
	if r.WorkgroupTime, err = m.time(func() { flop = m.c.ProbeWorkgroup(sums, groups, steps) }); err != nil {
		return err
	}
	r.Workgroup, r.WorkgroupShape = r.WorkgroupTime.perSecond(flop)/1e12, shape
	return m.finite("workgroup probe", sums)
}

// overheads measures what commands cost that do next to nothing.
func (r *PeakReport) overheads(m meter) error {
	const small, many = 64, 256
	c := m.c
	a, b := c.Alloc("small", tensors.F32, many, small), c.Alloc("small too", tensors.F32, many, small)
	c.Zero(a)
	c.Zero(b)
	each := func(row func(i int) int) (float64, error) {
		t, err := m.time(func() {
			for i := range many {
				at := row(i)
				c.Add(b.Slice(at, at+1), a.Slice(at, at+1), a.Slice(at, at+1))
			}
		})
		return 1e3 * t.Time.Median / many, err
	}
	var err error
	if r.Dispatch, err = each(func(i int) int { return i }); err != nil {
		return err
	}
	if r.Barrier, err = each(func(int) int { return 0 }); err != nil {
		return err
	}
	var took []time.Duration
	for range 20 * m.runs {
		start := time.Now()
		c.Add(b, a, a)
		if err := c.Submit(); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	r.Submit = 1e3 * NewSpread(took).Median
	return nil
}
