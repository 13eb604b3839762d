package vk_test

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/vk"
)

// TestBarriersFollowTheHazards records two fills or copies on parts of two buffers, and looks
// whether a barrier stands before the second.
func TestBarriersFollowTheHazards(t *testing.T) {
	b := sharedBench(t)
	x, y, z := b.buffer(256, 0), b.buffer(256, 0), b.buffer(256, 0)
	half := func(r vk.Region, i int64) vk.Region { return vk.Region{Buffer: r.Buffer, Offset: 512 * i, Bytes: 512} }
	dispatch := func(out, p, q vk.Region) func(r *vk.Recorder) {
		return func(r *vk.Recorder) { r.Dispatch(b.sum(out, p, q)) }
	}
	fill := func(dst vk.Region) func(r *vk.Recorder) { return func(r *vk.Recorder) { r.Fill(dst, 0) } }
	cp := func(dst, src vk.Region) func(r *vk.Recorder) { return func(r *vk.Recorder) { r.Copy(dst, src) } }
	cases := []struct {
		name          string
		first, second func(r *vk.Recorder)
		want          bool
	}{
		{"read after write", dispatch(x, y, y), dispatch(z, x, y), true},
		{"write after read", dispatch(x, y, y), dispatch(y, z, z), true},
		{"write after write", dispatch(x, y, y), dispatch(x, z, z), true},
		{"read after read", dispatch(x, z, z), dispatch(y, z, z), false},
		{"disjoint halves", dispatch(half(x, 0), half(y, 0), half(y, 0)), dispatch(half(x, 1), half(y, 1), half(y, 1)), false},
		{"touching halves written, whole read", dispatch(half(x, 0), y, y), dispatch(z, x, y), true},
		{"one byte of overlap", fill(vk.Region{Buffer: x.Buffer, Offset: 508, Bytes: 8}), dispatch(z, half(x, 0), y), true},
		{"no byte of overlap", fill(half(x, 1)), dispatch(z, half(x, 0), y), false},
		{"fill after read", dispatch(x, y, y), fill(y), true},
		{"read after copy", cp(x, y), dispatch(z, x, y), true},
		{"copies from one source", cp(x, y), cp(z, y), false},
		{"copy over a source", cp(x, y), cp(y, z), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := b.device.NewRecorder()
			c.first(r)
			c.second(r)
			require.Equal(t, []bool{false, c.want}, r.Barriers())
			require.NoError(t, r.Submit(), "and the layer agrees: see testgpu")
		})
	}
}

// TestBarriersAreNotRepeated: what a barrier has ordered needs no second one.
func TestBarriersAreNotRepeated(t *testing.T) {
	b := sharedBench(t)
	x, y, z := b.buffer(64, 0), b.buffer(64, 0), b.buffer(64, 0)
	r := b.device.NewRecorder()
	r.Fill(x, 0)               // writes x
	r.Fill(y, 0)               // writes y
	r.Dispatch(b.sum(z, x, y)) // reads both: barrier
	r.Copy(b.buffer(64, 0), x) // reads x again: none
	r.Fill(z, 0)               // writes z after the barrier's reader: barrier
	r.Dispatch(b.sum(y, x, x)) // y was read before that barrier: none
	r.Dispatch(b.sum(x, y, y)) // reads y: barrier
	require.Equal(t, []bool{false, false, true, false, true, false, true}, r.Barriers())
	require.NoError(t, r.Submit())
	require.Empty(t, r.Barriers(), "Submit empties the list")
}

// TestDependentDispatches adds 1 in a chain, each link reading what the one before wrote.
func TestDependentDispatches(t *testing.T) {
	b := sharedBench(t)
	const links = 64
	x, y, one := b.buffer(1000, 0), b.buffer(1000, 0), b.buffer(1000, 1)
	r := b.device.NewRecorder()
	for range links / 2 {
		r.Dispatch(b.sum(y, x, one))
		r.Dispatch(b.sum(x, y, one))
	}
	require.NoError(t, r.Submit())
	b.all(x, links)
	require.Empty(t, b.device.Messages())
}

// TestMissingBarrierIsReported proves that the device of the tests would report a hazard.
func TestMissingBarrierIsReported(t *testing.T) {
	b := sharedBench(t)
	x, y, one := b.buffer(1000, 0), b.buffer(1000, 0), b.buffer(1000, 1)
	r := b.device.NewRecorder()
	r.Dispatch(b.sum(x, y, one))
	r.Dispatch(b.sum(y, x, one))
	r.DropBarriers()
	require.NoError(t, r.Submit())
	text := strings.Join(b.device.Messages(), "\n") // taken: they are not this test's failure
	require.Contains(t, text, "SYNC-HAZARD")
	require.Empty(t, b.device.Messages())
}

func TestDispatchArguments(t *testing.T) {
	b := sharedBench(t)
	x := b.buffer(64, 0)
	with := func(change func(d *vk.Dispatch)) vk.Dispatch {
		d := b.sum(x, x, x)
		change(&d)
		return d
	}
	bind := func(r vk.Region) vk.Dispatch { return with(func(d *vk.Dispatch) { d.Binds[1].Region = r }) }
	limit := b.device.MaxBindingBytes
	b.device.MaxBindingBytes = 256
	defer func() { b.device.MaxBindingBytes = limit }()
	cases := []struct {
		name, want string
		d          vk.Dispatch
	}{
		{"a buffer too few", "vk: dispatch add: want 3 buffers and 16 push bytes, got 2 and 16", with(func(d *vk.Dispatch) { d.Binds = d.Binds[:2] })},
		{"push constants too short", "vk: dispatch add: want 3 buffers and 16 push bytes, got 3 and 12", with(func(d *vk.Dispatch) { d.Push = d.Push[:12] })},
		{"grid too large", "at most 65535 groups in each dimension, got [1 65536 1]", with(func(d *vk.Dispatch) { d.Groups[1] = 65536 })},
		{"offset not aligned", "buffer 1: want an offset that is a multiple of 256 and 1 to 256 bytes, got 4 bytes at 128 of 256", bind(vk.Region{Buffer: x.Buffer, Offset: 128, Bytes: 4})},
		{"offset negative", "got 256 bytes at -256 of 256", bind(vk.Region{Buffer: x.Buffer, Offset: -256, Bytes: 256})},
		{"no bytes", "got 0 bytes at 0 of 256", bind(vk.Region{Buffer: x.Buffer})},
		{"beyond the buffer", "got 256 bytes at 256 of 256", bind(vk.Region{Buffer: x.Buffer, Offset: 256, Bytes: 256})},
		{"beyond the limit", "got 512 bytes at 0 of 2048", bind(vk.Region{Buffer: b.buffer(512, 0).Buffer, Bytes: 512})},
		{"no buffer", "got 4 bytes at 0 of no buffer", bind(vk.Region{Bytes: 4})},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := b.device.NewRecorder()
			r.Dispatch(c.d)
			r.Dispatch(b.sum(x, x, x)) // the first error stays
			r.Fill(x, 1)
			r.Copy(x, x)
			require.ErrorContains(t, r.Submit(), c.want)
			require.NoError(t, r.Submit(), "and is gone once told")
		})
	}
	r := b.device.NewRecorder()
	r.Dispatch(with(func(d *vk.Dispatch) { d.Groups[2], d.Binds = 0, nil }))
	require.Empty(t, r.Barriers(), "no groups: nothing recorded, nothing wrong")
	require.NoError(t, r.Submit())
}

func TestFillAndCopy(t *testing.T) {
	b := sharedBench(t)
	x, y := b.buffer(64, 1), b.buffer(64, 2)
	part := func(r vk.Region, offset, n int64) vk.Region {
		return vk.Region{Buffer: r.Buffer, Offset: offset, Bytes: n}
	}
	r := b.device.NewRecorder()
	r.Fill(part(x, 8, 4), 0xdeadbeef)
	r.Copy(part(y, 3, 100), part(x, 8, 5)) // the shorter counts, and bytes need no alignment
	r.Copy(part(y, 0, 0), part(x, 0, 0))
	r.Fill(part(x, 2, 0), 7)
	require.NoError(t, r.Submit())
	got := make([]byte, 256)
	require.NoError(t, b.device.Read(x, got))
	one := word(0x3f800000)
	require.Equal(t, append(bytes.Repeat(one, 2), word(0xdeadbeef)...), got[:12])
	require.Equal(t, bytes.Repeat(one, 61), got[12:])
	require.NoError(t, b.device.Read(y, got))
	two := bytes.Repeat(word(0x40000000), 64)
	require.Equal(t, append(append(append([]byte{}, two[:3]...), word(0xdeadbeef)...), append([]byte{one[0]}, two[8:]...)...), got)
	for _, c := range []struct {
		want   string
		record func(r *vk.Recorder)
	}{
		{"vk: fill: want offset and size to be multiples of 4, got 4 bytes at 2 of 256", func(r *vk.Recorder) { r.Fill(part(x, 2, 4), 0) }},
		{"got 6 bytes at 0 of 256", func(r *vk.Recorder) { r.Fill(part(x, 0, 6), 0) }},
		{"got 512 bytes at 0 of 256", func(r *vk.Recorder) { r.Fill(part(x, 0, 512), 0) }},
		{"vk: copy: want two regions apart from each other, got 8 bytes at 0 of 256 to 8 bytes at 4 of 256", func(r *vk.Recorder) { r.Copy(part(x, 4, 8), part(x, 0, 8)) }},
		{"got 64 bytes at 224 of 256 to", func(r *vk.Recorder) { r.Copy(part(y, 0, 64), part(x, 224, 64)) }},
	} {
		r := b.device.NewRecorder()
		c.record(r)
		require.ErrorContains(t, r.Submit(), c.want)
	}
}

// TestSubmissionsAreCutByWork: on a GPU no submission holds more than its share, on a CPU nothing watches.
func TestSubmissionsAreCutByWork(t *testing.T) {
	b := sharedBench(t)
	x, y, one := b.buffer(100, 0), b.buffer(100, 0), b.buffer(100, 1)
	const plain, matrices = 1.5e11, 1.5e12
	for _, c := range []struct {
		name        string
		cpu         bool
		tier        vk.Tier
		work        float64
		submissions int
	}{
		{"much work on a CPU", true, vk.T0, matrices, 1},
		{"much work on a CPU with matrices", true, vk.T2, matrices, 1},
		{"little work", false, vk.T1, 1, 1},
		{"a share each", false, vk.T1, plain, 8},
		{"two thirds of a share each", false, vk.T1, plain * 2 / 3, 8},
		{"a quarter of a share each", false, vk.T1, plain / 4, 2},
		{"more than a share each", false, vk.T1, plain * 9, 8},
		{"T2: a share of T1 each", false, vk.T2, plain, 1},
		{"T2: a quarter of a share each", false, vk.T2, matrices / 4, 2},
		{"T3: a share each", false, vk.T3, matrices, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer b.device.Pretend(c.cpu, c.tier)()
			r := b.device.NewRecorder()
			r.Fill(x, 0)
			for i := range 8 {
				d := b.sum(y, x, one)
				if i%2 == 1 {
					d = b.sum(x, y, one)
				}
				d.Work = c.work
				r.Dispatch(d)
			}
			require.Equal(t, c.submissions, r.Submissions())
			require.NoError(t, r.Submit())
			b.all(x, 8)
		})
	}
	_, _, first := b.device.Live()
	r := b.device.NewRecorder()
	r.Fill(x, 0)
	require.NoError(t, r.Submit())
	_, _, second := b.device.Live()
	require.Equal(t, first, second, "command buffers are used again")
}

// TestCutsNeedNoSecondBarrier: in a submission, which begins with a barrier, nothing waits for what was used before it.
func TestCutsNeedNoSecondBarrier(t *testing.T) {
	b := sharedBench(t)
	defer b.device.Pretend(false, vk.T1)()
	u, v, x, y := b.buffer(64, 1), b.buffer(64, 0), b.buffer(64, 1), b.buffer(64, 0)
	heavy := b.sum(v, u, u)
	heavy.Work = 2 * b.device.SubmitWork()
	beside := b.buffer(64, 0)
	r := b.device.NewRecorder()
	r.Dispatch(b.sum(y, x, x))
	heavy.Binds[0].Region = x                            // read before it
	r.Dispatch(heavy)                                    // a barrier, and a cut behind it
	r.Beside(func() { r.Dispatch(b.sum(beside, y, x)) }) // waits for x
	require.Equal(t, []bool{false, true}, r.Barriers()[:2])
	r.Dispatch(b.sum(v, u, u)) // overlaps nothing: a cut, whose barrier lets what waits go
	r.Fill(y, 0)               // what waited reads y
	require.Equal(t, []bool{false, true, true, false, true}, r.Barriers())
	require.Equal(t, 2, r.Submissions())
	require.NoError(t, r.Submit())
	b.all(beside, 4)
	b.all(y, 0)
}

// TestBarriersSufficeWithCuts records random commands with random work, and wants a barrier between any two that conflict and
// before each submission, and no other.
func TestBarriersSufficeWithCuts(t *testing.T) {
	b := sharedBench(t)
	defer b.device.Pretend(false, vk.T1)()
	random := rand.New(rand.NewPCG(5, 6))
	var list []vk.Region
	for range 5 {
		list = append(list, b.buffer(4, 1))
	}
	for range 50 {
		r := b.device.NewRecorder()
		var uses [][3]int // what a command writes, and what it reads
		for range 40 {
			u := [3]int{random.IntN(5), random.IntN(5), random.IntN(5)}
			d := b.sum(list[u[0]], list[u[1]], list[u[2]])
			d.Work = random.Float64() * b.device.SubmitWork() / 2
			r.Dispatch(d)
			uses = append(uses, u)
			if random.IntN(12) == 0 {
				require.NoError(t, r.Seal())
				uses = uses[:0]
			}
		}
		barriers := r.Barriers()
		for _, cut := range r.Cuts() {
			require.True(t, barriers[cut])
		}
		for last, i := 0, 0; i < len(uses); i++ {
			needed := slices.Contains(r.Cuts(), i)
			for _, u := range uses[last:i] {
				needed = needed || slices.Contains(u[:], uses[i][0]) || slices.Contains(uses[i][1:], u[0])
			}
			require.Equal(t, needed, barriers[i])
			if needed {
				last = i
			}
		}
		require.NoError(t, r.Submit())
	}
	require.Empty(t, b.device.Messages())
}

func TestProfileTimesEachKernel(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		b := newBench(t, open(t))
		x, one := b.buffer(100, 0), b.buffer(100, 1)
		b.device.Profile()
		r := b.device.NewRecorder()
		r.Fill(x, 0)
		for range 5 {
			r.Dispatch(b.sum(x, x, one))
		}
		require.NoError(t, r.Submit())
		b.all(x, 5)
		counts := map[string]int{}
		for _, s := range b.device.Samples() {
			require.Positive(t, s.Total)
			counts[s.Name] = s.Count
		}
		require.Equal(t, map[string]int{"add": 5, "fill": 1}, counts)
	})
}

// TestGarbageCollection records and submits while the collector runs without pause: no memory that C reads may move or go.
func TestGarbageCollection(t *testing.T) {
	b := sharedBench(t)
	const submissions, each = 20, 100
	x, y, one := b.buffer(64, 0), b.buffer(64, 0), b.buffer(64, 1)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	for range submissions {
		r := b.device.NewRecorder()
		for range each / 2 {
			r.Dispatch(b.sum(y, x, one))
			r.Dispatch(b.sum(x, y, one))
		}
		require.NoError(t, r.Submit())
	}
	close(stop)
	<-done
	b.all(x, submissions*each)
}

func TestSharedDeviceHasOneProcess(t *testing.T) {
	testgpu.Device(t)
	_, err := vk.Open(vk.Options{Index: -1})
	require.ErrorContains(t, err, "a device is open already")
	_, err = vk.Devices()
	require.ErrorContains(t, err, "a device is open already")
}
