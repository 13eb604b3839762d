package vk_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/shaders"
	"vkdomino/vk"
)

// texelRig multiplies matrices with a kernel that reads its operands in texels: C = A Bᵀ, 8 x 8 floats each.
type texelRig struct {
	*bench
	pipeline *vk.Pipeline
}

const side = 8

func newTexelRig(t *testing.T) texelRig {
	t.Helper()
	d := testgpu.Device(t)
	if !d.CPU {
		t.Skip("not run: only CPUs read texels")
	}
	spirv, err := shaders.SPIRV("gemm_texel.nt.f32.f32")
	require.NoError(t, err)
	n := uint32(d.SubgroupSize)
	p, err := d.Compile(vk.Shader{Name: "texels", SPIRV: spirv, Buffers: 4, Texels: 7, PushBytes: 4 * 13, Spec: []uint32{n, n, 1, 1, 1, 0, 0}})
	require.NoError(t, err)
	return texelRig{newBench(t, d), p}
}

func (r texelRig) product(c, a, b vk.Region) vk.Dispatch {
	var words []byte
	for _, v := range []uint32{0, 0, 0, 0, side, side, side, side, side, side, side, side, 0} {
		words = append(words, word(v)...)
	}
	return vk.Dispatch{Pipeline: r.pipeline, Push: words, Groups: [3]uint32{1, uint32((side + r.device.SubgroupSize - 1) / r.device.SubgroupSize), 1},
		Binds: []vk.Bind{{Region: a, Access: vk.Read}, {Region: b, Access: vk.Read}, {Region: a, Access: vk.Read}, {Region: c, Access: vk.Write}}}
}

// Regions are read as texels, of whatever part of a buffer, as often as one likes: views of
// regions that nobody reads any more are not kept for ever, nor beyond their buffer.
func TestTexels(t *testing.T) {
	r := newTexelRig(t)
	const parts = vk.KeptViews + 8
	large, err := r.device.NewBuffer(parts*vk.Align, vk.HostVisible)
	require.NoError(t, err)
	at := func(i int64) vk.Region { return vk.Region{Buffer: large, Offset: i * vk.Align, Bytes: 4 * side * side} }
	two, c := r.buffer(side*side, 2), r.buffer(side*side, 0)
	for _, i := range []int64{0, 3, parts - 1} {
		m := at(i).Mapped()
		for e := range side * side {
			binary.NativeEndian.PutUint32(m[4*e:], math.Float32bits(float32(i+1)))
		}
		list := r.device.NewRecorder()
		list.Dispatch(r.product(c, at(i), two))
		require.NoError(t, list.Submit())
		got := make([]byte, c.Bytes)
		require.NoError(t, r.device.Read(c, got))
		for e := range side * side {
			require.Equal(t, float32(2*side*(i+1)), math.Float32frombits(binary.NativeEndian.Uint32(got[4*e:])), "part %d, element %d", i, e)
		}
	}
	list, other := r.device.NewRecorder(), r.device.NewRecorder()
	other.Dispatch(r.product(c, at(0), two))
	for i := range int64(parts) {
		list.Dispatch(r.product(c, at(i), two))
	}
	require.NoError(t, list.Submit())
	require.Greater(t, r.device.Views(), vk.KeptViews, "another recorder has a use for them")
	require.NoError(t, other.Submit())
	require.Zero(t, r.device.Views())

	list.Dispatch(r.product(c, at(1), two))
	require.NoError(t, list.Submit())
	require.Equal(t, 2, r.device.Views())
	large.Free()
	require.Equal(t, 1, r.device.Views())
}

// Views are given up while there is always a list that was recorded ahead of the one that runs.
func TestTexelsOfListsAhead(t *testing.T) {
	r := newTexelRig(t)
	const each, lists = 600, 12
	large, err := r.device.NewBuffer(each*lists*vk.Align, vk.HostVisible)
	require.NoError(t, err)
	defer large.Free()
	two, c := r.buffer(side*side, 2), r.buffer(side*side, 0)
	sealed := func(i int) *vk.Recorder {
		list := r.device.NewRecorder()
		for j := range each {
			list.Dispatch(r.product(c, vk.Region{Buffer: large, Offset: int64(i*each+j) * vk.Align, Bytes: 4 * side * side}, two))
		}
		require.NoError(t, list.Seal())
		return list
	}
	next := sealed(0)
	for i := range lists {
		running := next
		require.NoError(t, running.Start())
		if next = sealed((i + 1) % lists); i == lists/2 {
			next.Drop()
			next = sealed(i + 1)
		}
		require.NoError(t, running.Wait())
		require.LessOrEqual(t, r.device.Views(), vk.KeptViews+each)
	}
	next.Drop()
}

func TestTexelArguments(t *testing.T) {
	r := newTexelRig(t)
	x, c := r.buffer(side*side, 0), r.buffer(side*side, 0)
	written := r.product(c, x, x)
	written.Binds[1].Access = vk.ReadWrite
	odd := r.product(c, x, x)
	odd.Binds[0].Bytes = 20
	for name, d := range map[string]vk.Dispatch{"written": written, "part of a texel": odd} {
		list := r.device.NewRecorder()
		list.Dispatch(d)
		require.ErrorContains(t, list.Submit(), "texels of 16 bytes that are read, on a CPU", name)
	}
}
