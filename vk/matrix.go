package vk

/*
#include "shim.h"
*/
import "C"

import (
	"slices"
	"strings"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

const (
	extMatrix     = "VK_KHR_cooperative_matrix"
	extMatrix2    = "VK_NV_cooperative_matrix2"
	extBfloat16   = "VK_KHR_shader_bfloat16"
	extStatistics = "VK_KHR_pipeline_executable_properties"

	componentF16    = 0
	componentF32    = 1
	componentBF16   = 1000141000
	scopeWorkgroup  = 2
	scopeSubgroup   = 3
	mostMatrices    = 256
	mostStatistics  = 64
	vendorIntel     = 0x8086
	statisticFormat = 3 // VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR: the others are integers
)

// matrixExtensions says which extensions for matrices and statistics a device of Vulkan 1.2 or newer lists, as a mask of the shim.
func matrixExtensions(p vulkan.PhysicalDevice, version uint32) (have C.uint32_t) {
	if !newEnough(version) {
		return 0
	}
	have = C.SHIM_CORE_1_2
	if version >= uint32(vulkan.MakeVersion(1, 3, 0)) {
		have |= C.SHIM_MAINTENANCE4
	}
	for name, bit := range map[string]C.uint32_t{extMatrix: C.SHIM_MATRIX, extBfloat16: C.SHIM_BFLOAT16, extMatrix2: C.SHIM_MATRIX2, extStatistics: C.SHIM_STATISTICS} {
		if hasDeviceExtension(p, name) {
			have |= bit
		}
	}
	return have
}

// describeMatrices fills in what a device can do with cooperative matrices.
func (i *Info) describeMatrices(p vulkan.PhysicalDevice, caps *C.shim_caps, vendor uint32) {
	// lavapipe of Mesa 26.1 crashes where it compiles them for a subgroup size other than 8.
	i.matrix = caps.matrix != 0 && !(i.CPU && i.SubgroupSize != 8)
	i.memoryModel = caps.memoryModel != 0
	i.bfloat16 = i.matrix && caps.bfloat16Matrix != 0
	i.float16 = caps.float16 != 0
	i.workgroupMatrix = i.matrix && caps.workgroupMatrix != 0
	i.maintenance4 = caps.maintenance4 != 0
	i.statistics = caps.statistics != 0
	i.MatrixDimension, i.ReservedShared = int(caps.matrixDimension), int(caps.reservedShared)
	i.MatrixLanes = i.SubgroupSize
	if vendor == vendorIntel && i.canRequireSize { // its matrices are those of the smallest subgroup
		i.MatrixLanes = i.minSubgroup
	}
	if i.matrix {
		i.Matrices = i.usableMatrices(listMatrices(p, false))
	}
	if i.workgroupMatrix && i.bfloat16 {
		for _, m := range listMatrices(p, true) {
			if m.scope == scopeWorkgroup && f32Sums(m, componentBF16) && int(m.invocations) <= min(i.MaxInvocations, int(caps.workgroupMatrixSize)) {
				i.WorkgroupMatrices = append(i.WorkgroupMatrices, WorkgroupMatrix{int(m.m), int(m.n), int(m.k), int(m.invocations)})
			}
		}
	}
}

func listMatrices(p vulkan.PhysicalDevice, flexible bool) []C.shim_matrix {
	var list [mostMatrices]C.shim_matrix
	n := C.shim_matrices(unsafe.Pointer(p), cbool(flexible), &list[0], mostMatrices)
	return list[:n]
}

func f32Sums(m C.shim_matrix, component C.int32_t) bool {
	return m.a == component && m.b == component && m.c == componentF32 && m.result == componentF32 && m.saturating == 0
}

// usableMatrices are those that there are kernels for, the best first and bf16 before f16.
func (i *Info) usableMatrices(listed []C.shim_matrix) (usable []Matrix) {
	for _, component := range []C.int32_t{componentBF16, componentF16} {
		if component == componentBF16 && !i.bfloat16 || component == componentF16 && !i.float16 {
			continue
		}
		for _, k := range knownMatrices {
			k.BF16 = component == componentBF16
			if slices.ContainsFunc(listed, func(m C.shim_matrix) bool {
				return m.scope == scopeSubgroup && int(m.m) == k.M && int(m.n) == k.N && int(m.k) == k.K && f32Sums(m, component)
			}) {
				usable = append(usable, k)
			}
		}
	}
	return usable
}

// extensionsFor are the extensions that the device is created with beyond the baseline's, and the features as a mask of the shim.
func (d *Device) extensionsFor(tier Tier) (names []string, want C.uint32_t) {
	add := func(name string, bit C.uint32_t) {
		names = append(names, name+"\x00")
		want |= bit
	}
	if d.statistics {
		add(extStatistics, C.SHIM_STATISTICS)
	}
	if tier < T2 {
		return names, want
	}
	add(extMatrix, C.SHIM_MATRIX)
	if d.bfloat16 {
		add(extBfloat16, C.SHIM_BFLOAT16)
	}
	if d.float16 {
		want |= C.SHIM_FLOAT16
	}
	if tier == T3 {
		add(extMatrix2, C.SHIM_MATRIX2|C.SHIM_MAINTENANCE4)
	}
	return names, want
}

// Statistic is a figure of the driver's compiler about a pipeline.
type Statistic struct {
	Name  string
	Value uint64
}

// TellsStatistics reports whether the driver tells what its compiler made of a pipeline.
func (d *Device) TellsStatistics() bool { return d.statistics }

// Statistics is what the driver tells of a pipeline compiled with Shader.Statistics: nothing
// where it does not tell.
func (p *Pipeline) Statistics() []Statistic { return p.statistics }

func (p *Pipeline) readStatistics() []Statistic {
	var list [mostStatistics]C.shim_statistic
	n := C.shim_statistics(unsafe.Pointer(p.device.handle), unsafe.Pointer(p.handle), &list[0], mostStatistics)
	figures := make([]Statistic, 0, n)
	for _, s := range list[:n] {
		if s.format != statisticFormat {
			figures = append(figures, Statistic{C.GoString(&s.name[0]), uint64(s.value)})
		}
	}
	return figures
}

// Spills is the sum of the figures that name memory for spilled registers, or such registers: NVIDIA's "Local Memory
// Size", NVK's "SLM size" and "Spills to memory", RADV's "Spilled VGPRs" and "Scratch size", ANV's "Spill count",
// Honeykrisp's "Spills", Turnip's "STP Count" (stores to an invocation's own memory). What is kept in other registers
// does not count: NVK's "Spills to reg", RADV's "Spilled SGPRs".
func Spills(figures []Statistic) (n uint64) {
	for _, s := range figures {
		name := strings.ToLower(s.Name)
		if strings.Contains(name, "to reg") || strings.Contains(name, "sgpr") {
			continue
		}
		for _, word := range []string{"spill", "scratch", "local memory", "slm", "stp count"} {
			if strings.Contains(name, word) {
				n += s.Value
				break
			}
		}
	}
	return n
}
