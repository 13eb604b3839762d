package vk

import (
	"fmt"
	"strings"

	"vkdomino/internal/fail"
)

// Tier names the set of kernels that suits a device.
type Tier int

// The tiers that exist. TierAuto picks by the device. T2 and T3 multiply bf16 matrices; what
// they do not cover runs on the kernels of T1.
const (
	TierAuto Tier = iota - 1
	T0            // CPU drivers (lavapipe): subgroup-shuffle GEMM
	T1            // any GPU: shared-memory FMA GEMM
	T2            // GPUs with VK_KHR_cooperative_matrix
	T3            // GPUs with VK_NV_cooperative_matrix2 at workgroup scope
)

var tierNames = [...]string{"T0 (CPU: subgroup shuffle)", "T1 (GPU: shared-memory FMA)", "T2 (GPU: matrices of a subgroup)", "T3 (GPU: matrices of a workgroup)"}

func (t Tier) String() string {
	if t < T0 || t > T3 {
		return "auto"
	}
	return tierNames[t]
}

// TierVariable names the environment variable that asks for a tier instead of the device's own.
const TierVariable = "VKDOMINO_TIER"

// ParseTier reads a tier as TierVariable holds it: 0 to 3, or auto or nothing for TierAuto.
func ParseTier(text string) (Tier, error) {
	switch text {
	case "", "auto":
		return TierAuto, nil
	case "0", "1", "2", "3":
		return Tier(text[0] - '0'), nil
	}
	return TierAuto, fail.New(fail.Usage, "unset "+TierVariable+" to use the device's own tier", "vk: tier: want auto, 0, 1, 2 or 3, got %q", text)
}

// Tier is the tier chosen for the device. T2 and T3 are chosen where the device multiplies bf16
// matrices; T2 with f16 matrices (Lacks) runs only where it is asked for.
func (i Info) Tier() Tier {
	switch {
	case i.CPU && i.SubgroupSize <= 16:
		return T0
	case len(i.Lacks(T3)) == 0:
		return T3
	case len(i.Lacks(T2)) == 0 && i.BF16Matrices():
		return T2
	}
	return T1
}

// BF16Matrices reports whether the device multiplies bf16 matrices of one of the sizes that there are kernels for.
func (i Info) BF16Matrices() bool {
	for _, m := range i.Matrices {
		if m.BF16 {
			return true
		}
	}
	return false
}

// Tiers lists the tiers that may be asked for on the device.
func (i Info) Tiers() (list []Tier) {
	for t := T0; t <= T3; t++ {
		if len(i.Lacks(t)) == 0 {
			list = append(list, t)
		}
	}
	return list
}

// Lacks names what the device lacks for a tier; nothing for T0 and T1, which every usable device runs.
func (i Info) Lacks(t Tier) (what []string) {
	need := func(ok bool, name string) {
		if !ok {
			what = append(what, name)
		}
	}
	if t == T2 || t == T3 {
		need(i.matrix, extMatrix)
		need(i.memoryModel, "vulkanMemoryModel and vulkanMemoryModelDeviceScope")
		need(i.fullSubgroups, "subgroupSizeControl and computeFullSubgroups")
	}
	switch t {
	case T2:
		need(!i.matrix || len(i.Matrices) > 0, "matrices of bf16 or f16 with f32 sums in a size of "+strings.Join(matrixSizes(), ", "))
	case T3:
		need(i.core13, "Vulkan 1.3")
		need(!i.core13 || i.maintenance4, "maintenance4")
		need(i.float16, "shaderFloat16")
		need(i.bfloat16, "bfloat16 matrices ("+extBfloat16+")")
		need(i.workgroupMatrix, "workgroup scope, flexible dimensions, operations on elements and tensor addressing of "+extMatrix2)
		need(!i.workgroupMatrix || len(i.WorkgroupMatrices) > 0, "bf16 matrices with f32 sums at workgroup scope")
	}
	return what
}

// checkTier is an error where the device cannot run a tier.
func (i Info) checkTier(t Tier) error {
	if lacks := i.Lacks(t); len(lacks) > 0 {
		return fail.New(fail.Usage, "unset "+TierVariable+" to use the device's own tier", "vk: device %d (%s): tier %s: it lacks %s",
			i.Index, i.Name, t, strings.Join(lacks, ", "))
	}
	return nil
}

// Matrix is a product of cooperative matrices of a subgroup, A of M x K by B of K x N elements,
// bf16 or f16, with sums in f32.
type Matrix struct {
	M, N, K int
	BF16    bool
}

// Size is M, N and K as the kernels' names have them.
func (m Matrix) Size() string { return fmt.Sprintf("%dx%dx%d", m.M, m.N, m.K) }

func (m Matrix) String() string {
	if m.BF16 {
		return m.Size() + " bf16"
	}
	return m.Size() + " f16"
}

// knownMatrices are the sizes that there are kernels for, the best first: sizes are literals in
// SPIR-V, because not every driver takes them as specialisation constants.
var knownMatrices = []Matrix{{M: 16, N: 16, K: 16}, {M: 16, N: 8, K: 16}, {M: 8, N: 16, K: 16}, {M: 8, N: 8, K: 8}}

func matrixSizes() (names []string) {
	for _, m := range knownMatrices {
		names = append(names, m.Size())
	}
	return names
}

// WorkgroupMatrix is a product of bf16 cooperative matrices of a workgroup with sums in f32: sizes
// are multiples of M, N and K, workgroups have Invocations.
type WorkgroupMatrix struct{ M, N, K, Invocations int }
