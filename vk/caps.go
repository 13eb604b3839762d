package vk

/*
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"

	"vkdomino/internal/plural"
)

// Info describes a physical device: what it is, its limits, and what it lacks.
type Info struct {
	Index              int
	Name, Kind         string // Kind: discrete, integrated, virtual, cpu, other
	Driver, DriverInfo string
	Identity           string // of device and driver: changes with either
	APIVersion         string
	CPU                bool
	MaxBindingBytes    int64 // maxStorageBufferRange
	MaxTexels          int64 // maxTexelBufferElements: texels of 16 bytes that a kernel can read of a region; used on CPUs
	FastTexels         bool  // a CPU whose driver loads texels faster than words of a storage buffer
	FastestTexels      bool  // so much that NT products gain by it too
	Broadcasts         bool  // subgroupBroadcast of a constant lane is cheap, subgroupShuffle is not
	SharedBytes        int   // maxComputeSharedMemorySize
	MaxInvocations     int   // maxComputeWorkGroupInvocations
	SubgroupSize       int
	HeapBytes          int64    // the largest device-local heap
	BudgetBytes        int64    // what this process may have of it, when Info was read; 0 where the driver does not tell
	Missing            []string // what vkdomino needs and the device does not offer

	Matrices          []Matrix          // cooperative matrices that there are kernels for, the best first
	WorkgroupMatrices []WorkgroupMatrix // cooperative matrices of a workgroup
	MatrixLanes       int               // the subgroup size of kernels with cooperative matrices
	MatrixDimension   int               // the largest dimension of a workgroup's matrix
	ReservedShared    int               // shared memory that the driver keeps for a workgroup's matrices, in bytes

	minSubgroup, maxSubgroup int
	fullSubgroups            bool
	canRequireSize           bool
	matrix, memoryModel      bool // features: cooperativeMatrix, vulkanMemoryModel with device scope
	bfloat16, float16        bool // components of matrices
	core13                   bool // Vulkan 1.3 or newer
	workgroupMatrix          bool
	maintenance4             bool // workgroups whose size a specialisation constant names (LocalSizeId), as those of T3
	statistics               bool // pipelineExecutableInfo
	queueFamily              uint32
	timestampBits            uint32
	timestampPeriod          float64 // nanoseconds of a tick
}

const (
	stageComputeBit        = 0x20
	subgroupBasic          = 0x1
	subgroupArithmetic     = 0x4
	subgroupBallot         = 0x8
	subgroupShuffle        = 0x10
	minimumInvocations     = 128
	minimumSharedBytes     = 16 << 10
	minimumBindingBytes    = 128 << 20
	minimumTexels          = 65536
	requiredPushConstBytes = 128
)

var deviceKinds = map[vulkan.PhysicalDeviceType]string{
	vulkan.PhysicalDeviceTypeDiscreteGpu: "discrete", vulkan.PhysicalDeviceTypeIntegratedGpu: "integrated",
	vulkan.PhysicalDeviceTypeVirtualGpu: "virtual", vulkan.PhysicalDeviceTypeCpu: "cpu",
}

func hasDeviceExtension(p vulkan.PhysicalDevice, name string) bool {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	return C.shim_has_device_extension(unsafe.Pointer(p), n) != 0
}

func cbool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// describe reads what a physical device is and can do.
func describe(index int, p vulkan.PhysicalDevice) Info {
	var props vulkan.PhysicalDeviceProperties
	defer props.Free()
	vulkan.GetPhysicalDeviceProperties(p, &props)
	props.Deref()
	props.Limits.Deref()
	v := props.ApiVersion
	core13 := v >= vulkan.MakeVersion(1, 3, 0)
	sizeControl := core13 || hasDeviceExtension(p, extSizeControl)
	have := matrixExtensions(p, v)
	if sizeControl {
		have |= C.SHIM_SIZE_CONTROL
	}
	if newEnough(uint32(v)) || hasDeviceExtension(p, extDriverProps) {
		have |= C.SHIM_DRIVER
	}
	var caps C.shim_caps
	C.shim_capabilities(unsafe.Pointer(p), have, &caps)

	info := Info{Index: index, Name: vulkan.ToString(props.DeviceName[:]), Kind: deviceKinds[props.DeviceType],
		Driver: C.GoString(&caps.driverName[0]), DriverInfo: C.GoString(&caps.driverInfo[0]),
		APIVersion:      fmt.Sprintf("%d.%d.%d", v>>22, v>>12&0x3ff, v&0xfff),
		Identity:        fmt.Sprintf("%04x-%04x-%08x-%x", props.VendorID, props.DeviceID, props.DriverVersion, props.PipelineCacheUUID),
		CPU:             props.DeviceType == vulkan.PhysicalDeviceTypeCpu,
		MaxBindingBytes: int64(props.Limits.MaxStorageBufferRange), MaxTexels: int64(props.Limits.MaxTexelBufferElements), SharedBytes: int(props.Limits.MaxComputeSharedMemorySize),
		MaxInvocations: int(props.Limits.MaxComputeWorkGroupInvocations), SubgroupSize: int(caps.subgroupSize),
		minSubgroup: int(caps.minSubgroupSize), maxSubgroup: int(caps.maxSubgroupSize),
		core13: core13, fullSubgroups: caps.subgroupSizeControl != 0 && caps.fullSubgroups != 0}
	info.canRequireSize = info.fullSubgroups && caps.requiredSubgroupSizeStages&stageComputeBit != 0
	info.readMemory(p)
	info.timestampPeriod = float64(props.Limits.TimestampPeriod)
	info.describeLavapipe()
	if info.Kind == "" {
		info.Kind = "other"
	}
	info.describeMatrices(p, &caps, props.VendorID)
	var bits C.uint32_t
	family := C.shim_compute_queue_family(unsafe.Pointer(p), &bits)
	info.queueFamily, info.timestampBits = uint32(family), uint32(bits)

	need := func(ok bool, what string) {
		if !ok {
			info.Missing = append(info.Missing, what)
		}
	}
	ops := uint32(caps.subgroupOperations)
	need(family >= 0, "a compute queue")
	need(newEnough(uint32(v)), "Vulkan 1.2")
	need(hasDeviceExtension(p, extPushDesc), extPushDesc)
	need(caps.storage16 != 0, "storageBuffer16BitAccess")
	need(uint32(caps.subgroupStages)&stageComputeBit != 0, "subgroup operations in compute shaders")
	const used = subgroupBasic | subgroupArithmetic | subgroupBallot | subgroupShuffle
	need(ops&used == used, "subgroup arithmetic, ballot and shuffle")
	need(props.Limits.MaxPushConstantsSize >= requiredPushConstBytes, "128 bytes of push constants")
	need(info.SubgroupSize >= 4 && info.SubgroupSize <= 128, "a subgroup size between 4 and 128")
	return info
}

// newEnough reports whether a version of Vulkan takes the modules: SPIR-V 1.5 came with 1.2.
func newEnough(version uint32) bool { return version >= uint32(vulkan.MakeVersion(1, 2, 0)) }

// Devices lists the Vulkan devices of this machine.
func Devices() ([]Info, error) {
	in, err := openInstance(false)
	if err != nil {
		return nil, err
	}
	list := in.describe()
	if slices.ContainsFunc(list, widen) {
		in.close()
		if in, err = openInstance(false); err != nil {
			return nil, err
		}
		list = in.describe()
	}
	in.close()
	return list, nil
}

func (in *instance) describe() []Info {
	list := make([]Info, len(in.physical))
	for i, p := range in.physical {
		list[i] = describe(i, p)
	}
	return list
}

// choose picks the device to use: the given index, or, for -1, the best kind of
// device that lacks nothing (discrete, integrated, virtual, other, cpu).
func choose(list []Info, index int) (Info, error) {
	if index >= len(list) {
		return Info{}, fmt.Errorf("vk: device %d: found %s, numbered from 0: %w", index, plural.Of(len(list), "device"), ErrNoDevice)
	}
	if index >= 0 {
		if m := list[index].Missing; len(m) > 0 {
			return Info{}, fmt.Errorf("vk: device %d (%s) lacks %s: %w", index, list[index].Name, strings.Join(m, ", "), ErrNoDevice)
		}
		return list[index], nil
	}
	var lacks []string
	for _, kind := range []string{"discrete", "integrated", "virtual", "other", "cpu"} {
		for _, d := range list {
			if d.Kind != kind {
				continue
			}
			if len(d.Missing) == 0 {
				return d, nil
			}
			lacks = append(lacks, d.Name+" lacks "+strings.Join(d.Missing, ", "))
		}
	}
	return Info{}, fmt.Errorf("vk: %w: %s", ErrNoDevice, strings.Join(lacks, "; "))
}
