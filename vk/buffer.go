package vk

import (
	"fmt"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"

	"vkdomino/internal/fail"
)

// Align is the alignment of every region that is bound to a shader, in bytes:
// the largest minStorageBufferOffsetAlignment that Vulkan allows.
const Align = 256

// stagingBytes is the most that Write and Read stage at a time.
const stagingBytes = 16 << 20

// Buffer is a storage buffer with memory of its own.
type Buffer struct {
	device   *Device
	handle   vulkan.Buffer
	memory   vulkan.DeviceMemory
	bytes    int64
	taken    int64  // bytes of memory, which the driver may round up
	mapped   []byte // nil where the host cannot see it
	uncached bool   // mapped, but slow for the host to read
}

// Region is a range of bytes of a buffer.
type Region struct {
	Buffer        *Buffer
	Offset, Bytes int64
}

// Whole is the whole buffer as a region.
func (b *Buffer) Whole() Region { return Region{Buffer: b, Bytes: b.bytes} }

// Allocated is the memory of all buffers of the device, in bytes, as the driver was asked for it.
func (d *Device) Allocated() int64 {
	var total int64
	for b := range d.buffers {
		total += b.taken
	}
	return total
}

// NewBuffer allocates a buffer; its contents are undefined. Where there is not
// enough memory the error is ErrOutOfDeviceMemory.
func (d *Device) NewBuffer(bytes int64, memory Memory) (*Buffer, error) {
	bytes = max(bytes, Align)
	info := vulkan.BufferCreateInfo{SType: vulkan.StructureTypeBufferCreateInfo, Size: vulkan.DeviceSize(bytes),
		Usage: vulkan.BufferUsageFlags(vulkan.BufferUsageStorageBufferBit | vulkan.BufferUsageTransferSrcBit | vulkan.BufferUsageTransferDstBit)}
	if d.CPU {
		info.Usage |= vulkan.BufferUsageFlags(vulkan.BufferUsageUniformTexelBufferBit)
	}
	defer info.Free()
	b := &Buffer{device: d, bytes: bytes}
	var handle vulkan.Buffer
	r := d.inject("vkCreateBuffer")
	if r == vulkan.Success {
		r = vulkan.CreateBuffer(d.handle, &info, nil, &handle)
	}
	if err := check(r, fmt.Sprintf("vkCreateBuffer of %d bytes", bytes)); err != nil {
		return nil, err
	}
	b.handle = handle
	d.buffers[b] = struct{}{}
	if err := b.allocate(memory); err != nil {
		b.Free()
		return nil, err
	}
	return b, nil
}

func (b *Buffer) allocate(memory Memory) error {
	d := b.device
	var req vulkan.MemoryRequirements
	vulkan.GetBufferMemoryRequirements(d.handle, b.handle, &req)
	req.Deref()
	defer req.Free()
	shared := d.sharesMemory()
	list := memory.suitable(d.types, req.MemoryTypeBits, shared)
	if len(list) == 0 {
		return fail.New(fail.Other, "", "vk: %s offers no memory type for a buffer", d.Name)
	}
	var r vulkan.Result
	var flags vulkan.MemoryPropertyFlags
	for _, t := range list {
		flags = t.flags
		if r = b.take(req.Size, t); r == vulkan.Success {
			break
		}
	}
	if err := check(r, fmt.Sprintf("vkAllocateMemory of %d bytes", req.Size)); err != nil {
		return err
	}
	b.taken = int64(req.Size)
	if err := check(vulkan.BindBufferMemory(d.handle, b.handle, b.memory, 0), "vkBindBufferMemory"); err != nil {
		return err
	}
	if flags&visibleMemory != visibleMemory || memory == DeviceLocal && !shared {
		return nil
	}
	var p unsafe.Pointer
	if err := check(vulkan.MapMemory(d.handle, b.memory, 0, vulkan.DeviceSize(vulkan.WholeSize), 0, &p), "vkMapMemory"); err != nil {
		return err
	}
	b.mapped = unsafe.Slice((*byte)(p), b.bytes)
	b.uncached = memory == DeviceLocal && flags&cachedMemory == 0
	return nil
}

// take allocates the buffer's memory of a type.
func (b *Buffer) take(size vulkan.DeviceSize, t memoryType) vulkan.Result {
	d := b.device
	if int64(size) > t.size {
		return vulkan.ErrorOutOfDeviceMemory // which Vulkan does not let us ask for
	}
	info := vulkan.MemoryAllocateInfo{SType: vulkan.StructureTypeMemoryAllocateInfo, AllocationSize: size, MemoryTypeIndex: t.index}
	defer info.Free()
	var memory vulkan.DeviceMemory
	r := d.inject("vkAllocateMemory")
	if r == vulkan.Success {
		r = vulkan.AllocateMemory(d.handle, &info, nil, &memory)
	}
	if r == vulkan.Success {
		b.memory = memory
	}
	return r
}

// Free destroys the buffer, once commands that still run have ended. Lists that are not started must not use it.
func (b *Buffer) Free() {
	if _, live := b.device.buffers[b]; live {
		b.device.settle()
		delete(b.device.buffers, b)
		b.destroy()
	}
}

func (b *Buffer) destroy() {
	b.device.dropViews(b)
	vulkan.DestroyBuffer(b.device.handle, b.handle, nil)
	if b.memory != nil {
		vulkan.FreeMemory(b.device.handle, b.memory, nil)
	}
}

// Mapped is the host's view of a region, or nil where the host cannot see it.
// The device must be idle while the host reads or writes it.
func (r Region) Mapped() []byte {
	if r.Buffer.mapped == nil {
		return nil
	}
	return r.Buffer.mapped[r.Offset : r.Offset+r.Bytes]
}

// Write copies data to the start of a region, through a staging buffer where the host cannot see it. It waits for commands
// that still run, and so does Read.
func (d *Device) Write(dst Region, data []byte) error {
	if int64(len(data)) > dst.Bytes {
		return fmt.Errorf("vk: write of %d bytes to a region of %d", len(data), dst.Bytes)
	}
	if err := d.settle(); err != nil {
		return err
	}
	if m := dst.Mapped(); m != nil {
		copy(m, data)
		return nil
	}
	return d.staged(int64(len(data)), func(r *Recorder, staging Region, at int64) {
		copy(staging.Mapped(), data[at:])
		r.Copy(Region{dst.Buffer, dst.Offset + at, staging.Bytes}, staging)
	}, nil)
}

// Read copies the start of a region to data.
func (d *Device) Read(src Region, data []byte) error {
	if int64(len(data)) > src.Bytes {
		return fmt.Errorf("vk: read of %d bytes from a region of %d", len(data), src.Bytes)
	}
	if err := d.settle(); err != nil {
		return err
	}
	if m := src.Mapped(); m != nil && !src.Buffer.uncached {
		copy(data, m)
		return nil
	}
	return d.staged(int64(len(data)), func(r *Recorder, staging Region, at int64) {
		r.Copy(staging, Region{src.Buffer, src.Offset + at, staging.Bytes})
	}, func(staging Region, at int64) { copy(data[at:], staging.Mapped()) })
}

// staged moves total bytes in pieces that fit a staging buffer, which lives as long as that takes.
func (d *Device) staged(total int64, record func(r *Recorder, staging Region, at int64), after func(staging Region, at int64)) error {
	b, err := d.NewBuffer(min(total, stagingBytes), HostVisible)
	if err != nil {
		return err
	}
	defer func() {
		if d.lost == nil { // else the device may be using it still: Close frees it
			b.Free()
		}
	}()
	for at := int64(0); at < total; at += stagingBytes {
		piece := Region{b, 0, min(stagingBytes, total-at)}
		r := d.NewRecorder()
		record(r, piece, at)
		if err := r.Submit(); err != nil {
			return err
		}
		if after != nil {
			after(piece, at)
		}
	}
	return nil
}
