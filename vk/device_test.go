package vk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/vk"
)

func noDevice(t *testing.T, err error, text string) {
	t.Helper()
	require.ErrorIs(t, err, vk.ErrNoDevice)
	require.Equal(t, fail.Other, fail.CodeOf(err))
	require.ErrorContains(t, err, text)
	require.NotEmpty(t, fail.HintOf(err))
	require.NotContains(t, err.Error(), "\n")
}

func TestDevices(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		list, err := vk.Devices()
		require.NoError(t, err)
		require.NotEmpty(t, list)
		for i, d := range list {
			require.Equal(t, i, d.Index)
			require.NotEmpty(t, d.Name)
			require.NotEmpty(t, d.Driver)
			require.Contains(t, []string{"discrete", "integrated", "virtual", "cpu", "other"}, d.Kind)
			require.GreaterOrEqual(t, d.MaxBindingBytes, int64(128<<20))
			require.GreaterOrEqual(t, d.SharedBytes, 16<<10)
			require.GreaterOrEqual(t, d.MaxInvocations, 128)
			require.Positive(t, d.HeapBytes)
			require.Equal(t, d.Kind == "cpu", d.CPU)
		}
		_, err = vk.Open(vk.Options{Index: len(list)})
		noDevice(t, err, fmt.Sprintf("vk: device %d: found %s, numbered from 0", len(list), plural.Of(len(list), "device")))
		for _, d := range list { // and the failure before leaves room for the next
			opened, err := vk.Open(vk.Options{Index: d.Index, Tier: vk.TierAuto})
			if len(d.Missing) > 0 {
				noDevice(t, err, "lacks "+d.Missing[0])
				continue
			}
			require.NoError(t, err)
			require.Equal(t, d, opened.Info)
			require.Equal(t, d.Tier(), opened.Tier())
			opened.Close()
		}
	})
}

func TestChoose(t *testing.T) {
	cpu, discrete := vk.Info{Name: "c", Kind: "cpu"}, vk.Info{Index: 1, Name: "d", Kind: "discrete"}
	integrated, old := vk.Info{Index: 2, Name: "i", Kind: "integrated"}, vk.Info{Name: "o", Kind: "discrete", Missing: []string{"this", "that"}}
	for _, c := range []struct {
		list  []vk.Info
		index int
		want  string // the name, or a part of the error
	}{
		{[]vk.Info{cpu, discrete, integrated}, -1, "d"},
		{[]vk.Info{cpu, integrated}, -1, "i"},
		{[]vk.Info{cpu}, -1, "c"},
		{[]vk.Info{old, cpu}, -1, "c"},
		{[]vk.Info{cpu, discrete}, 0, "c"},
		{[]vk.Info{old}, 0, "vk: device 0 (o) lacks this, that"},
		{[]vk.Info{old}, -1, "o lacks this, that"},
		{[]vk.Info{cpu}, 7, "device 7: found 1 device, numbered from 0"},
	} {
		got, err := vk.Choose(c.list, c.index)
		if err != nil {
			require.ErrorIs(t, err, vk.ErrNoDevice)
			require.ErrorContains(t, err, c.want)
			continue
		}
		require.Equal(t, c.want, got.Name)
	}
}

func TestTierOfADevice(t *testing.T) {
	require.Equal(t, vk.T0, vk.Info{CPU: true, SubgroupSize: 8}.Tier())
	require.Equal(t, vk.T1, vk.Info{CPU: true, SubgroupSize: 32}.Tier())
	require.Equal(t, vk.T1, vk.Info{SubgroupSize: 8}.Tier())
	for tier, want := range map[vk.Tier]string{vk.T0: "T0", vk.T1: "T1", vk.TierAuto: "auto"} {
		require.Contains(t, tier.String(), want)
	}
}

func TestMinLimits(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		d, err := vk.Open(vk.Options{Index: -1, Tier: vk.T1, Validation: true, MinLimits: true})
		require.NoError(t, err)
		require.Equal(t, int64(128<<20), d.MaxBindingBytes)
		require.Equal(t, 16<<10, d.SharedBytes)
		require.Equal(t, 128, d.MaxInvocations)
		require.Equal(t, vk.T1, d.Tier())
		require.Empty(t, d.Close())
	})
}

// TestNoDriver points the loader at a folder without drivers, and at a driver that is none.
func TestNoDriver(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.json")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	alone(t, []string{"VK_DRIVER_FILES=" + empty, "VK_ICD_FILENAMES=" + empty}, func(t *testing.T) {
		_, err := vk.Open(vk.Options{Index: -1})
		noDevice(t, err, "vk: no Vulkan driver is installed")
		_, err = vk.Devices()
		noDevice(t, err, "vk: no Vulkan driver is installed")
		require.Contains(t, fail.HintOf(err), "mesa-vulkan-drivers")
	})
}

// TestNoLoader hides the loader behind files that are no libraries.
func TestNoLoader(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("not run: hides the loader by a variable of the Linux linker")
	}
	dir := t.TempDir()
	for _, name := range []string{"libvulkan.so.1", "libvulkan.so"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("no library"), 0o600))
	}
	alone(t, []string{"LD_LIBRARY_PATH=" + dir}, func(t *testing.T) {
		require.False(t, vk.ValidationAvailable())
		_, err := vk.Open(vk.Options{Index: -1})
		noDevice(t, err, "vk: the Vulkan loader is not installed (tried libvulkan.so.1, libvulkan.so)")
		require.Contains(t, fail.HintOf(err), "libvulkan1")
	})
}

// TestNoValidationLayer asks for the layer where there is none.
func TestNoValidationLayer(t *testing.T) {
	alone(t, []string{"VK_LAYER_PATH=" + t.TempDir()}, func(t *testing.T) {
		require.False(t, vk.ValidationAvailable())
		_, err := vk.Open(vk.Options{Index: -1, Validation: true})
		require.ErrorContains(t, err, "VK_LAYER_KHRONOS_validation is not installed")
		require.Contains(t, fail.HintOf(err), "vulkan-validationlayers")
		d, err := vk.Open(vk.Options{Index: -1})
		require.NoError(t, err)
		require.Empty(t, d.Close())
	})
}

// cyclesVariable is how often TestOpenAndClose opens the device: 20 times unless it says otherwise.
const cyclesVariable = "VKDOMINO_DEVICE_CYCLES"

// TestOpenAndClose opens the device again and again: Close leaves no object behind (the layer would
// report it) and resident memory stays.
func TestOpenAndClose(t *testing.T) {
	cycles := 20
	if s := os.Getenv(cyclesVariable); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		cycles = n
	}
	one := []string{"MALLOC_ARENA_MAX=1"} // or the C library's arenas, one after the other, grow for the driver's threads
	alone(t, one, func(t *testing.T) {
		var warm int
		for i := range cycles {
			openUseClose(t)
			if i == cycles/2 {
				warm = resident(t)
			}
		}
		grown := resident(t) - warm
		t.Logf("%d cycles: resident memory %d KiB, grown by %d KiB in the second half", cycles, warm, grown)
		require.Less(t, grown, 8<<10+cycles*16, "KiB; caches of the driver, and the race detector's shadow, still settle")
	})
}

func openUseClose(t *testing.T) {
	d, err := vk.Open(vk.Options{Index: -1, Tier: vk.TierAuto, Validation: true})
	require.NoError(t, err)
	b := newBench(t, d)
	x, one := b.buffer(100, 0), b.buffer(100, 1)
	x.Buffer.HideFromHost() // so that there is a staging buffer for a while
	r := d.NewRecorder()
	r.Dispatch(b.sum(x, x, one))
	require.NoError(t, r.Submit())
	b.all(x, 1)
	require.Empty(t, d.Close(), "validation messages")
	buffers, _, _ := d.Live()
	require.Zero(t, buffers)
	require.Empty(t, d.Close(), "a closed device may be closed again")
	require.Empty(t, d.Messages())
	one.Buffer.Free()
}

// resident is the resident memory of this process in KiB, after a collection.
func resident(t *testing.T) int {
	runtime.GC()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Logf("resident memory not measured: %v", err)
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			return n
		}
	}
	t.Log("resident memory not measured: no VmRSS")
	return 0
}

// TestVulkanVersion: the modules are SPIR-V 1.5 (shaders_test.go), which Vulkan takes since 1.2.
func TestVulkanVersion(t *testing.T) {
	require.False(t, vk.NewEnough(1, 1, 4095))
	require.True(t, vk.NewEnough(1, 2, 0))
	require.True(t, vk.NewEnough(1, 4, 300))
}
