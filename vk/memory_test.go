package vk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/vk"
)

// Properties of memory types, as the Vulkan registry has them.
const (
	local, visible, coherent, cached = 1, 2, 4, 8
	mapped                           = visible | coherent
	lazy, protected, amdCoherent     = 16, 32, 64
	rdma                             = 256
)

// TestMemoryTypes: which types of memory a device takes for which use, in which order, by the types that drivers list.
func TestMemoryTypes(t *testing.T) {
	nvidia := []uint32{0, local, mapped, mapped | cached, local | mapped}
	radv := []uint32{local, local, mapped, local | mapped, local | mapped, mapped | cached, local | amdCoherent, local | mapped | amdCoherent}
	apu := []uint32{local, mapped, local | mapped, local | mapped | cached}
	for _, c := range []struct {
		name, kind   string
		properties   []uint32
		device, host []int
		without      uint32 // types that a buffer cannot have, as a mask
	}{
		{name: "a card with a window", kind: "discrete", properties: nvidia, device: []int{1, 4}, host: []int{3, 2, 4}},
		{name: "a card, lent to a guest", kind: "virtual", properties: nvidia, device: []int{1, 4}, host: []int{3, 2, 4}},
		{name: "what is no kind", kind: "other", properties: nvidia, device: []int{1, 4}, host: []int{3, 2, 4}},
		{name: "types that must be enabled", kind: "discrete", properties: radv, device: []int{0, 1, 3, 4}, host: []int{5, 2, 3, 4}},
		{name: "protected, lazy", kind: "discrete", properties: []uint32{local | protected, local | lazy, local, mapped}, device: []int{2}, host: []int{3}},
		{name: "properties beside", kind: "discrete", properties: []uint32{local | rdma, mapped}, device: []int{0}, host: []int{1}},
		{name: "shared memory, cached", kind: "integrated", properties: apu, device: []int{3, 2, 0}, host: []int{3, 1, 2}},
		{name: "shared memory, one type", kind: "cpu", properties: []uint32{local | mapped | cached}, device: []int{0}, host: []int{0}},
		{name: "all of a card in its window", kind: "discrete", properties: []uint32{local | mapped, mapped | cached}, device: []int{0}, host: []int{1, 0}},
		{name: "visible, not coherent", kind: "discrete", properties: []uint32{local, visible, mapped}, device: []int{0}, host: []int{2}},
		{name: "not for buffers", kind: "discrete", properties: nvidia, without: 1<<1 | 1<<3, device: []int{4}, host: []int{2, 4}},
		{name: "none", kind: "discrete", properties: []uint32{0}},
	} {
		require.Equal(t, c.device, vk.TypesFor(vk.DeviceLocal, c.kind, c.properties, ^c.without), c.name)
		require.Equal(t, c.host, vk.TypesFor(vk.HostVisible, c.kind, c.properties, ^c.without), c.name)
	}
}

// TestNextMemoryType: where a heap is too small, or the driver has no more of it, the next type is taken.
func TestNextMemoryType(t *testing.T) {
	d := testgpu.Device(t)
	defer d.Inject(nil)
	for _, c := range []struct {
		name           string
		heap           int64
		refusals, asks int
	}{
		{"too small", 4096, 0, 1}, {"full", d.HeapSize() - 1, 1, 2}, {"both full", d.HeapSize() - 1, 2, 2},
	} {
		asked, before := 0, d.Allocated()
		d.Inject(func(call string) int {
			if call != "vkAllocateMemory" {
				return vk.Success
			}
			asked++
			if asked <= c.refusals {
				return vk.OutOfDeviceMemory
			}
			return vk.Success
		})
		end := d.AddType(c.heap)
		b, err := d.NewBuffer(1<<20, vk.DeviceLocal)
		end()
		require.Equal(t, c.asks, asked, c.name)
		if c.refusals == c.asks {
			outOfMemory(t, err)
			continue
		}
		require.NoError(t, err, c.name)
		require.Equal(t, before+1<<20, d.Allocated(), c.name)
		b.Free()
		require.Equal(t, before, d.Allocated(), c.name)
	}
}

// TestSlowReads: mapped memory that the host would read slowly goes through staging.
func TestSlowReads(t *testing.T) {
	d := testgpu.Device(t)
	b, err := d.NewBuffer(1000, vk.DeviceLocal)
	require.NoError(t, err)
	defer b.Free()
	want, got := pattern(1000, 3), make([]byte, 1000)
	require.NoError(t, d.Write(b.Whole(), want))
	b.ReadSlowly()
	made := 0
	defer d.Inject(nil)
	d.Inject(func(call string) int {
		if call == "vkCreateBuffer" {
			made++
		}
		return vk.Success
	})
	require.NoError(t, d.Read(b.Whole(), got))
	require.Equal(t, want, got)
	require.Equal(t, 1, made)
}

// TestAvailableMemory: a driver's budget counts where it is less than the heap, and is told of where it is much less.
func TestAvailableMemory(t *testing.T) {
	for _, c := range []struct {
		budget, want int64
		shared       bool
	}{{0, 1000, false}, {1000, 1000, false}, {1200, 1000, false}, {950, 950, false}, {900, 900, true}, {10, 10, true}} {
		have, shared := vk.Info{HeapBytes: 1000, BudgetBytes: c.budget}.Available()
		require.Equal(t, c.want, have)
		require.Equal(t, c.shared, shared, c.budget)
	}
}

// TestMemoryNow: the budget is read anew, where the driver tells of one.
func TestMemoryNow(t *testing.T) {
	d := testgpu.Device(t)
	if d.BudgetBytes > 0 {
		d.BudgetBytes = 1
		require.Greater(t, d.Now().BudgetBytes, int64(1))
	}
	require.Equal(t, d.HeapBytes, d.Now().HeapBytes)
	require.Equal(t, d.Name, d.Now().Name)
	t.Logf("budget %d of %d bytes", d.Now().BudgetBytes, d.HeapBytes)
	require.Empty(t, d.Messages())
}
