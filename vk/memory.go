package vk

/*
#include "shim.h"
*/
import "C"

import (
	"slices"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Memory says where a buffer lives.
type Memory int

const (
	// DeviceLocal memory is the device's own; mapped too where the device shares the host's memory.
	DeviceLocal Memory = iota
	// HostVisible memory is mapped and coherent: step inputs and results.
	HostVisible
)

// Properties of a memory type, as the Vulkan registry has them.
const (
	localMemory   = vulkan.MemoryPropertyFlags(vulkan.MemoryPropertyDeviceLocalBit)
	visibleMemory = vulkan.MemoryPropertyFlags(vulkan.MemoryPropertyHostVisibleBit | vulkan.MemoryPropertyHostCoherentBit)
	cachedMemory  = vulkan.MemoryPropertyFlags(vulkan.MemoryPropertyHostCachedBit)
	barredMemory  = vulkan.MemoryPropertyFlags(0x10 | 0x20 | 0x40 | 0x80) // lazily allocated, protected; coherent or uncached on AMD's devices: where enabled only
)

// memoryType is a type of memory with the heap that it takes from.
type memoryType struct {
	index, heap uint32
	flags       vulkan.MemoryPropertyFlags
	size        int64 // of the heap
}

// memoryTypes lists a device's types of memory, in its own order: of equal ones the better first.
func memoryTypes(p vulkan.PhysicalDevice) []memoryType {
	var mp vulkan.PhysicalDeviceMemoryProperties
	defer mp.Free()
	vulkan.GetPhysicalDeviceMemoryProperties(p, &mp)
	mp.Deref()
	list := make([]memoryType, mp.MemoryTypeCount)
	for i := range list {
		t := mp.MemoryTypes[i]
		t.Deref()
		h := mp.MemoryHeaps[t.HeapIndex]
		h.Deref()
		list[i] = memoryType{uint32(i), t.HeapIndex, t.PropertyFlags, int64(h.Size)}
	}
	return list
}

// largestLocal is the largest heap of the device's own memory, and its size.
func largestLocal(types []memoryType) (heap uint32, size int64) {
	for _, t := range types {
		if t.flags&localMemory != 0 && t.size > size {
			heap, size = t.heap, t.size
		}
	}
	return heap, size
}

// readMemory fills in how much memory there is, and how much this process may have of it at present.
func (i *Info) readMemory(p vulkan.PhysicalDevice) {
	heap, size := largestLocal(memoryTypes(p))
	i.HeapBytes, i.BudgetBytes = size, 0
	if hasDeviceExtension(p, extBudget) {
		i.BudgetBytes = int64(C.shim_heap_budget(unsafe.Pointer(p), C.uint32_t(heap)))
	}
}

// Now is Info with the memory that there is at present.
func (d *Device) Now() Info {
	i := d.Info
	i.readMemory(d.physical)
	return i
}

// Available is how much of the device's memory this process may have, what it has included: all of it where the driver does not
// tell. less says that a tenth of it or more is missing.
func (i Info) Available() (bytes int64, less bool) {
	if i.BudgetBytes <= 0 || i.BudgetBytes >= i.HeapBytes {
		return i.HeapBytes, false
	}
	return i.BudgetBytes, i.BudgetBytes <= i.HeapBytes/10*9
}

// sharesMemory reports whether the device's memory is the host's, so that mapping it costs nothing. A virtual device may
// be a card whose mapped memory is a small window.
func (i *Info) sharesMemory() bool { return i.CPU || i.Kind == "integrated" }

// wish is what a type of memory should have, and what not.
type wish struct{ has, lacks vulkan.MemoryPropertyFlags }

// wishes are the types that suit a use, the best first.
func (m Memory) wishes(shared bool) []wish {
	hostVisible := vulkan.MemoryPropertyFlags(vulkan.MemoryPropertyHostVisibleBit)
	switch {
	case m == HostVisible: // a card's own memory is slow for the host, and its window small
		return []wish{{visibleMemory | cachedMemory, 0}, {visibleMemory, localMemory}, {visibleMemory, 0}}
	case shared:
		return []wish{{localMemory | visibleMemory | cachedMemory, 0}, {localMemory | visibleMemory, 0}, {localMemory, 0}}
	}
	return []wish{{localMemory, hostVisible}, {localMemory, 0}}
}

// suitable lists the types, among those of a mask, that suit a use, the best first.
func (m Memory) suitable(types []memoryType, mask uint32, shared bool) (list []memoryType) {
	for _, w := range m.wishes(shared) {
		for _, t := range types {
			if mask&(1<<t.index) != 0 && t.flags&w.has == w.has && t.flags&(w.lacks|barredMemory) == 0 && !slices.Contains(list, t) {
				list = append(list, t)
			}
		}
	}
	return list
}
