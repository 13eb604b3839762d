package vk

import vulkan "github.com/vulkan-go/vulkan"

// What tests outside the package see of it.

// HideFromHost makes a buffer look as on a card with memory of its own: Write and Read go through staging.
func (b *Buffer) HideFromHost() { b.mapped = nil }

// ReadSlowly makes a buffer look as if its mapped memory were not cached.
func (b *Buffer) ReadSlowly() { b.uncached = true }

// TypesFor lists the memory types that suit a use on a device of a kind, the best first. Of each type there are its properties, as the
// Vulkan registry has them.
func TypesFor(memory Memory, kind string, properties []uint32, mask uint32) (list []int) {
	types := make([]memoryType, len(properties))
	for i, p := range properties {
		types[i] = memoryType{index: uint32(i), flags: vulkan.MemoryPropertyFlags(p)}
	}
	for _, t := range memory.suitable(types, mask, (&Info{Kind: kind, CPU: kind == "cpu"}).sharesMemory()) {
		list = append(list, int(t.index))
	}
	return list
}

// AddType makes it look as if there were one more type of memory, like the first and before it, of another heap.
func (d *Device) AddType(size int64) (end func()) {
	was := d.types
	more := was[0]
	more.size = size
	d.types = append([]memoryType{more}, was...)
	return func() { d.types = was }
}

// HeapSize is the size of the heap of the first type of memory.
func (d *Device) HeapSize() int64 { return d.types[0].size }

// StagingBytes is the size of the pieces that Write and Read stage.
const StagingBytes = stagingBytes

// Live counts what the device has made and not freed.
func (d *Device) Live() (buffers, pipelines, commandBuffers int) {
	return len(d.buffers), len(d.pipelines), len(d.idle) + len(d.busy)
}

// Results that Inject takes.
const (
	Success           = int(vulkan.Success)
	Timeout           = int(vulkan.Timeout)
	OutOfDeviceMemory = int(vulkan.ErrorOutOfDeviceMemory)
	DeviceLost        = int(vulkan.ErrorDeviceLost)
)

// Inject lets answer say what the driver answers to a call; nil ends it.
func (d *Device) Inject(answer func(call string) int) {
	if d.fault = nil; answer != nil {
		d.fault = func(call string) vulkan.Result { return vulkan.Result(answer(call)) }
	}
}

// Found ends the loss of a device that was never lost, so that Close waits for what it still does.
func (d *Device) Found() { d.lost, d.fault = nil, nil }

// WaitNoLonger makes a wait give up at the first timeout.
func (d *Device) WaitNoLonger() { d.waitLimit = 0 }

// Barriers says which of the recorded commands a barrier stands before.
func (r *Recorder) Barriers() []bool {
	list := make([]bool, len(r.ops))
	for i, op := range r.ops {
		list[i] = op.barrier == 1
	}
	return list
}

// DropBarriers removes the barriers of the recorded commands.
func (r *Recorder) DropBarriers() {
	for i := range r.ops {
		r.ops[i].barrier = 0
	}
}

// Submissions is the number of submissions that the recorded commands are cut into.
func (r *Recorder) Submissions() int { return len(r.cuts) + 1 }

// Cuts are the commands that begin a submission other than the first.
func (r *Recorder) Cuts() []int { return r.cuts }

// SubmitWork is submitWork.
func (d *Device) SubmitWork() float64 { return d.submitWork() }

// Pretend makes submissions those of another device: a CPU or a GPU, in a tier. It returns what ends that.
func (d *Device) Pretend(cpu bool, tier Tier) (end func()) {
	wasCPU, was := d.CPU, d.tier
	d.CPU, d.tier = cpu, tier
	return func() { d.CPU, d.tier = wasCPU, was }
}

// Choose is choose.
func Choose(list []Info, index int) (Info, error) { return choose(list, index) }

// WithMatrices is a GPU with cooperative matrices: of a subgroup, and, where there are some, of a workgroup.
func WithMatrices(list []Matrix, workgroup ...WorkgroupMatrix) Info {
	i := Info{Name: "GPU", SubgroupSize: 32, MatrixLanes: 32, core13: true, maintenance4: true, float16: true, matrix: true, memoryModel: true, fullSubgroups: true,
		Matrices: list, WorkgroupMatrices: workgroup, workgroupMatrix: len(workgroup) > 0}
	i.bfloat16 = i.BF16Matrices()
	return i
}

// Without takes a feature from a device.
func (i Info) Without(feature string) Info {
	switch feature {
	case "matrices":
		i.matrix = false
	case "memory model":
		i.memoryModel = false
	case "full subgroups":
		i.fullSubgroups = false
	case "bfloat16":
		i.bfloat16 = false
	case "maintenance4":
		i.maintenance4 = false
	case "Vulkan 1.3":
		i.core13 = false
	}
	return i
}

// Enabled are the types of the feature structures that a device is created with in a tier.
func (i Info) Enabled(tier Tier) (types []int32) {
	type head struct {
		sType int32
		next  *head
	}
	_, want := (&Device{Info: i}).extensionsFor(tier)
	for f := (*head)(featureChain(want)); f != nil; f = f.next {
		types = append(types, f.sType)
	}
	return types
}

// NewEnough is newEnough of a version of Vulkan.
func NewEnough(major, minor, patch int) bool {
	return newEnough(uint32(vulkan.MakeVersion(major, minor, patch)))
}

// KeptViews is the number of views that are kept.
const KeptViews = keptViews

// Views counts the regions that are readable as texels.
func (d *Device) Views() int { return len(d.views) }

// What chooses the width of lavapipe's vectors, and its cache.
var (
	Widen         = widen
	SeparateCache = separateCache
)

// Lavapipe is what is known of a CPU's driver by its text and the size of its subgroups.
func Lavapipe(text string, lanes int) Info {
	i := Info{Name: "llvmpipe", CPU: true, DriverInfo: text, SubgroupSize: lanes}
	i.describeLavapipe()
	return i
}
