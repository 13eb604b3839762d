package vk_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vulkanNames are the structures of shim.h by Vulkan's names: the own name with Vk for Shim, but for these.
var vulkanNames = map[string]string{
	"ShimPipelineShaderStageCreateInfo": "VkPipelineShaderStageCreateInfo",
	"ShimRequiredSubgroupSize":          "VkPipelineShaderStageRequiredSubgroupSizeCreateInfo",
	"ShimFeatures2":                     "VkPhysicalDeviceFeatures2",
	"Shim16BitStorageFeatures":          "VkPhysicalDevice16BitStorageFeatures",
	"ShimSubgroupSizeControlFeatures":   "VkPhysicalDeviceSubgroupSizeControlFeatures",
	"ShimProperties2":                   "VkPhysicalDeviceProperties2",
	"ShimSubgroupProperties":            "VkPhysicalDeviceSubgroupProperties",
	"ShimSubgroupSizeControlProperties": "VkPhysicalDeviceSubgroupSizeControlProperties",
	"ShimDriverProperties":              "VkPhysicalDeviceDriverProperties",
	"ShimMessengerCallbackDataHead":     "VkDebugUtilsMessengerCallbackDataEXT",
	"ShimMessengerCreateInfo":           "VkDebugUtilsMessengerCreateInfoEXT",
	"ShimValidationFeatures":            "VkValidationFeaturesEXT",
	"ShimMemoryModelFeatures":           "VkPhysicalDeviceVulkanMemoryModelFeatures",
	"ShimFloat16Int8Features":           "VkPhysicalDeviceShaderFloat16Int8Features",
	"ShimMatrixFeatures":                "VkPhysicalDeviceCooperativeMatrixFeaturesKHR",
	"ShimBfloat16Features":              "VkPhysicalDeviceShaderBfloat16FeaturesKHR",
	"ShimMatrix2Features":               "VkPhysicalDeviceCooperativeMatrix2FeaturesNV",
	"ShimMatrix2Properties":             "VkPhysicalDeviceCooperativeMatrix2PropertiesNV",
	"ShimMatrixProperties":              "VkCooperativeMatrixPropertiesKHR",
	"ShimFlexibleMatrixProperties":      "VkCooperativeMatrixFlexibleDimensionsPropertiesNV",
	"ShimMaintenance4Features":          "VkPhysicalDeviceMaintenance4Features",
	"ShimMemoryProperties2":             "VkPhysicalDeviceMemoryProperties2",
	"ShimMemoryBudget":                  "VkPhysicalDeviceMemoryBudgetPropertiesEXT",
	"ShimExecutableFeatures":            "VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR",
	"ShimPipelineInfo":                  "VkPipelineInfoKHR",
	"ShimExecutableProperties":          "VkPipelineExecutablePropertiesKHR",
	"ShimExecutableInfo":                "VkPipelineExecutableInfoKHR",
	"ShimExecutableStatistic":           "VkPipelineExecutableStatisticKHR",
}

// newer are the structures and constants that older headers lack, by the macro of the extension that brought them.
var newer = map[string]string{
	"ShimMatrixFeatures": "VK_KHR_cooperative_matrix", "ShimMatrixProperties": "VK_KHR_cooperative_matrix",
	"ST_MATRIX_FEATURES": "VK_KHR_cooperative_matrix", "ST_MATRIX_PROPERTIES": "VK_KHR_cooperative_matrix",
	"ShimBfloat16Features": "VK_KHR_shader_bfloat16", "ST_BFLOAT16": "VK_KHR_shader_bfloat16",
	"ShimMatrix2Features": "VK_NV_cooperative_matrix2", "ShimMatrix2Properties": "VK_NV_cooperative_matrix2",
	"ShimFlexibleMatrixProperties": "VK_NV_cooperative_matrix2", "ST_FLEXIBLE_MATRIX": "VK_NV_cooperative_matrix2",
	"ST_MATRIX2_FEATURES": "VK_NV_cooperative_matrix2", "ST_MATRIX2_PROPERTIES": "VK_NV_cooperative_matrix2",
}

// heads are the structures of which shim.h declares the leading members only.
var heads = []string{"ShimMessengerCallbackDataHead"}

// vulkanMembers are the members that Vulkan calls otherwise.
var vulkanMembers = map[string]string{"ShimQueueFamilyProperties.granularity": "minImageTransferGranularity"}

// vulkanConstants are the constants of shim.c by Vulkan's names.
var vulkanConstants = map[string]string{
	"ST_SUBMIT_INFO":                  "VK_STRUCTURE_TYPE_SUBMIT_INFO",
	"ST_SHADER_STAGE":                 "VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO",
	"ST_COMPUTE_PIPELINE":             "VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO",
	"ST_WRITE_DESCRIPTOR_SET":         "VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET",
	"ST_MEMORY_BARRIER":               "VK_STRUCTURE_TYPE_MEMORY_BARRIER",
	"ST_FEATURES_2":                   "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2",
	"ST_PROPERTIES_2":                 "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2",
	"ST_16BIT_STORAGE":                "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES",
	"ST_SUBGROUP_PROPERTIES":          "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES",
	"ST_DEBUG_MESSENGER":              "VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT",
	"ST_DRIVER_PROPERTIES":            "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES",
	"ST_SIZE_CONTROL_PROPERTIES":      "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES",
	"ST_REQUIRED_SUBGROUP_SIZE":       "VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO",
	"ST_SIZE_CONTROL_FEATURES":        "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES",
	"ST_VALIDATION_FEATURES":          "VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT",
	"STAGE_COMPUTE":                   "VK_SHADER_STAGE_COMPUTE_BIT",
	"QUEUE_COMPUTE":                   "VK_QUEUE_COMPUTE_BIT",
	"FULL_SUBGROUPS":                  "VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT",
	"BIND_COMPUTE":                    "VK_PIPELINE_BIND_POINT_COMPUTE",
	"DESCRIPTOR_STORAGE_BUFFER":       "VK_DESCRIPTOR_TYPE_STORAGE_BUFFER",
	"DESCRIPTOR_UNIFORM_TEXEL_BUFFER": "VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER",
	"PIPE_COMPUTE":                    "VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT",
	"PIPE_TRANSFER":                   "VK_PIPELINE_STAGE_TRANSFER_BIT",
	"PIPE_BOTTOM":                     "VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT",
	"PIPE_HOST":                       "VK_PIPELINE_STAGE_HOST_BIT",
	"ACCESS_SHADER_READ":              "VK_ACCESS_SHADER_READ_BIT",
	"ACCESS_SHADER_WRITE":             "VK_ACCESS_SHADER_WRITE_BIT",
	"ACCESS_TRANSFER_READ":            "VK_ACCESS_TRANSFER_READ_BIT",
	"ACCESS_TRANSFER_WRITE":           "VK_ACCESS_TRANSFER_WRITE_BIT",
	"ACCESS_HOST_READ":                "VK_ACCESS_HOST_READ_BIT",
	"SEVERITY_ERROR":                  "VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT",
	"VALIDATE_SYNCHRONIZATION":        "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT",
	"NOT_PRESENT":                     "VK_ERROR_EXTENSION_NOT_PRESENT",
	"ST_FLOAT16_INT8":                 "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES",
	"ST_BFLOAT16":                     "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR",
	"ST_MEMORY_MODEL":                 "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES",
	"ST_EXECUTABLE_FEATURES":          "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR",
	"ST_PIPELINE_INFO":                "VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR",
	"ST_EXECUTABLE_PROPERTIES":        "VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR",
	"ST_EXECUTABLE_INFO":              "VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR",
	"ST_EXECUTABLE_STATISTIC":         "VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR",
	"ST_MATRIX_FEATURES":              "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR",
	"ST_MATRIX_PROPERTIES":            "VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR",
	"ST_MATRIX2_FEATURES":             "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV",
	"ST_FLEXIBLE_MATRIX":              "VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES_NV",
	"ST_MATRIX2_PROPERTIES":           "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_PROPERTIES_NV",
	"ST_MAINTENANCE4":                 "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_FEATURES",
	"ST_MEMORY_PROPERTIES_2":          "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2",
	"ST_MEMORY_BUDGET":                "VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT",
	"CAPTURE_STATISTICS":              "VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR",
}

var (
	structure = regexp.MustCompile(`(?s)typedef struct \{([^{}]*)\} (Shim\w+);`)
	anyShim   = regexp.MustCompile(`\} (Shim\w+);`)
	member    = regexp.MustCompile(`(\w+)(?:\[\d+\])?$`)
	ownName   = regexp.MustCompile(`\b(?:Shim\w+|ST_\w+)`)
	constant  = regexp.MustCompile(`\b([A-Z][A-Z0-9_]+) = `)
)

// members lists the member names of a structure's body.
func members(body string) []string {
	var names []string
	for declaration := range strings.SplitSeq(body, ";") {
		for name := range strings.SplitSeq(declaration, ",") {
			if m := member.FindStringSubmatch(strings.TrimSpace(name)); m != nil {
				names = append(names, m[1])
			}
		}
	}
	return names
}

// layoutChecks are the C conditions that hold where the shim's declarations agree with Vulkan's.
func layoutChecks(t *testing.T, header, source string) (checks []string) {
	t.Helper()
	structures := structure.FindAllStringSubmatch(header, -1)
	require.Len(t, structures, len(anyShim.FindAllString(header, -1)), "every structure is understood")
	for _, s := range structures {
		own, vulkan := s[2], strings.Replace(s[2], "Shim", "Vk", 1)
		if name, ok := vulkanNames[own]; ok {
			vulkan = name
		}
		if !slices.Contains(heads, own) {
			checks = append(checks, fmt.Sprintf("sizeof(%s) == sizeof(%s)", own, vulkan))
		}
		list := members(s[1])
		require.NotEmpty(t, list, own)
		for _, m := range list {
			theirs := m
			if name, ok := vulkanMembers[own+"."+m]; ok {
				theirs = name
			}
			checks = append(checks, fmt.Sprintf("offsetof(%s, %s) == offsetof(%s, %s)", own, m, vulkan, theirs),
				fmt.Sprintf("sizeof(((%s *)0)->%s) == sizeof(((%s *)0)->%s)", own, m, vulkan, theirs))
		}
	}
	start := strings.Index(source, "enum {")
	found := constant.FindAllStringSubmatch(source[start:start+strings.Index(source[start:], "}")], -1)
	require.Len(t, found, len(vulkanConstants))
	for _, c := range found {
		require.Contains(t, vulkanConstants, c[1])
		checks = append(checks, fmt.Sprintf("(long long)%s == (long long)%s", c[1], vulkanConstants[c[1]]))
	}
	return checks
}

// vulkanHeaders is the folder of the headers to compare with: VKDOMINO_TEST_HEADERS, or the system's.
func vulkanHeaders() string {
	if folder := os.Getenv("VKDOMINO_TEST_HEADERS"); folder != "" {
		return folder
	}
	return "/usr/include"
}

// compileChecks compiles them as static assertions.
func compileChecks(t *testing.T, checks []string) error {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	lines := []string{"#include <vulkan/vulkan_core.h>", fmt.Sprintf("#include %q", filepath.Join(here, "shim.c"))}
	for _, c := range checks {
		assertion := fmt.Sprintf("_Static_assert(%s, %q);", c, c)
		if macro := newer[ownName.FindString(c)]; macro != "" {
			assertion = "#ifdef " + macro + "\n" + assertion + "\n#endif"
		}
		lines = append(lines, assertion)
	}
	path := filepath.Join(t.TempDir(), "layout.c")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	out, err := exec.Command("gcc", "-std=gnu11", "-fsyntax-only", "-I", vulkanHeaders(), path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// TestShimLayout compares the shim's structures and constants with the system's Vulkan headers.
func TestShimLayout(t *testing.T) {
	header, err := os.ReadFile("shim.h")
	require.NoError(t, err)
	source, err := os.ReadFile("shim.c")
	require.NoError(t, err)
	checks := layoutChecks(t, string(header), string(source))
	require.Greater(t, len(checks), 200)
	if _, err := os.Stat(filepath.Join(vulkanHeaders(), "vulkan/vulkan_core.h")); err != nil {
		t.Skipf("not run: %d comparisons with Vulkan's headers, which are not installed (Debian, Ubuntu: libvulkan-dev)", len(checks))
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("not run: %d comparisons with Vulkan's headers: no gcc", len(checks))
	}
	require.NoError(t, compileChecks(t, checks))
	wrong := strings.Replace(checks[0], "==", "!=", 1)
	require.ErrorContains(t, compileChecks(t, append(checks, wrong)), wrong, "a difference is seen")
}
