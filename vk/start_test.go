package vk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/vk"
)

// TestSealedListsRunWhenTheyStart: a list that was sealed before another one was recorded and run comes after it, with what
// was added to it, and nothing of it runs before.
func TestSealedListsRunWhenTheyStart(t *testing.T) {
	b := sharedBench(t)
	x, y, z := b.buffer(64, 1), b.buffer(64, 0), b.buffer(64, 0)
	ahead, other := b.device.NewRecorder(), b.device.NewRecorder()
	ahead.Dispatch(b.sum(y, x, x)) // y = 2x
	require.NoError(t, ahead.Seal())
	ahead.Dispatch(b.sum(z, y, x)) // z = 3x
	require.NoError(t, ahead.Seal())
	require.Zero(t, b.first(y))

	other.Dispatch(b.sum(z, x, x))
	other.Copy(x, z) // x = 2
	require.NoError(t, other.Start())
	ahead.Copy(x, z)
	require.NoError(t, ahead.Start()) // waits for the other one
	require.NoError(t, ahead.Wait())
	require.NoError(t, other.Wait())
	require.EqualValues(t, 4, b.first(y))
	require.EqualValues(t, 6, b.first(x))
}

// TestSealedListWithoutMore: what was sealed last is there for the host to read.
func TestSealedListWithoutMore(t *testing.T) {
	b := sharedBench(t)
	x, y := b.buffer(64, 1), b.buffer(64, 0)
	r := b.device.NewRecorder()
	r.Dispatch(b.sum(y, x, x))
	require.NoError(t, r.Seal())
	require.NoError(t, r.Seal())
	require.NoError(t, r.Submit())
	require.EqualValues(t, 2, b.first(y))
	require.NoError(t, r.Wait(), "again")
	require.NoError(t, r.Submit(), "an empty list")
}

// TestReadWaitsForWhatRuns, and so do Write and Free.
func TestReadWaitsForWhatRuns(t *testing.T) {
	b := sharedBench(t)
	x, y := b.buffer(1<<20, 0), b.buffer(1<<20, 0)
	r := b.device.NewRecorder()
	for i := range 20 {
		r.Fill(x, uint32(i))
		r.Copy(y, x)
	}
	r.Fill(y, 0x3f800000)
	require.NoError(t, r.Start())
	require.EqualValues(t, 1, b.first(y))
	require.NoError(t, r.Wait())
}

// TestDropGivesCommandBuffersBack: a list that is given up leaves nothing behind, and runs nothing.
func TestDropGivesCommandBuffersBack(t *testing.T) {
	b := sharedBench(t)
	x, y := b.buffer(64, 1), b.buffer(64, 0)
	r := b.device.NewRecorder()
	r.Fill(y, 0)
	require.NoError(t, r.Submit())
	_, _, before := b.device.Live()
	for range 3 {
		r.Dispatch(b.sum(y, x, x))
		require.NoError(t, r.Seal())
		r.Drop()
	}
	_, _, after := b.device.Live()
	require.Equal(t, before, after)
	require.NoError(t, r.Submit())
	require.Zero(t, b.first(y))
}

// TestErrorOfAListThatAnotherWaitedFor reaches the one whose list it is.
func TestErrorOfAListThatAnotherWaitedFor(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		d := open(t)
		b := newBench(t, d)
		x := b.buffer(64, 1)
		r, other := d.NewRecorder(), d.NewRecorder()
		r.Fill(x, 0)
		require.NoError(t, r.Start())
		d.Inject(func(call string) int {
			if call == "vkWaitForFences" {
				return vk.DeviceLost
			}
			return vk.Success
		})
		other.Fill(x, 1)
		require.Error(t, other.Start(), "nothing more is submitted")
		require.ErrorContains(t, r.Wait(), "lost")
		d.Found()
	})
}

// TestMarksOfAListThatAnotherWaitedFor are those of the list whose Wait came last.
func TestMarksOfAListThatAnotherWaitedFor(t *testing.T) {
	b := sharedBench(t)
	if !b.device.HasClock() {
		require.Empty(t, b.device.Marks())
		return
	}
	require.NoError(t, b.device.StartClock())
	x := b.buffer(64, 1)
	mark := func(label string) *vk.Recorder {
		r := b.device.NewRecorder()
		r.Mark(label)
		r.Fill(x, 0)
		require.NoError(t, r.Start())
		return r
	}
	first, second := mark("first"), mark("second")
	require.NoError(t, first.Wait())
	require.Equal(t, "first", b.device.Marks()[0].Label)
	require.NoError(t, second.Wait())
	require.Equal(t, "second", b.device.Marks()[0].Label)
}
