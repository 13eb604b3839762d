package vk_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
)

func TestMarksTellTheTimeBetweenCommands(t *testing.T) {
	d := testgpu.Device(t)
	if !d.HasClock() {
		require.ErrorContains(t, d.StartClock(), "no timestamps")
		return
	}
	b := sharedBench(t)
	x := b.buffer(1<<20, 0)
	r := b.device.NewRecorder()
	if !d.ClockRuns() { // as in a process's first run of this test
		r.Mark("nothing")
		r.Fill(x, 0)
		require.NoError(t, r.Submit())
		require.Empty(t, d.Marks())
	}

	require.NoError(t, b.device.StartClock())
	require.True(t, b.device.ClockRuns())
	fills, nothing := time.Hour, time.Hour // the least of ten: another process can hold up either of one
	for range 10 {
		r.Mark("fills")
		for range 20 {
			r.Fill(x, 1)
		}
		r.Mark("nothing")
		require.NoError(t, r.Submit())
		marks := b.device.Marks()
		require.Len(t, marks, 3)
		require.Equal(t, "fills", marks[0].Label)
		require.Zero(t, marks[0].At)
		fills, nothing = min(fills, marks[1].At), min(nothing, marks[2].At-marks[1].At)
	}
	require.Greater(t, fills, 2*nothing, "80 MB take longer than no command")

	r.Fill(x, 2)
	require.NoError(t, r.Submit())
	require.Empty(t, b.device.Marks(), "only of the last Submit")
}

func TestTooManyMarks(t *testing.T) {
	d := testgpu.Device(t)
	if !d.HasClock() {
		return
	}
	require.NoError(t, d.StartClock())
	r := d.NewRecorder()
	for range 4097 {
		r.Mark("x")
	}
	require.ErrorContains(t, r.Submit(), "want at most 4096")
}

// TestWithClock: marks are taken inside, and clock and profile are as before afterwards.
func TestWithClock(t *testing.T) {
	b := sharedBench(t)
	d, x := b.device, b.buffer(1<<10, 0)
	ran := d.ClockRuns()
	d.Profile()
	require.NoError(t, d.WithClock(func() {
		require.Equal(t, d.HasClock(), d.ClockRuns())
		r := d.NewRecorder()
		r.Mark("fill")
		r.Fill(x, 0)
		require.NoError(t, r.Submit())
		require.Equal(t, d.HasClock(), len(d.Marks()) == 2)
	}))
	require.Equal(t, ran, d.ClockRuns())
	require.Empty(t, d.EndProfile())
}

// TestAProfileKnowsTheDevicesTime: work, bytes and, with a clock, time of each command.
func TestAProfileKnowsTheDevicesTime(t *testing.T) {
	b := sharedBench(t)
	x, y := b.buffer(1<<18, 0), b.buffer(1<<18, 0)
	if b.device.HasClock() {
		require.NoError(t, b.device.StartClock())
	}
	b.device.Profile()
	r := b.device.NewRecorder()
	r.Fill(x, 0)
	r.Copy(y, x)
	r.Mark("not in a profile")
	require.NoError(t, r.Submit())
	samples := b.device.EndProfile()
	require.Len(t, samples, 2)
	for _, s := range samples {
		require.Equal(t, 1, s.Count)
		require.Equal(t, map[string]int64{"fill": x.Bytes, "copy": 2 * x.Bytes}[s.Name], s.Bytes)
		require.LessOrEqual(t, s.Device, s.Total)
		require.Equal(t, b.device.HasClock(), s.Device > 0)
	}
	require.NoError(t, r.Submit())
	require.Empty(t, b.device.Samples(), "profiling has ended")
}
