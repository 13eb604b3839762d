package vk

/*
#include "shim.h"
*/
import "C"

import (
	"cmp"
	"fmt"
	"math"
	"time"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Access says how a dispatch uses a buffer.
type Access uint8

// Read, Write or both.
const (
	Read      Access = 1
	Write     Access = 2
	ReadWrite Access = Read | Write
)

// Bind is a region bound to a dispatch, with its use.
type Bind struct {
	Region
	Access Access
}

// Dispatch is one run of a kernel.
type Dispatch struct {
	Pipeline *Pipeline
	Binds    []Bind
	Push     []byte
	Groups   [3]uint32
	Work     float64 // estimated floating-point operations, for cutting submissions
}

const (
	plainWork  = 1.5e11 // 0.15 s on a slow device of 1 TFLOP/s, well under every watchdog
	matrixWork = 1.5e12 // the same on matrices at 10 TFLOP/s, which is slow for them
	maxGroups  = 65535  // the workgroups in a dimension that Vulkan guarantees
	waitSlice  = time.Second
	waitLimit  = 20 * time.Minute // a CPU driver may need minutes for one step of a large model
)

// Recorder collects commands and puts barriers between those that depend on
// each other, from the reads and writes they declare.
type Recorder struct {
	device  *Device
	ops     []C.shim_op
	cuts    []int // ends of submissions, as indices into ops
	names   []string
	costs   []cost
	marks   []string // labels of the timestamps
	work    float64
	pending []Bind    // uses since the last barrier
	beside  bool      // what is recorded now waits
	waiting []command // see Beside
	viewer  uint64    // of commands that read buffers as texels; 0 where none does
	sealed  []vulkan.CommandBuffer
	before  int   // commands in sealed
	started bool  // and not waited for by its owner
	ended   error // how the list went, and what its timestamps were, once it was waited for
	times   []Mark
	err     error
}

// command is one entry of the list with what it uses.
type command struct {
	op    cOp
	binds []Bind
	name  string
	work  float64
}

// NewRecorder starts an empty command list.
func (d *Device) NewRecorder() *Recorder { return &Recorder{device: d} }

// conflicts reports whether a use must wait for an earlier one: they overlap and one of them writes.
func (b Bind) conflicts(o Bind) bool {
	return b.Buffer == o.Buffer && (b.Access|o.Access)&Write != 0 &&
		b.Offset < o.Offset+o.Bytes && o.Offset < b.Offset+b.Bytes
}

// order decides whether a barrier must stand before a command that uses binds.
func (r *Recorder) order(binds []Bind) C.uint32_t {
	if conflict(binds, r.pending) {
		r.pending = append(r.pending[:0], binds...)
		return 1
	}
	r.pending = append(r.pending, binds...)
	return 0
}

func (op *cOp) bind(i int, b Region) {
	op.buffers[i] = C.uint64_t(uintptr(unsafe.Pointer(b.Buffer.handle)))
	op.offsets[i] = C.uint64_t(b.Offset)
	op.ranges[i] = C.uint64_t(b.Bytes)
}

type cOp C.shim_op

// cost is what a command takes: floating-point operations, and bytes read and written.
type cost struct {
	work  float64
	bytes int64
}

// submitWork is how much work of several commands one submission holds, so that no watchdog fires. A CPU driver has none.
func (d *Device) submitWork() float64 {
	switch {
	case d.CPU:
		return math.Inf(1)
	case d.tier >= T2:
		return matrixWork
	}
	return plainWork
}

// push appends a command to the list, behind a barrier where it needs one. A submission begins with a barrier (fill), so that
// what was used before it needs no other.
func (r *Recorder) push(c command) {
	if r.work+c.work > r.device.submitWork() && r.work > 0 {
		r.cuts = append(r.cuts, len(r.ops))
		r.work, r.pending, c.op.barrier = 0, r.pending[:0], 1
	}
	c.op.barrier |= r.order(c.binds)
	r.work += c.work
	r.ops = append(r.ops, C.shim_op(c.op))
	r.names = append(r.names, c.name)
	r.costs = append(r.costs, cost{c.work, traffic(c.binds)})
}

// within reports whether the region lies in its buffer.
func (r Region) within() bool {
	return r.Buffer != nil && r.Offset >= 0 && r.Bytes >= 0 && r.Bytes <= r.Buffer.bytes && r.Offset <= r.Buffer.bytes-r.Bytes
}

func (r Region) String() string {
	if r.Buffer == nil {
		return fmt.Sprintf("%d bytes at %d of no buffer", r.Bytes, r.Offset)
	}
	return fmt.Sprintf("%d bytes at %d of %d", r.Bytes, r.Offset, r.Buffer.bytes)
}

// valid says what is wrong with a dispatch.
func (r *Recorder) valid(d Dispatch) error {
	p := d.Pipeline
	if len(d.Binds) != p.buffers || len(d.Push) != p.pushBytes {
		return fmt.Errorf("vk: dispatch %s: want %d buffers and %d push bytes, got %d and %d", p.Name, p.buffers, p.pushBytes, len(d.Binds), len(d.Push))
	}
	if g := d.Groups; max(g[0], g[1], g[2]) > maxGroups {
		return fmt.Errorf("vk: dispatch %s: want at most %d groups in each dimension, got %v", p.Name, maxGroups, g)
	}
	for i, b := range d.Binds {
		if !b.within() || b.Bytes == 0 || b.Offset%Align != 0 || b.Bytes > r.device.MaxBindingBytes {
			return fmt.Errorf("vk: dispatch %s: buffer %d: want an offset that is a multiple of %d and 1 to %d bytes, got %s",
				p.Name, i, Align, r.device.MaxBindingBytes, b.Region)
		}
		if p.texels>>i&1 != 0 && (!r.device.CPU || b.Access != Read || b.Bytes%TexelBytes != 0 || b.Bytes/TexelBytes > r.device.MaxTexels) {
			return fmt.Errorf("vk: dispatch %s: buffer %d: want 1 to %d texels of %d bytes that are read, on a CPU, got %s",
				p.Name, i, r.device.MaxTexels, TexelBytes, b.Region)
		}
	}
	return nil
}

// traffic is what a command reads and writes if it touches every bound byte once in each way.
func traffic(binds []Bind) int64 {
	var n int64
	for _, b := range binds {
		if b.Access&Read != 0 {
			n += b.Bytes
		}
		if b.Access&Write != 0 {
			n += b.Bytes
		}
	}
	return n
}

// Dispatch records one run of a kernel; a dispatch without groups records nothing.
func (r *Recorder) Dispatch(d Dispatch) {
	if r.err != nil || d.Groups[0] == 0 || d.Groups[1] == 0 || d.Groups[2] == 0 {
		return
	}
	if r.err = r.valid(d); r.err != nil {
		return
	}
	p := d.Pipeline
	var op cOp
	for i, b := range d.Binds {
		op.bind(i, b.Region)
		if p.texels>>i&1 != 0 {
			if r.viewer == 0 {
				r.viewer = r.device.newViewer()
			}
			view, err := r.device.view(b.Region, r.viewer)
			if err != nil {
				r.err = err
				return
			}
			op.buffers[i] = C.uint64_t(uintptr(unsafe.Pointer(view)))
		}
	}
	op.texels = C.uint32_t(p.texels)
	op.kind = C.SHIM_DISPATCH
	op.bufferCount = C.uint32_t(len(d.Binds))
	op.pushBytes = C.uint32_t(len(d.Push))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&op.push[0])), MaxPushBytes), d.Push)
	op.x, op.y, op.z = C.uint32_t(d.Groups[0]), C.uint32_t(d.Groups[1]), C.uint32_t(d.Groups[2])
	op.pipeline = C.uint64_t(uintptr(unsafe.Pointer(p.handle)))
	op.layout = C.uint64_t(uintptr(unsafe.Pointer(p.layout)))
	r.add(command{op, d.Binds, p.Name, d.Work})
}

// Copy records a copy of min(dst, src) bytes; the regions must not overlap.
func (r *Recorder) Copy(dst, src Region) {
	n := min(dst.Bytes, src.Bytes)
	if r.err != nil || n == 0 {
		return
	}
	to, from := Bind{Region{dst.Buffer, dst.Offset, n}, Write}, Bind{Region{src.Buffer, src.Offset, n}, Read}
	if !to.within() || !from.within() || to.conflicts(from) {
		r.err = fmt.Errorf("vk: copy: want two regions apart from each other, got %s to %s", from.Region, to.Region)
		return
	}
	var op cOp
	op.kind = C.SHIM_COPY
	op.bind(0, to.Region)
	op.bind(1, from.Region)
	r.add(command{op, []Bind{to, from}, "copy", 0})
}

// Fill records filling a region (offset and size multiples of 4) with a 32-bit word.
func (r *Recorder) Fill(dst Region, word uint32) {
	if r.err != nil || dst.Bytes == 0 {
		return
	}
	if !dst.within() || dst.Offset%4 != 0 || dst.Bytes%4 != 0 {
		r.err = fmt.Errorf("vk: fill: want offset and size to be multiples of 4, got %s", dst)
		return
	}
	var op cOp
	op.kind = C.SHIM_FILL
	op.bind(0, dst)
	op.push[0] = C.uint32_t(word)
	r.add(command{op, []Bind{{dst, Write}}, "fill", 0})
}

// Submit runs the recorded commands in order, waits for the last, and empties the list.
func (r *Recorder) Submit() error {
	if err := r.Start(); err != nil {
		return err
	}
	return r.Wait()
}

// Seal hands what was recorded to the driver, so that Start has less to do. What is recorded afterwards comes
// behind it. Other lists may run meanwhile.
func (r *Recorder) Seal() error {
	r.err = r.seal(false)
	return r.err
}

// seal fills command buffers with what was recorded; last says that nothing follows.
func (r *Recorder) seal(last bool) error {
	if r.err != nil || r.device.lost != nil || r.device.profile != nil && len(r.sealed) == 0 || len(r.ops) == 0 && !(last && len(r.sealed) > 0) {
		return r.err
	}
	start := 0
	for _, end := range append(r.cuts, len(r.ops)) {
		cb, err := r.device.fill(r.ops[start:end], last && end == len(r.ops))
		if err != nil {
			return err
		}
		r.sealed = append(r.sealed, cb)
		start = end
	}
	r.before += len(r.ops)
	r.ops, r.cuts, r.costs, r.pending, r.work = r.ops[:0], r.cuts[:0], r.costs[:0], r.pending[:0], 0
	return nil
}

// Start submits the recorded commands and does not wait for them, but for those of another list that may still run.
// Wait must follow before anything else is recorded. After an error the list is empty.
func (r *Recorder) Start() error {
	err := r.start()
	if err != nil {
		r.reset()
	}
	return err
}

func (r *Recorder) start() error {
	d := r.device
	lost := d.settle()
	r.release(len(r.waiting))
	if len(r.marks) > 0 {
		r.Mark("end")
	}
	if err := cmp.Or(r.err, lost); err != nil {
		return err
	}
	if d.profile != nil && len(r.sealed) == 0 {
		r.started = true
		return r.submitProfiled()
	}
	if err := r.seal(true); err != nil {
		return err
	}
	for i, cb := range r.sealed {
		if err := d.submit(cb, i == len(r.sealed)-1); err != nil {
			r.sealed = r.sealed[i+1:] // the device is lost: what was submitted is not asked for again
			return err
		}
	}
	r.started = true
	if len(r.sealed) > 0 {
		d.running = r
	}
	r.sealed = r.sealed[:0]
	return nil
}

// Wait waits for what Start submitted, and empties the list; it does nothing where nothing was started.
func (r *Recorder) Wait() error {
	if !r.started {
		return nil
	}
	if r.device.running == r {
		r.device.settle()
	}
	err := r.ended
	if c := r.device.clock; c != nil {
		c.marks = r.times
	}
	r.reset()
	return err
}

// Drop empties a list that was not started.
func (r *Recorder) Drop() {
	if !r.started {
		r.reset()
	}
}

// settle waits for the list that runs, if any, and leaves the outcome to its owner's Wait. The error is that of a
// device which is lost or hangs: what the host sees of its memory then means nothing.
func (d *Device) settle() error {
	if r := d.running; r != nil {
		d.running = nil
		if r.ended = d.wait(fmt.Sprintf("%d commands, the last of them %s", r.before, r.names[len(r.names)-1])); r.ended == nil {
			r.times, r.ended = d.readMarks(r.marks)
		}
	}
	return d.lost
}

func (r *Recorder) reset() {
	d := r.device
	d.idle = append(d.idle, r.sealed...)
	if r.viewer != 0 {
		d.endViewer(r.viewer)
	}
	*r = Recorder{device: d, ops: r.ops[:0], cuts: r.cuts[:0], names: r.names[:0], costs: r.costs[:0], marks: r.marks[:0],
		pending: r.pending[:0], waiting: r.waiting[:0], sealed: r.sealed[:0]}
}

// fill records ops into a command buffer; the last of a list makes its results visible to the host.
func (d *Device) fill(ops []C.shim_op, last bool) (vulkan.CommandBuffer, error) {
	if len(d.idle) == 0 {
		list := make([]vulkan.CommandBuffer, 1)
		info := vulkan.CommandBufferAllocateInfo{SType: vulkan.StructureTypeCommandBufferAllocateInfo, CommandPool: d.pool,
			Level: vulkan.CommandBufferLevelPrimary, CommandBufferCount: 1}
		err := check(vulkan.AllocateCommandBuffers(d.handle, &info, list), "vkAllocateCommandBuffers")
		info.Free()
		if err != nil {
			return nil, err
		}
		d.idle = list
	}
	cb := d.idle[len(d.idle)-1]
	begin := vulkan.CommandBufferBeginInfo{SType: vulkan.StructureTypeCommandBufferBeginInfo, Flags: vulkan.CommandBufferUsageFlags(vulkan.CommandBufferUsageOneTimeSubmitBit)}
	err := check(vulkan.BeginCommandBuffer(cb, &begin), "vkBeginCommandBuffer")
	begin.Free()
	if err != nil {
		return nil, err
	}
	d.idle = d.idle[:len(d.idle)-1]
	if len(ops) > 0 {
		ops[0].barrier = 1 // the commands of earlier submissions come before
	}
	C.shim_record(unsafe.Pointer(cb), unsafe.SliceData(ops), C.uint32_t(len(ops)), cbool(last))
	if err := check(vulkan.EndCommandBuffer(cb), "vkEndCommandBuffer"); err != nil {
		d.idle = append(d.idle, cb)
		return nil, err
	}
	return cb, nil
}

// submit queues a command buffer; the last of a list signals the fence.
func (d *Device) submit(cb vulkan.CommandBuffer, last bool) error {
	d.busy = append(d.busy, cb)
	var fence unsafe.Pointer
	if last {
		fence = unsafe.Pointer(d.fence)
	}
	r := d.inject("vkQueueSubmit")
	if r == vulkan.Success {
		r = vulkan.Result(C.shim_submit(unsafe.Pointer(d.queue), unsafe.Pointer(cb), fence))
	}
	return d.latch(check(r, "vkQueueSubmit"))
}

// wait blocks until the fence signals, and makes the command buffers reusable.
func (d *Device) wait(what string) error {
	for start := time.Now(); ; {
		r := vulkan.Result(C.shim_wait(unsafe.Pointer(d.handle), unsafe.Pointer(d.fence), C.uint64_t(waitSlice)))
		if r == vulkan.Success {
			r = d.inject("vkWaitForFences")
		}
		if r == vulkan.Timeout && time.Since(start) < d.waitLimit {
			continue
		}
		if err := d.latch(check(r, "waiting for "+what)); err != nil {
			return err
		}
		break
	}
	d.idle, d.busy = append(d.idle, d.busy...), d.busy[:0]
	return check(vulkan.ResetFences(d.handle, 1, []vulkan.Fence{d.fence}), "vkResetFences")
}

// latch remembers that the device is lost or hangs: nothing more is submitted to it.
func (d *Device) latch(err error) error {
	if err != nil {
		d.lost = err
	}
	return err
}
