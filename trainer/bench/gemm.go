package bench

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer"
)

// GemmShape is a product of M by K times K by N.
type GemmShape struct {
	M int `json:"m"`
	N int `json:"n"`
	K int `json:"k"`
}

func (s GemmShape) String() string { return fmt.Sprintf("%dx%dx%d", s.M, s.N, s.K) }

// FLOP is the product's floating-point operations.
func (s GemmShape) FLOP() float64 { return flop(s.M, s.K, s.N) }

// gemmSets are the tables of shapes: those of the presets' layers, LM head and its gradient, squares.
var gemmSets = map[string][]GemmShape{
	"toy":      {{512, 512, 512}, {256, 256, 256}, {256, 768, 256}, {256, 256, 768}, {256, 4096, 256}, {256, 256, 4096}},
	"qwen3-8b": {{4096, 6144, 4096}, {4096, 24576, 4096}, {4096, 4096, 12288}, {4096, 151936, 4352}, {4096, 4096, 151936}},
	"square":   {{512, 512, 512}, {1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 4096, 4096}, {8192, 8192, 8192}},
}

// maxGemmSize bounds each size of a shape, so that the bytes of a matrix are a number.
const maxGemmSize = 1 << 20

// GemmSets lists the tables of shapes.
func GemmSets() []string { return slices.Sorted(maps.Keys(gemmSets)) }

// GemmShapes reads the name of a table, or MxNxK shapes apart by commas. "auto" is toy on a CPU device and qwen3-8b on others.
func GemmShapes(text string, cpu bool) ([]GemmShape, error) {
	if text == "auto" {
		text = "qwen3-8b"
		if cpu {
			text = "toy"
		}
	}
	if set, ok := gemmSets[text]; ok {
		return set, nil
	}
	var list []GemmShape
	for _, part := range strings.Split(text, ",") {
		var s GemmShape
		var rest string
		n, _ := fmt.Sscanf(part+" .", "%dx%dx%d %s", &s.M, &s.N, &s.K, &rest)
		if n != 4 || rest != "." || min(s.M, s.N, s.K) < 1 || max(s.M, s.N, s.K) > maxGemmSize {
			return nil, fail.New(fail.Usage, "give MxNxK, or one of "+strings.Join(GemmSets(), ", "), "bench: shapes: want MxNxK of sizes from 1 to %d, got %q", maxGemmSize, part)
		}
		list = append(list, s)
	}
	return list, nil
}

// PlanGemm is the memory that Gemm needs for its operands and results.
func PlanGemm(shapes []GemmShape, dtype tensors.DType) (trainer.MemoryPlan, error) {
	return trainer.PlanOf(func(c *ops.Context) error {
		newGemmTensors(c, shapes, dtype)
		return nil
	})
}

// gemmTensors are as large as the largest of the shapes needs them.
type gemmTensors struct {
	A, B, C, sum tensors.Tensor // sum is of float32, for TN
}

func newGemmTensors(c *ops.Context, shapes []GemmShape, dtype tensors.DType) gemmTensors {
	var a, b, out int
	for _, s := range shapes {
		a, b, out = max(a, s.M*s.K), max(b, s.N*s.K), max(out, s.M*s.N)
	}
	return gemmTensors{c.Alloc("A", dtype, a), c.Alloc("B", dtype, b), c.Alloc("C", dtype, out), c.Alloc("sum", tensors.F32, out)}
}

// GemmReport is a sweep of matrix products.
type GemmReport struct {
	Device    Device    `json:"device"`
	Peaks     Peaks     `json:"peaks"`
	Precision string    `json:"precision"`
	Rows      []GemmRow `json:"products"`
}

// GemmRow is one product: NT and NN write the operands' dtype, TN adds to f32.
type GemmRow struct {
	GemmShape
	Layout string `json:"layout"`
	Tile   string `json:"tile"`   // rows and columns of a workgroup; on cooperative matrices tier and shape
	Kernel string `json:"kernel"` // the kernels that ran, with the workgroups of each
	Timing
	Tera float64 `json:"tflops"`
	// PerProcessor is GFLOP/s per second of processor time, on a CPU device.
	PerProcessor float64 `json:"gflops_per_processor_second,omitempty"`
	// Share is the rate over the device's own peak.
	Share float64 `json:"share_of_peak"`
}

// layouts are the three products of training.
var layouts = []struct {
	name   string
	layout ops.Layout
}{{"NT", ops.NT}, {"NN", ops.NN}, {"TN", ops.TN}}

// Gemm measures the shapes in the three layouts and calls each, which may be nil, with the report so far after every
// product. Nothing else must use the device meanwhile; tensors of the context are released.
func Gemm(c *ops.Context, shapes []GemmShape, dtype tensors.DType, runs int, each func(*GemmReport) error) (*GemmReport, error) {
	m, err := newMeter(c, runs)
	if err != nil {
		return nil, err
	}
	r := &GemmReport{Device: DeviceOf(c.Device), Precision: strings.ToLower(dtype.String())}
	if r.Peaks, err = MeasurePeaks(c); err != nil {
		return nil, err
	}
	c.Release()
	c.Reserve()
	t := newGemmTensors(c, shapes, dtype)
	m.fill(t.A, "A")
	m.fill(t.B, "B")
	c.Zero(t.sum)
	if err := c.Submit(); err != nil {
		return nil, err
	}
	for _, s := range shapes {
		for _, l := range layouts {
			p := newProduct(c, l.layout, s, t)
			row, err := m.product(s, l.name, p)
			if err != nil {
				return nil, err
			}
			row.Share = row.Tera / r.Peaks.Compute()
			r.Rows = append(r.Rows, row)
			if each == nil {
				continue
			}
			if err := each(r); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// product measures one product.
func (m meter) product(s GemmShape, layout string, p product) (GemmRow, error) {
	row := GemmRow{GemmShape: s, Layout: layout}
	var err error
	if row.Timing, err = m.time(p.record); err != nil {
		return row, err
	}
	if err := m.finite("gemm "+layout+" "+s.String(), p.C); err != nil {
		return row, err
	}
	row.Tera = row.perSecond(s.FLOP()) / 1e12
	row.PerProcessor = row.perProcessorSecond(s.FLOP()) / 1e9
	row.Tile = m.c.GemmTile(p.layout, p.C, p.A, p.B)
	row.Kernel, err = m.kernels(p.record)
	return row, err
}

// product is C = op(A) op(B), or C += op(A) op(B) in TN.
type product struct {
	c       *ops.Context
	layout  ops.Layout
	C, A, B tensors.Tensor
}

// newProduct is a shape in a layout.
func newProduct(c *ops.Context, layout ops.Layout, s GemmShape, t gemmTensors) product {
	p := product{c, layout, t.C.View(s.M, s.N), t.A.View(s.M, s.K), t.B.View(s.K, s.N)}
	switch layout {
	case ops.NT:
		p.B = t.B.View(s.N, s.K)
	case ops.TN:
		p.C, p.A = t.sum.View(s.M, s.N), t.A.View(s.K, s.M)
	}
	return p
}

func (p product) record() {
	if p.layout == ops.TN {
		p.c.GemmAdd(p.layout, p.C, p.C, p.A, p.B)
	} else {
		p.c.Gemm(p.layout, p.C, p.A, p.B)
	}
}

// kernels names what work runs, with the workgroups.
func (m meter) kernels(record func()) (string, error) {
	m.c.Device.Profile()
	record()
	err := m.c.Submit()
	var names []string
	for _, s := range m.c.Device.EndProfile() {
		names = append(names, fmt.Sprintf("%s %dx%dx%d", s.Name, s.Groups[0], s.Groups[1], s.Groups[2]))
	}
	return strings.Join(names, " + "), err
}
