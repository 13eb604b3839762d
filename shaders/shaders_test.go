package shaders_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/shaders"
)

// capabilities are those of the portable baseline: 16-bit storage and the subgroup operations that vk asks of every device.
var capabilities = map[uint32]string{
	1:    "Shader",
	61:   "GroupNonUniform",
	63:   "GroupNonUniformArithmetic",
	64:   "GroupNonUniformBallot",
	65:   "GroupNonUniformShuffle",
	4433: "StorageBuffer16BitAccess",
}

// texelCapabilities are those of kernels that read texel buffers: a stem, or variants of one.
var texelCapabilities = map[uint32]string{46: "SampledBuffer"}

// matrixCapabilities are those of kernels on cooperative matrices of a subgroup.
var matrixCapabilities = map[uint32]string{9: "Float16", 5116: "BFloat16TypeKHR", 5118: "BFloat16CooperativeMatrixKHR", 5345: "VulkanMemoryModel", 6022: "CooperativeMatrixKHR"}

// furtherCapabilities are those that kernels of some devices have beyond the baseline: on cooperative matrices, which vk asks for in
// the tiers T2 and T3, and on texel buffers, which every device has and CPUs are given.
var furtherCapabilities = map[string]map[uint32]string{
	"gemm_texel":                     texelCapabilities,
	"gru_scan_forward":               texelCapabilities,
	"gru_scan_backward":              texelCapabilities,
	"gemm_t2":                        matrixCapabilities,
	"block_attention_t2_backward_kv": matrixCapabilities,
	"block_attention_t2_backward_q":  matrixCapabilities,
	"block_attention_t2_forward":     matrixCapabilities,
	"causal_attention_t2_forward":    matrixCapabilities,
	"gemm_t3": {9: "Float16", 5116: "BFloat16TypeKHR", 5118: "BFloat16CooperativeMatrixKHR", 5345: "VulkanMemoryModel", 6022: "CooperativeMatrixKHR",
		5432: "CooperativeMatrixPerElementOperationsNV", 5433: "CooperativeMatrixTensorAddressingNV", 5439: "TensorAddressingNV"},
	"probe_workgroup": matrixCapabilities,
	"probe_matrix":    matrixCapabilities,
}

// floatAtomics are the opcodes whose result depends on the order in which invocations arrive.
var floatAtomics = map[uint32]string{6035: "OpAtomicFAddEXT", 5614: "OpAtomicFMinEXT", 5615: "OpAtomicFMaxEXT"}

// trigonometry are the instructions of GLSL.std.450 whose precision Vulkan leaves open: tables come from the host.
var trigonometry = map[uint32]string{13: "Sin", 14: "Cos", 15: "Tan"}

const (
	magic            = 0x07230203
	newestVersion    = 0x00010500 // SPIR-V 1.5, of Vulkan 1.2
	matrix2Version   = 0x00010600 // SPIR-V 1.6, of Vulkan 1.3
	opExtInst        = 12
	opExecutionMode  = 16
	opModeId         = 331
	opCapability     = 17
	opSpecComposite  = 51
	opDecorate       = 71
	opConstant       = 43
	opTypeFloat      = 22
	opTypePointer    = 32
	opTypeMatrix     = 4456 // OpTypeCooperativeMatrixKHR
	accumulator      = 2
	opVariable       = 59
	storageBuffer    = 12
	opMemberDecorate = 72
	decorateRestrict = 19
	decorateAliased  = 20
	decorateBinding  = 33
	decorateSet      = 34
	decorateBuiltIn  = 11
	workgroupSize    = 25 // the built-in that specialisation sets
	modeLocalSize    = 17
	modeLocalSizeId  = 38 // of SPIR-V 1.6 under maintenance4, which vk enables in T3 alone
	largestSubgroup  = 128
	mostBindings     = 8
)

// instruction is an opcode with its operands.
type instruction struct {
	op       uint32
	operands []uint32
}

// decode splits a module of at most a version into its instructions.
func decode(t *testing.T, words []uint32, newest uint32) []instruction {
	t.Helper()
	require.Greater(t, len(words), 5)
	require.EqualValues(t, magic, words[0])
	require.LessOrEqual(t, words[1], newest)
	var list []instruction
	for rest := words[5:]; len(rest) > 0; {
		n := rest[0] >> 16
		require.True(t, n > 0 && int(n) <= len(rest), "a cut module")
		list = append(list, instruction{rest[0] & 0xffff, rest[1:n]})
		rest = rest[n:]
	}
	return list
}

// names lists the committed modules.
func names(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("spv/*.spv")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(filepath.Base(p), ".spv")
	}
	return paths
}

// faults lists what a module has that the portable baseline and more, by number, have not.
func faults(list []instruction, more map[uint32]string) (found []string) {
	var invocations, size uint32                                                              // that the module fixes, and the number of the built-in
	decorated, blocks, buffers := map[uint32]bool{}, map[uint32]uint32{}, map[uint32]uint32{} // as Aliased or Restrict; by pointer type and by variable
	for _, i := range list {
		switch i.op {
		case opExecutionMode:
			if i.operands[1] == modeLocalSize {
				invocations = i.operands[2]
			}
		case opCapability:
			if capabilities[i.operands[0]] == "" && more[i.operands[0]] == "" {
				found = append(found, "a capability beyond the baseline")
			}
		case opExtInst:
			if name := trigonometry[i.operands[3]]; name != "" {
				found = append(found, name)
			}
		case opDecorate:
			decorated[i.operands[0]] = decorated[i.operands[0]] || i.operands[1] == decorateAliased
			if i.operands[1] == decorateBuiltIn && i.operands[2] == workgroupSize {
				size = i.operands[0]
			}
			if i.operands[1] == decorateBinding && i.operands[2] >= mostBindings || i.operands[1] == decorateSet && i.operands[2] != 0 {
				found = append(found, "a binding beyond 8 of set 0")
			}
		case opMemberDecorate:
			decorated[i.operands[0]] = decorated[i.operands[0]] || i.operands[2] == decorateRestrict
		case opTypePointer:
			blocks[i.operands[0]] = i.operands[2]
		case opVariable:
			if i.operands[2] == storageBuffer {
				buffers[i.operands[1]] = blocks[i.operands[0]]
			}
		case opSpecComposite:
			if i.operands[1] == size {
				invocations = 0
			}
		default:
			if name := floatAtomics[i.op]; name != "" {
				found = append(found, name)
			}
		}
	}
	for buffer, block := range buffers {
		if !decorated[buffer] && !decorated[block] {
			found = append(found, "a buffer that is neither Aliased nor restrict")
		}
	}
	if invocations%largestSubgroup != 0 {
		found = append(found, "a workgroup that is no whole number of subgroups")
	}
	return found
}

// TestModulesKeepToThePortableBaseline: no float atomics, no capability, binding or instruction that a device may lack.
func TestModulesKeepToThePortableBaseline(t *testing.T) {
	used := map[string]int{}
	for _, name := range names(t) {
		words, err := shaders.SPIRV(name)
		require.NoError(t, err)
		stem, _, _ := strings.Cut(name, ".")
		more, newest := furtherCapabilities[stem], uint32(newestVersion)
		if strings.HasSuffix(name, ".texel") {
			more = texelCapabilities
		}
		if stem == "gemm_t3" || stem == "probe_workgroup" {
			newest = matrix2Version
		}
		list := decode(t, words, newest)
		require.Empty(t, faults(list, more), name)
		require.Equal(t, newest == matrix2Version, sizedById(list), name)
		require.True(t, sumsOfF32(list), name)
		for _, i := range list {
			if i.op == opCapability && more[i.operands[0]] == "" {
				used[capabilities[i.operands[0]]]++
			}
		}
	}
	t.Logf("capabilities by number of modules: %v", used)
	require.Len(t, used, len(capabilities), "a capability that no module uses has no place in the list")
}

// sizedById reports whether a specialisation constant is named as the size of a module's workgroups.
func sizedById(list []instruction) bool {
	return slices.ContainsFunc(list, func(i instruction) bool { return i.op == opModeId && i.operands[1] == modeLocalSizeId })
}

// sumsOfF32 reports whether all matrices of sums are of f32, with which vk asks for matrices.
func sumsOfF32(list []instruction) bool {
	constants, f32 := map[uint32]uint32{}, map[uint32]bool{}
	for _, i := range list {
		switch i.op {
		case opConstant:
			constants[i.operands[1]] = i.operands[2]
		case opTypeFloat:
			f32[i.operands[0]] = i.operands[1] == 32
		case opTypeMatrix:
			if constants[i.operands[5]] == accumulator && !f32[i.operands[1]] {
				return false
			}
		}
	}
	return true
}

// TestFaultsAreSeen plants each fault in a module.
func TestFaultsAreSeen(t *testing.T) {
	words, err := shaders.SPIRV(names(t)[0])
	require.NoError(t, err)
	for _, planted := range [][]uint32{
		{6035, 1, 2, 3, 4, 5, 6}, {5614, 1, 2, 3, 4, 5, 6}, {5615, 1, 2, 3, 4, 5, 6}, // float atomics
		{opCapability, 6033}, {opCapability, 10}, // AtomicFloat32AddEXT, Float64
		{opExtInst, 1, 2, 3, 13, 4}, {opExtInst, 1, 2, 3, 14, 4}, // sin, cos
		{opDecorate, 7, decorateBinding, 8}, {opDecorate, 7, decorateSet, 1},
		{opExecutionMode, 1, modeLocalSize, 64, 1, 1},
		{opVariable, 9, 99999, storageBuffer},
	} {
		bad := append(slices.Clone(words), planted...)
		bad[len(words)] |= uint32(len(planted)) << 16
		require.Len(t, faults(decode(t, bad, newestVersion), nil), 1, "%v", planted)
	}
}

// TestManifestAndModules: each module of the manifest is there with its hash, and there is no other.
func TestManifestAndModules(t *testing.T) {
	text, err := os.ReadFile("manifest.json")
	require.NoError(t, err)
	var manifest struct {
		Tool    string
		Modules []struct {
			Name, Source string
			SPIRV        string `json:"spirv_sha256"`
		}
	}
	require.NoError(t, json.Unmarshal(text, &manifest))
	require.Contains(t, manifest.Tool, "shaderc")
	var listed []string
	for _, m := range manifest.Modules {
		listed = append(listed, m.Name)
		words, err := shaders.SPIRV(m.Name)
		require.NoError(t, err)
		var raw []byte
		for _, w := range words {
			raw = binary.LittleEndian.AppendUint32(raw, w)
		}
		hash := sha256.Sum256(raw)
		require.Equal(t, m.SPIRV, hex.EncodeToString(hash[:]), m.Name)
		require.FileExists(t, m.Source)
	}
	require.ElementsMatch(t, names(t), listed)
}

func TestUnknownModule(t *testing.T) {
	_, err := shaders.SPIRV("no_such.f32")
	require.EqualError(t, err, "shaders: no module no_such.f32")
}

// TestDigest depends on the modules of its prefix alone.
func TestDigest(t *testing.T) {
	seen := map[string]string{}
	for _, prefix := range []string{"", "gemm_t", "gemm_t2.", "gemm_t3.", "no such"} {
		digest, err := shaders.Digest(prefix)
		require.NoError(t, err)
		require.Len(t, digest, 64)
		require.NotContains(t, seen, digest, prefix)
		seen[digest] = prefix
		again, err := shaders.Digest(prefix)
		require.NoError(t, err)
		require.Equal(t, digest, again)
	}
}
