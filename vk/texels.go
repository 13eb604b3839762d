package vk

import (
	vulkan "github.com/vulkan-go/vulkan"
)

const (
	// TexelBytes is the size of the texels that a kernel reads a region in: four 32-bit words.
	TexelBytes = 16
	keptViews  = 4096 // views of regions that are kept for the next dispatch that reads them
)

// view returns the region as texels of 16 bytes. Views are kept until their buffer is freed,
// or until there are too many of them when the device is idle.
func (d *Device) view(r Region) (vulkan.BufferView, error) {
	if v, ok := d.views[r]; ok {
		return v, nil
	}
	info := vulkan.BufferViewCreateInfo{SType: vulkan.StructureTypeBufferViewCreateInfo, Buffer: r.Buffer.handle, Format: vulkan.FormatR32g32b32a32Uint,
		Offset: vulkan.DeviceSize(r.Offset), Range: vulkan.DeviceSize(r.Bytes)}
	defer info.Free()
	var v vulkan.BufferView
	if err := check(vulkan.CreateBufferView(d.handle, &info, nil, &v), "vkCreateBufferView"); err != nil {
		return nil, err
	}
	d.views[r] = v
	return v, nil
}

// trimViews destroys the views once there are many and no recorder has a use for one. The device must be idle.
func (d *Device) trimViews() {
	if d.viewUsers == 0 && len(d.views) > keptViews {
		d.dropViews(nil)
	}
}

// dropViews destroys the views of a buffer, of every buffer for nil. The device must not be using them.
func (d *Device) dropViews(b *Buffer) {
	for r, v := range d.views {
		if b == nil || r.Buffer == b {
			vulkan.DestroyBufferView(d.handle, v, nil)
			delete(d.views, r)
		}
	}
}
