package ops

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"
	"unsafe"

	"vkdomino/internal/fail"
	"vkdomino/shaders"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// blockBytes is the size of the buffers that small tensors share: so small that their unused ends
// are little beside any model, and yet few buffers beside the 4096 that every driver allows.
const blockBytes = 128 << 10

// Context is what ops record into: a device, its compiled kernels, its memory
// and the list of commands not yet submitted. A Context is used by one
// goroutine. A dry Context has no device: it only counts what is allocated.
type Context struct {
	Device *vk.Device
	// RowStable makes a GEMM give a row the same bits whatever the other rows are: decoding
	// turns it on, so that verifying a draft equals decoding token by token.
	RowStable bool
	// InOrder runs what Beside records where it is recorded: for comparison.
	InOrder bool
	// NoTexels reads everything from storage buffers on CPUs too: from the start where
	// the driver is slow with texels (vk.Info.FastTexels), and for comparison.
	NoTexels bool
	// PlainAttention runs attention without cooperative matrices where the tier has them: for comparison.
	// So do F32, heads of more than 128 elements or of no whole number of matrices, tensors that do not
	// start at multiples of 16 bytes, and RowStable.
	PlainAttention bool

	recorder   *vk.Recorder
	ahead      *List                                  // what is recorded now, see Ahead
	running    *List                                  // see Start
	pick       func(g gemm, list []gemmTile) gemmTile // chooses among gemmTiles; nil: tuned or usualTile
	shape      *attentionShape                        // of attention on cooperative matrices; nil: the first that fits
	tuning     *Tuning
	mostWork   float64 // of one product, see heavy; 0: any
	statistics bool    // compile kernels so that the driver tells of them
	kernels    map[kernelKey]*vk.Pipeline
	broken     map[kernelKey]error   // kernels that did not compile, not to be tried again; nil: not kept
	taken      map[*vk.Pipeline]bool // of kernels, what an op ran; nil: not asked for
	plan       []Allocation
	blocks     []*vk.Buffer
	used       [2]int64 // of the current block of each memory, in bytes
	current    [2]*vk.Buffer
	workspace  workspace
	other      workspace                // for what runs beside
	phases     map[string]time.Duration // see PhaseTimes
	tally      *Tally                   // set in a Context that only counts, see NewCounting
	err        error
}

// workspace is what ops need between their kernels.
type workspace struct {
	sums   tensors.Tensor // F32: partial sums of split GEMMs and reductions
	scales tensors.Tensor // I32 [2]: bits of the largest magnitudes of a GEMM's operands
}

// Allocation is one entry of the memory plan.
type Allocation struct {
	Name  string
	Bytes int64
}

// New returns a Context on a device.
func New(d *vk.Device) *Context {
	c := &Context{Device: d, recorder: d.NewRecorder(), NoTexels: !d.FastTexels, kernels: map[kernelKey]*vk.Pipeline{}}
	c.limitWork()
	return c
}

// limitWork keeps products on GPUs, which a watchdog may watch, to mostWork.
func (c *Context) limitWork() {
	if !c.Device.CPU {
		c.mostWork = mostWork
	}
}

// NewDry returns a Context that allocates nothing and runs nothing: what is
// allocated from it makes the memory plan.
func NewDry() *Context { return &Context{} }

// Dry reports whether the Context only counts what is allocated.
func (c *Context) Dry() bool { return c.Device == nil }

// idle reports whether nothing is allocated and nothing runs.
func (c *Context) idle() bool { return c.Dry() || c.tally != nil }

// Err is the first error of any op since the last Submit.
func (c *Context) Err() error { return c.err }

// Fail records an error, unless there is one already.
func (c *Context) Fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *Context) failf(format string, args ...any) { c.Fail(fmt.Errorf("ops: "+format, args...)) }

// want records an error unless t has the given shape.
func (c *Context) want(op, name string, t tensors.Tensor, shape ...int) bool {
	if !t.Is(shape...) {
		c.failf("%s: %s: want %v, got %v", op, name, shape, t.Shape)
	}
	return c.err == nil
}

// Alloc returns a device tensor of the given shape; its contents are undefined.
func (c *Context) Alloc(name string, dtype tensors.DType, shape ...int) tensors.Tensor {
	return c.alloc(name, vk.DeviceLocal, dtype, shape)
}

// AllocHost returns a tensor in memory that host and device both see, for step
// inputs and results.
func (c *Context) AllocHost(name string, dtype tensors.DType, shape ...int) tensors.Tensor {
	return c.alloc(name, vk.HostVisible, dtype, shape)
}

func (c *Context) alloc(name string, memory vk.Memory, dtype tensors.DType, shape []int) tensors.Tensor {
	t := tensors.Tensor{Name: name, DType: dtype, Shape: shape}
	bytes := (max(t.Bytes(), 1) + vk.Align - 1) / vk.Align * vk.Align
	c.plan = append(c.plan, Allocation{name, bytes})
	if c.idle() {
		t.Region.Bytes = t.Bytes()
		return t
	}
	b, offset, err := c.place(bytes, memory)
	if err != nil {
		c.Fail(fmt.Errorf("ops: allocating %s %v: %w", name, shape, err))
		return t
	}
	t.Region = vk.Region{Buffer: b, Offset: offset, Bytes: t.Bytes()}
	return t
}

// place finds room for an allocation: in the current block, or in a buffer of its own when it is large.
func (c *Context) place(bytes int64, memory vk.Memory) (*vk.Buffer, int64, error) {
	if bytes > blockBytes/4 {
		b, err := c.Device.NewBuffer(bytes, memory)
		if err == nil {
			c.blocks = append(c.blocks, b)
		}
		return b, 0, err
	}
	if c.current[memory] == nil || c.used[memory]+bytes > blockBytes {
		b, err := c.Device.NewBuffer(blockBytes, memory)
		if err != nil {
			return nil, 0, err
		}
		c.blocks = append(c.blocks, b)
		c.current[memory], c.used[memory] = b, 0
	}
	offset := c.used[memory]
	c.used[memory] += bytes
	return c.current[memory], offset, nil
}

// Release frees every tensor of the Context, and forgets what was recorded for them and not started; compiled kernels stay.
func (c *Context) Release() {
	if !c.idle() {
		c.recorder.Drop()
	}
	for _, b := range c.blocks {
		b.Free()
	}
	c.blocks, c.plan, c.current, c.used = nil, nil, [2]*vk.Buffer{}, [2]int64{}
	c.workspace, c.other = workspace{}, workspace{}
}

// Plan lists the allocations, the largest first, and their sum in bytes.
func (c *Context) Plan() ([]Allocation, int64) {
	list := append([]Allocation{}, c.plan...)
	sort.SliceStable(list, func(i, j int) bool { return list[i].Bytes > list[j].Bytes })
	var total int64
	for _, a := range list {
		total += a.Bytes
	}
	return list, total
}

// Submit runs what was recorded, in order, and waits. It returns the first
// error since the last Submit and clears it.
func (c *Context) Submit() error {
	err := c.err
	c.err = nil
	if c.idle() {
		return err
	}
	if err != nil {
		c.recorder.Drop()
		return err
	}
	if err := c.recorder.Submit(); err != nil {
		return err
	}
	c.readPhases()
	return nil
}

// Beside records a chain of ops whose results are needed later: its commands run between those
// recorded afterwards, where these have a barrier anyway; see vk.Recorder.Beside. The chain
// has a workspace of its own, which a dry Context counts.
func (c *Context) Beside(record func()) {
	c.workspace, c.other = c.other, c.workspace
	c.Reserve()
	if c.idle() || c.InOrder {
		record()
	} else {
		c.recorder.Beside(record)
	}
	c.workspace, c.other = c.other, c.workspace
}

// Upload writes raw elements to t, at once; within Ahead when the list starts.
func (c *Context) Upload(t tensors.Tensor, data []byte) {
	if c.err != nil || c.idle() {
		return
	}
	if int64(len(data)) != t.Bytes() {
		c.failf("upload %s: want %d bytes, got %d", t.Name, t.Bytes(), len(data))
		return
	}
	if c.ahead != nil {
		c.ahead.uploads = append(c.ahead.uploads, upload{t, slices.Clone(data)})
		return
	}
	if err := (upload{t, data}).write(c.Device); err != nil {
		c.Fail(err)
	}
}

// UploadF32 writes values to t in its own dtype (F32 or BF16), see Upload.
func (c *Context) UploadF32(t tensors.Tensor, values []float32) {
	switch t.DType {
	case tensors.F32:
		c.Upload(t, asBytes(values))
	case tensors.BF16:
		c.Upload(t, tensors.BF16Bytes(values))
	default:
		c.failf("upload %s: dtype %s", t.Name, t.DType)
	}
}

// UploadI32 writes integers to t, see Upload.
func (c *Context) UploadI32(t tensors.Tensor, values []int32) { c.Upload(t, asBytes(values)) }

// Download reads raw elements of t, as what was started leaves them. A counting Context reads zeros.
func (c *Context) Download(t tensors.Tensor) ([]byte, error) {
	if c.Dry() {
		return nil, errors.New("ops: download from a dry context")
	}
	data := make([]byte, t.Bytes())
	if c.idle() {
		return data, nil
	}
	if err := c.Device.Read(t.Region, data); err != nil {
		return nil, fmt.Errorf("ops: download %s: %w", t.Name, err)
	}
	return data, nil
}

// Float32s reads t (F32 or BF16) as float32 values, see Download.
func (c *Context) Float32s(t tensors.Tensor) ([]float32, error) {
	data, err := c.Download(t)
	if err != nil {
		return nil, err
	}
	out := make([]float32, t.Len())
	if t.DType == tensors.BF16 {
		half := make([]uint16, t.Len())
		copy(asBytes(half), data)
		return tensors.F32s(half), nil
	}
	copy(asBytes(out), data)
	return out, nil
}

// Int32s reads t as integers, see Download.
func (c *Context) Int32s(t tensors.Tensor) ([]int32, error) {
	data, err := c.Download(t)
	if err != nil {
		return nil, err
	}
	out := make([]int32, t.Len())
	copy(asBytes(out), data)
	return out, nil
}

// asBytes views a slice of plain numbers as bytes in the host's order, which is
// the device's.
func asBytes[T float32 | int32 | uint32 | uint16](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// Zero records filling t with zero bytes.
func (c *Context) Zero(t tensors.Tensor) {
	switch {
	case c.err != nil || c.idle() || t.Bytes() == 0:
	case t.Region.Offset%4 == 0 && t.Bytes()%4 == 0:
		c.recorder.Fill(t.Region, 0)
	default: // a fill is of whole words, and would reach beyond an odd number of bf16 elements
		c.run(launch{kernel: "zero." + storage(t), spec: c.flatSpec(), uses: []use{out(t)}, params: []uint32{uint32(t.Len())},
			groups: fold(ceilDiv(t.Len(), c.flatGroup()))})
	}
}

// Copy records copying src to dst, of the same dtype and length.
func (c *Context) Copy(dst, src tensors.Tensor) {
	if dst.DType != src.DType || dst.Len() != src.Len() {
		c.failf("copy %s %v to %s %v", src.Name, src.Shape, dst.Name, dst.Shape)
	}
	if c.err == nil && !c.idle() {
		c.recorder.Copy(dst.Region, src.Region)
	}
}

// kernelKey is a kernel with its specialisation constants.
type kernelKey struct {
	name  string
	count int
	spec  [maxSpec]uint32
}

// maxSpec is the largest number of specialisation constants of a kernel.
const maxSpec = 13

// pipeline compiles a kernel once per set of specialisation constants.
func (c *Context) pipeline(s vk.Shader) (*vk.Pipeline, error) {
	if len(s.Spec) > maxSpec {
		return nil, fmt.Errorf("ops: %s: want at most %d specialisation constants, got %d", s.Name, maxSpec, len(s.Spec))
	}
	key := kernelKey{name: s.Name, count: len(s.Spec)}
	copy(key.spec[:], s.Spec)
	if p := c.kernels[key]; p != nil {
		return p, nil
	}
	if c.tuning != nil && c.tuning.kernels[key] != nil {
		c.kernels[key] = c.tuning.kernels[key]
		return c.kernels[key], nil
	}
	if err := c.broken[key]; err != nil {
		return nil, err
	}
	p, err := c.compile(s)
	if err == nil {
		c.kernels[key] = p
	} else if c.broken != nil && !errors.Is(err, vk.ErrOutOfDeviceMemory) { // there may be more of that later
		c.broken[key] = err
	}
	return p, err
}

// compile compiles a kernel.
func (c *Context) compile(s vk.Shader) (p *vk.Pipeline, err error) {
	if s.SPIRV, err = shaders.SPIRV(s.Name); err != nil {
		return nil, err
	}
	s.Statistics = s.Statistics || c.statistics
	if p, err = c.Device.Compile(s); err != nil {
		return nil, fail.New(fail.CodeOf(err), compileHint(c.Device.Tier()), "%w", err)
	}
	return p, nil
}

// compileHint is what to do where a driver does not compile a kernel: the next lower tier may do.
func compileHint(t vk.Tier) string {
	const what = "the driver does not compile this kernel; "
	switch t {
	case vk.T3:
		return what + vk.TierVariable + "=2 does without matrices of a workgroup, " + vk.TierVariable + "=1 without any"
	case vk.T2:
		return what + vk.TierVariable + "=1 does without cooperative matrices"
	}
	return what + "run `vkdomino doctor`"
}
