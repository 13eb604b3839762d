package vk_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/shaders"
	"vkdomino/vk"
)

// aloneVariable names the test that a process was started for.
const aloneVariable = "VKDOMINO_TEST_ALONE"

// alone runs body in a process of its own, with more environment: a process has one device at a
// time, so a test that opens one cannot share the process of the others.
func alone(t *testing.T, env []string, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(aloneVariable) == t.Name() {
		body(t)
		return
	}
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	command := append(thisProgram(), "-test.run="+strings.Join(parts, "/"), "-test.v", "-test.count=1")
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(append(os.Environ(), aloneVariable+"="+t.Name()), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name(), "the process did not run the test")
}

// thisProgram is the command line of this process up to the test binary: `go test -exec` may put a program before it.
func thisProgram() []string {
	if raw, err := os.ReadFile("/proc/self/cmdline"); err == nil {
		words := strings.Split(string(raw), "\x00")
		if i := slices.Index(words, os.Args[0]); i >= 0 {
			return words[:i+1]
		}
	}
	return []string{os.Args[0]}
}

// open opens the device with the validation layer; closing it fails the test on any message.
func open(t *testing.T) *vk.Device {
	t.Helper()
	d, err := vk.Open(vk.Options{Index: -1, Tier: vk.TierAuto, Validation: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.Empty(t, d.Close()) })
	return d
}

// bench is a device with the kernel out = a + b over 32-bit floats and some buffers.
type bench struct {
	t      *testing.T
	device *vk.Device
	add    *vk.Pipeline
}

const lanes = 64 // invocations of a workgroup of the kernel

func newBench(t *testing.T, d *vk.Device) *bench {
	t.Helper()
	b := &bench{t: t, device: d}
	var err error
	b.add, err = d.Compile(b.shader(false))
	require.NoError(t, err)
	return b
}

// shader is what the kernel is made of.
func (b *bench) shader(statistics bool) vk.Shader {
	b.t.Helper()
	spirv, err := shaders.SPIRV("add.f32")
	require.NoError(b.t, err)
	return vk.Shader{Name: "add", SPIRV: spirv, Buffers: 3, PushBytes: 16,
		Spec: []uint32{lanes, uint32(max(1, lanes/b.device.SubgroupSize)), 0}, Statistics: statistics}
}

func sharedBench(t *testing.T) *bench { return newBench(t, testgpu.Device(t)) }

// buffer holds n floats of one value.
func (b *bench) buffer(n int, value float32) vk.Region {
	b.t.Helper()
	buf, err := b.device.NewBuffer(int64(4*n), vk.DeviceLocal)
	require.NoError(b.t, err)
	b.t.Cleanup(buf.Free)
	r := vk.Region{Buffer: buf, Bytes: int64(4 * n)}
	require.NoError(b.t, b.device.Write(r, bytes.Repeat(word(math.Float32bits(value)), n)))
	return r
}

func word(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// push are the kernel's push constants: three offsets, and the number of elements.
func push(n int64) []byte {
	return slices.Concat(word(0), word(0), word(0), word(uint32(n)))
}

// sum is one run of the kernel.
func (b *bench) sum(out, x, y vk.Region) vk.Dispatch {
	n := out.Bytes / 4
	return vk.Dispatch{Pipeline: b.add, Push: push(n), Groups: [3]uint32{uint32((n + lanes - 1) / lanes), 1, 1},
		Binds: []vk.Bind{{Region: out, Access: vk.Write}, {Region: x, Access: vk.Read}, {Region: y, Access: vk.Read}}}
}

// first is the first float of a region.
func (b *bench) first(r vk.Region) float32 {
	b.t.Helper()
	data := make([]byte, 4)
	require.NoError(b.t, b.device.Read(vk.Region{Buffer: r.Buffer, Offset: r.Offset, Bytes: 4}, data))
	return math.Float32frombits(binary.NativeEndian.Uint32(data))
}

// all requires each float of a region to be want.
func (b *bench) all(r vk.Region, want float32) {
	b.t.Helper()
	data := make([]byte, r.Bytes)
	require.NoError(b.t, b.device.Read(r, data))
	require.Equal(b.t, bytes.Repeat(word(math.Float32bits(want)), int(r.Bytes/4)), data)
}
