package vk

import (
	vulkan "github.com/vulkan-go/vulkan"
)

const (
	// TexelBytes is the size of the texels that a kernel reads a region in: four 32-bit words.
	TexelBytes = 16
	keptViews  = 4096 // views of regions that are kept for the next dispatch that reads them
)

// texelView is a view of a region, with the list of commands that was the last to read it.
type texelView struct {
	handle vulkan.BufferView
	used   uint64 // Recorder.viewer
}

// view returns the region as texels of 16 bytes, for a list of commands. Views are kept until their buffer is freed,
// or until there are too many of them and no list that may still run reads them.
func (d *Device) view(r Region, viewer uint64) (vulkan.BufferView, error) {
	if v, ok := d.views[r]; ok {
		v.used = max(v.used, viewer)
		return v.handle, nil
	}
	info := vulkan.BufferViewCreateInfo{SType: vulkan.StructureTypeBufferViewCreateInfo, Buffer: r.Buffer.handle, Format: vulkan.FormatR32g32b32a32Uint,
		Offset: vulkan.DeviceSize(r.Offset), Range: vulkan.DeviceSize(r.Bytes)}
	defer info.Free()
	var v vulkan.BufferView
	if err := check(vulkan.CreateBufferView(d.handle, &info, nil, &v), "vkCreateBufferView"); err != nil {
		return nil, err
	}
	d.views[r] = &texelView{v, viewer}
	return v, nil
}

// newViewer is a number for a list of commands that reads views, higher than those before.
func (d *Device) newViewer() uint64 {
	d.lastViewer++
	d.viewers[d.lastViewer] = struct{}{}
	return d.lastViewer
}

// endViewer says that a list of commands reads views no more. Once there are many of them, those that no other list has
// read since the oldest that still lives are destroyed.
func (d *Device) endViewer(viewer uint64) {
	delete(d.viewers, viewer)
	if len(d.views) <= keptViews {
		return
	}
	oldest := d.lastViewer + 1
	for v := range d.viewers {
		oldest = min(oldest, v)
	}
	for r, v := range d.views {
		if v.used < oldest {
			vulkan.DestroyBufferView(d.handle, v.handle, nil)
			delete(d.views, r)
		}
	}
}

// dropViews destroys the views of a buffer, of every buffer for nil. The device must not be using them.
func (d *Device) dropViews(b *Buffer) {
	for r, v := range d.views {
		if b == nil || r.Buffer == b {
			vulkan.DestroyBufferView(d.handle, v.handle, nil)
			delete(d.views, r)
		}
	}
}
