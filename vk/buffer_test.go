package vk_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/internal/testgpu"
	"vkdomino/vk"
)

// pattern is n bytes that tell where they belong.
func pattern(n, seed int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte((i + seed) * 2654435761 >> 13)
	}
	return data
}

// TestWriteAndRead goes through mapped memory and through the staging buffer, whose pieces
// the last size does not divide into.
func TestWriteAndRead(t *testing.T) {
	d := testgpu.Device(t)
	for _, memory := range []vk.Memory{vk.DeviceLocal, vk.HostVisible} {
		for _, staged := range []bool{false, true} {
			for _, n := range []int{0, 1, 2, 255, 256, 257, 4099, 2*vk.StagingBytes + 77} {
				t.Run(fmt.Sprint(memory, staged, n), func(t *testing.T) { writeAndRead(t, d, memory, staged, n) })
			}
		}
	}
}

func writeAndRead(t *testing.T, d *vk.Device, memory vk.Memory, staged bool, n int) {
	const before, after = 511, 300
	b, err := d.NewBuffer(int64(before+n+after), memory)
	require.NoError(t, err)
	defer b.Free()
	allocated := d.Allocated()
	defer func() { require.Equal(t, allocated, d.Allocated(), "staging is freed") }()
	if memory == vk.HostVisible {
		require.NotNil(t, b.Whole().Mapped())
	}
	whole := vk.Region{Buffer: b, Bytes: int64(before + n + after)}
	want := pattern(before+n+after, 1)
	require.NoError(t, d.Write(whole, want))
	if staged {
		b.HideFromHost()
		require.Nil(t, whole.Mapped())
	}
	part := vk.Region{Buffer: b, Offset: before, Bytes: int64(n)}
	data := pattern(n, 9)
	require.NoError(t, d.Write(part, data))
	copy(want[before:], data)
	got := make([]byte, n)
	require.NoError(t, d.Read(part, got))
	require.True(t, string(data) == string(got), "what was written comes back")
	all := make([]byte, len(want))
	require.NoError(t, d.Read(whole, all))
	require.True(t, string(want) == string(all), "and nothing beside it changed")
	few := make([]byte, n/2)
	require.NoError(t, d.Read(part, few))
	require.True(t, string(data[:n/2]) == string(few), "fewer bytes than the region has")
	require.ErrorContains(t, d.Write(part, make([]byte, n+1)), fmt.Sprintf("vk: write of %d bytes to a region of %d", n+1, n))
	require.ErrorContains(t, d.Read(part, make([]byte, n+1)), fmt.Sprintf("vk: read of %d bytes from a region of %d", n+1, n))
}

// TestOutOfDeviceMemory asks for more than there is, before and after the driver is asked.
func TestOutOfDeviceMemory(t *testing.T) {
	d := testgpu.Device(t)
	buffers, pipelines, _ := d.Live()
	for _, bytes := range []int64{1 << 40, 1 << 46, d.HeapBytes + 1} {
		for _, memory := range []vk.Memory{vk.DeviceLocal, vk.HostVisible} {
			_, err := d.NewBuffer(bytes, memory)
			outOfMemory(t, err)
		}
	}
	defer d.Inject(nil)
	for _, failing := range []string{"vkCreateBuffer", "vkAllocateMemory"} {
		d.Inject(func(call string) int {
			if call == failing {
				return vk.OutOfDeviceMemory
			}
			return vk.Success
		})
		_, err := d.NewBuffer(4096, vk.DeviceLocal)
		outOfMemory(t, err)
		require.ErrorContains(t, err, "vk: "+failing+" of 4096 bytes")
	}
	d.Inject(nil)
	again, _, _ := d.Live()
	require.Equal(t, buffers, again, "nothing is left behind")
	b := newBench(t, d)
	x := b.buffer(64, 3)
	b.all(x, 3)
	_, made, _ := d.Live()
	require.Equal(t, pipelines+1, made)
	require.Empty(t, d.Messages())
}

func outOfMemory(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, vk.ErrOutOfDeviceMemory)
	require.Equal(t, fail.Memory, fail.CodeOf(err))
	require.Contains(t, fail.HintOf(err), "doctor")
}

func TestFreeIsIdempotent(t *testing.T) {
	d := testgpu.Device(t)
	before, _, _ := d.Live()
	b, err := d.NewBuffer(1, vk.DeviceLocal)
	require.NoError(t, err)
	require.Equal(t, int64(vk.Align), b.Whole().Bytes, "a buffer has at least one aligned piece")
	b.Free()
	b.Free()
	after, _, _ := d.Live()
	require.Equal(t, before, after)
}

func TestPipelineArguments(t *testing.T) {
	d := testgpu.Device(t)
	_, before, _ := d.Live()
	for _, c := range []struct {
		spirv          []uint32
		buffers, bytes int
		want           string
	}{
		{nil, 1, 4, "0 words of SPIR-V"},
		{[]uint32{1}, vk.MaxBuffers + 1, 4, "9 buffers (at most 8)"},
		{[]uint32{1}, 1, vk.MaxPushBytes + 4, "132 push bytes (at most 128)"},
	} {
		_, err := d.Compile(vk.Shader{Name: "bad", SPIRV: c.spirv, Buffers: c.buffers, PushBytes: c.bytes})
		require.ErrorContains(t, err, "vk: pipeline bad: ")
		require.ErrorContains(t, err, c.want)
	}
	_, after, _ := d.Live()
	require.Equal(t, before, after)
}
