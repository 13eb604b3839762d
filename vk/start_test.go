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

	start := func() {
		for range 20 {
			r.Fill(x, 0)
			r.Copy(y, x)
		}
		require.NoError(t, r.Start())
	}
	start()
	require.NoError(t, b.device.Write(y, []byte{0, 0, 0x80, 0x3f}))
	require.EqualValues(t, 1, b.first(y), "nothing of the list came after Write")
	require.NoError(t, r.Wait())
	start()
	x.Buffer.Free() // which the validation layer would see
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
		require.ErrorIs(t, d.Read(x, make([]byte, 4)), vk.ErrDeviceLost, "what memory holds means nothing")
		require.ErrorIs(t, d.Write(x, make([]byte, 4)), vk.ErrDeviceLost)
		other.Fill(x, 1)
		require.Error(t, other.Start(), "nothing more is submitted")
		require.ErrorContains(t, r.Wait(), "lost")
		d.Found()
	})
}

// TestWaitAfterClose: a list that still ran when its device was closed has nothing to wait for.
func TestWaitAfterClose(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		d := open(t)
		b := newBench(t, d)
		r, ahead := d.NewRecorder(), d.NewRecorder()
		ahead.Fill(b.buffer(64, 0), 1)
		require.NoError(t, ahead.Seal())
		r.Fill(b.buffer(1<<20, 0), 1)
		require.NoError(t, r.Start())
		require.Empty(t, d.Close())
		require.NoError(t, r.Wait())
		ahead.Drop()
	})
}

// TestListAheadOfACommandThatFails: a list that cannot be submitted gives back what it did not submit, and one that is sealed
// meanwhile is not submitted either.
func TestListAheadOfACommandThatFails(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		d := open(t)
		b := newBench(t, d)
		x := b.buffer(64, 1)
		r, ahead := d.NewRecorder(), d.NewRecorder()
		for range 3 {
			r.Fill(x, 0)
			require.NoError(t, r.Seal())
		}
		ahead.Fill(x, 1)
		require.NoError(t, ahead.Seal())
		d.Inject((&failAt{call: "vkQueueSubmit", n: 2, result: vk.DeviceLost, seen: map[string]int{}}).answer)
		require.ErrorIs(t, r.Start(), vk.ErrDeviceLost)
		require.NoError(t, r.Wait(), "nothing was started")
		require.ErrorIs(t, ahead.Start(), vk.ErrDeviceLost)
		_, _, commandBuffers := d.Live()
		require.Equal(t, 5, commandBuffers, "three, one for what the host reads, and the other list's")
		d.Found()
		require.Empty(t, d.Messages()) // waits for the first submission
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

// TestMarksOfASealedList share the device's queries with a list that runs when they are recorded, and another that is run
// in between.
func TestMarksOfASealedList(t *testing.T) {
	b := sharedBench(t)
	if !b.device.HasClock() {
		return
	}
	require.NoError(t, b.device.StartClock())
	x := b.buffer(1<<18, 0)
	record := func(labels ...string) *vk.Recorder {
		r := b.device.NewRecorder()
		for _, l := range labels {
			r.Mark(l)
			r.Fill(x, 0)
		}
		return r
	}
	labels := func() (list []string) {
		for _, m := range b.device.Marks() {
			list = append(list, m.Label)
		}
		return list
	}
	running := record("a", "b")
	require.NoError(t, running.Start())
	ahead := record("c")
	require.NoError(t, ahead.Seal())
	ahead.Mark("d")
	require.NoError(t, record("e", "f", "g").Submit())
	require.Equal(t, []string{"e", "f", "g", "end"}, labels())
	require.NoError(t, running.Wait())
	require.Equal(t, []string{"a", "b", "end"}, labels())
	require.Positive(t, b.device.Marks()[2].At)
	require.NoError(t, ahead.Submit())
	require.Equal(t, []string{"c", "d", "end"}, labels())
	b.device.Profile()
	require.NoError(t, record("h").Submit())
	b.device.EndProfile()
	require.Empty(t, labels(), "a profile has none")
}
