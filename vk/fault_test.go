package vk_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/vk"
)

// failAt answers the n-th of some calls with a result, and counts all calls.
type failAt struct {
	call   string
	n      int
	result int
	seen   map[string]int
}

func (f *failAt) answer(call string) int {
	f.seen[call]++
	if call == f.call && f.seen[call] == f.n {
		return f.result
	}
	return vk.Success
}

// TestDeviceLost loses the device at the n-th submission or wait of a run of three lists, of which the
// second is cut into four submissions.
func TestDeviceLost(t *testing.T) {
	for _, c := range []struct {
		call string
		n    int
	}{{"vkQueueSubmit", 1}, {"vkQueueSubmit", 2}, {"vkQueueSubmit", 3}, {"vkQueueSubmit", 6}, {"vkWaitForFences", 1}, {"vkWaitForFences", 2}, {"vkWaitForFences", 3}} {
		t.Run(fmt.Sprint(c.call, " ", c.n), func(t *testing.T) {
			alone(t, nil, func(t *testing.T) {
				f := &failAt{call: c.call, n: c.n, result: vk.DeviceLost, seen: map[string]int{}}
				loseDevice(t, f)
				require.Equal(t, c.n, f.seen[c.call], "nothing more was asked of the device")
			})
		})
	}
}

func loseDevice(t *testing.T, f *failAt) {
	d, err := vk.Open(vk.Options{Index: -1, Tier: vk.TierAuto})
	require.NoError(t, err)
	defer func() {
		d.Found()
		d.Close()
	}()
	b := newBench(t, d)
	x, y, one := b.buffer(100, 0), b.buffer(100, 0), b.buffer(100, 1)
	d.CPU = false
	d.Inject(f.answer)
	list := func(work float64) error {
		r := d.NewRecorder()
		for range 2 {
			for _, s := range []vk.Dispatch{b.sum(y, x, one), b.sum(x, y, one)} {
				s.Work = work
				r.Dispatch(s)
			}
		}
		return r.Submit()
	}
	var lost error
	for _, work := range []float64{1, d.SubmitWork(), 1} {
		if lost = list(work); lost != nil {
			break
		}
	}
	require.ErrorIs(t, lost, vk.ErrDeviceLost)
	require.Equal(t, fail.DeviceLost, fail.CodeOf(lost))
	require.Contains(t, fail.HintOf(lost), "checkpoint")
	if f.call == "vkWaitForFences" {
		require.ErrorContains(t, lost, "vk: waiting for 4 commands, the last of them add")
	}
	require.Equal(t, lost, list(1), "the device stays lost")
	x.Buffer.HideFromHost()
	require.ErrorIs(t, d.Write(x, make([]byte, 4)), vk.ErrDeviceLost)
	require.ErrorIs(t, d.Read(x, make([]byte, 4)), vk.ErrDeviceLost)
}

// TestHang: a wait that times out names the command, and nothing is submitted after it.
func TestHang(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		d := open(t)
		b := newBench(t, d)
		x, one := b.buffer(100, 0), b.buffer(100, 1)
		timeouts := 0
		d.Inject(func(call string) int {
			if call == "vkWaitForFences" {
				timeouts++
				return vk.Timeout
			}
			return vk.Success
		})
		d.WaitNoLonger()
		r := d.NewRecorder()
		r.Dispatch(b.sum(x, x, one))
		err := r.Submit()
		require.ErrorIs(t, err, vk.ErrTimeout)
		require.ErrorContains(t, err, "vk: waiting for 1 commands, the last of them add: timed out")
		require.NotErrorIs(t, err, vk.ErrDeviceLost)
		r.Dispatch(b.sum(x, x, one))
		require.Equal(t, err, r.Submit())
		require.Equal(t, 1, timeouts)
	})
}

// TestSlowWorkIsWaitedFor: timeouts short of the limit are no error.
func TestSlowWorkIsWaitedFor(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		d := open(t)
		b := newBench(t, d)
		x, one := b.buffer(100, 0), b.buffer(100, 1)
		waits := 0
		d.Inject(func(call string) int {
			if call == "vkWaitForFences" {
				if waits++; waits < 4 {
					return vk.Timeout
				}
			}
			return vk.Success
		})
		r := d.NewRecorder()
		r.Dispatch(b.sum(x, x, one))
		require.NoError(t, r.Submit())
		require.Equal(t, 4, waits)
		b.all(x, 1)
	})
}
