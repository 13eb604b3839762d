package bench

import (
	"fmt"
	"strings"

	"vkdomino/ops"
	"vkdomino/tensors"
)

// OpReport is every op at the shapes of a preset.
type OpReport struct {
	Device    Device  `json:"device"`
	Peaks     Peaks   `json:"peaks"`
	Preset    string  `json:"preset"`
	Precision string  `json:"precision"`
	Rows      []OpRow `json:"ops"`
}

// OpRow is one op at one shape.
type OpRow struct {
	Op    string `json:"op"`
	Shape string `json:"shape"`
	Timing
	Tera float64 `json:"tflops,omitempty"`        // of its matrix kernels' work
	Giga float64 `json:"gb_per_second,omitempty"` // of the bytes it must read and write
	// Share is the larger of the two over the device's own peak.
	Share float64 `json:"share_of_peak"`
}

// opCase is an op ready to run.
type opCase struct {
	op, shape string
	// bytes are those that the op must read and write where that is not what its kernels bind: rows that are looked up.
	bytes  float64
	result tensors.Tensor // looked at for finite numbers; empty where it holds integers
	record func()
}

// opTable lists the cases of a group; each group is built by itself, so that their tensors need not fit at one time.
var opTable = []func(s opShapes) []opCase{
	opShapes.rowOps, opShapes.mlpOps, opShapes.headOps, opShapes.attentionOps, opShapes.causalOps, opShapes.productOps,
	opShapes.gruOps, opShapes.lossOps, opShapes.optimizerOps, opShapes.decodingOps, opShapes.samplingOps,
}

// decodingTable is its part that a training step has not.
var decodingTable = opTable[len(opTable)-2:]

// Op measures every op at the shapes that the preset's step, or decoding with its draft, has.
// Nothing else must use the device meanwhile; tensors of the context are released.
func Op(c *ops.Context, p Preset, dtype tensors.DType, runs int) (*OpReport, error) {
	m, err := newMeter(c, runs)
	if err != nil {
		return nil, err
	}
	r := &OpReport{Device: DeviceOf(c.Device), Preset: p.Name, Precision: strings.ToLower(dtype.String())}
	if r.Peaks, err = MeasurePeaks(c); err != nil {
		return nil, err
	}
	for _, group := range opTable {
		c.Release()
		for _, k := range group(newOpShapes(m, p, dtype)) {
			row, err := m.op(k, r.Peaks)
			if err != nil {
				return nil, err
			}
			r.Rows = append(r.Rows, row)
		}
	}
	return r, nil
}

// op measures one case.
func (m meter) op(k opCase, peaks Peaks) (OpRow, error) {
	row := OpRow{Op: k.op, Shape: k.shape}
	var err error
	if row.Timing, err = m.time(k.record); err != nil {
		return row, fmt.Errorf("bench: %s: %w", k.op, err)
	}
	if k.result.Shape != nil {
		if err := m.finite(k.op, k.result); err != nil {
			return row, err
		}
	}
	d := m.c.Device
	d.Profile()
	k.record()
	err = m.c.Submit()
	work, bytes := 0.0, 0.0
	for _, s := range d.EndProfile() {
		if ops.MatrixKernel(s.Name) {
			work += s.Work
		} else {
			bytes += float64(s.Bytes)
		}
	}
	if k.bytes > 0 {
		bytes = k.bytes
	}
	row.Tera, row.Giga = row.perSecond(work)/1e12, row.perSecond(bytes)/1e9
	row.Share = max(row.Tera/peaks.Compute(), row.Giga/peaks.Bandwidth())
	return row, err
}

// opShapes builds the cases of a preset. Letters are those of spec.md §1.1.
type opShapes struct {
	m                           meter
	p                           Preset
	dtype                       tensors.DType
	Q, T, H, I, q, kv, hd, V, G int
	heads                       ops.Heads
}

func newOpShapes(m meter, p Preset, dtype tensors.DType) opShapes {
	d := p.Draft
	return opShapes{m: m, p: p, dtype: dtype, Q: p.Batch * p.Anchors * d.BlockSize, T: p.Batch * p.SeqLen, H: d.HiddenSize, I: d.IntermediateSize,
		q: d.NumHeads * d.HeadDim, kv: d.NumKVHeads * d.HeadDim, hd: d.HeadDim, V: d.VocabSize, G: d.GRUHiddenDim,
		heads: ops.Heads{Query: d.NumHeads, KV: d.NumKVHeads, Dim: d.HeadDim}}
}

// rows is a random tensor in the storage dtype, floats one in f32.
func (s opShapes) rows(shape ...int) tensors.Tensor { return s.m.tensor("rows", s.dtype, shape...) }
func (s opShapes) floats(shape ...int) tensors.Tensor {
	return s.m.tensor("floats", tensors.F32, shape...)
}

// ints uploads n integers.
func (s opShapes) ints(n int, value func(i int) int, shape ...int) tensors.Tensor {
	if shape == nil {
		shape = []int{n}
	}
	t := s.m.c.AllocHost("ints", tensors.I32, shape...)
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(value(i))
	}
	s.m.c.UploadI32(t, v)
	return t
}

func dims(list ...int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", "x"), "[]")
}

// lookup are the bytes of n rows of cols elements that are read by their index and written.
func (s opShapes) lookup(n, cols int) float64 { return float64(n) * float64(2*cols*s.dtype.Size()+4) }
