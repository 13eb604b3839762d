package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/vk"
)

// TestMemoryLine names what may be had of the memory now only where that is much less.
func TestMemoryLine(t *testing.T) {
	const gib = int64(1) << 30
	require.Equal(t, "24.0 GiB", memoryLine(vk.Info{HeapBytes: 24 * gib}))
	require.Equal(t, "24.0 GiB", memoryLine(vk.Info{HeapBytes: 24 * gib, BudgetBytes: 23 * gib}))
	require.Equal(t, "24.0 GiB, of which 8.0 GiB may be had now", memoryLine(vk.Info{HeapBytes: 24 * gib, BudgetBytes: 8 * gib}))
}

// An NVIDIA GPU without a driver of Vulkan is found by the file that controls it.
func TestNVIDIAUnlisted(t *testing.T) {
	lavapipe := vk.Info{Name: "llvmpipe (LLVM 15.0.6, 256 bits)", Driver: "llvmpipe", CPU: true}
	control := t.TempDir()
	for _, c := range []struct {
		control string
		devices []vk.Info
		want    bool
	}{
		{control, nil, true},
		{control, []vk.Info{lavapipe}, true},
		{control, []vk.Info{{Name: "AMD Radeon RX 7900 XTX (RADV NAVI31)", Driver: "radv"}, lavapipe}, true},
		{control, []vk.Info{lavapipe, {Name: "Tesla T4", Driver: "NVIDIA"}}, false},
		{control, []vk.Info{{Name: "NVIDIA GeForce RTX 3060 (NVK GA106)", Driver: "NVK"}}, false},
		{control + "/none", []vk.Info{lavapipe}, false},
	} {
		require.Equal(t, c.want, nvidiaUnlisted(c.devices, c.control), "%v", c)
	}
}

// The benchmark of NVIDIA machines and the README give the same advice.
func TestNVIDIAHintIsEverywhere(t *testing.T) {
	_, advice, _ := strings.Cut(nvidiaHint, ": ")
	for _, path := range []string{"../../tools/bench-nvidia/run.sh", "../../README.md"} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, strings.ReplaceAll(string(text), "`", ""), advice, path)
	}
}
