package ops_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// sums is a context with x, y and their sum.
func sums(t *testing.T) (c *ops.Context, x, y, sum tensors.Tensor) {
	t.Helper()
	c = testgpu.Context(t)
	x, y = c.AllocHost("x", tensors.F32, 4), c.Alloc("y", tensors.F32, 4)
	sum = c.Alloc("sum", tensors.F32, 4)
	c.UploadF32(x, []float32{1, 1, 1, 1})
	c.UploadF32(y, []float32{1, 2, 3, 4})
	c.Zero(sum)
	require.NoError(t, c.Submit())
	return c, x, y, sum
}

func values(t *testing.T, c *ops.Context, x tensors.Tensor) []float32 {
	t.Helper()
	v, err := c.Float32s(x)
	require.NoError(t, err)
	return v
}

// TestAheadWaitsForStart: neither commands nor uploads of a list that was recorded ahead happen before Start, whatever
// the memory that is uploaded to, and what runs before does not see them.
func TestAheadWaitsForStart(t *testing.T) {
	c, x, y, sum := sums(t)
	l, err := c.Ahead(func() error {
		c.UploadF32(x, []float32{10, 10, 10, 10})
		c.UploadF32(y, []float32{5, 6, 7, 8})
		c.Add(sum, x, y)
		return nil
	})
	require.NoError(t, err)
	c.Add(sum, x, y) // behind it recorded, and before it run
	require.NoError(t, c.Submit())
	require.Equal(t, []float32{2, 3, 4, 5}, values(t, c, sum))

	require.NoError(t, c.Start(l, func() { c.Add(x, sum, y) }))
	require.NoError(t, c.Wait())
	require.Equal(t, []float32{15, 16, 17, 18}, values(t, c, sum))
	require.Equal(t, []float32{20, 22, 24, 26}, values(t, c, x))
	require.NoError(t, c.Wait(), "nothing runs")
}

// TestStartComesAfterWhatWasRecorded: commands that nobody submitted run before a list that was made ahead of them.
func TestStartComesAfterWhatWasRecorded(t *testing.T) {
	c, x, y, sum := sums(t)
	l, err := c.Ahead(func() error { c.Add(sum, x, y); return nil })
	require.NoError(t, err)
	c.Zero(y)
	require.NoError(t, c.Start(l, func() {}))
	require.NoError(t, c.Wait())
	require.Equal(t, []float32{1, 1, 1, 1}, values(t, c, sum))
	c.Zero(x)
	require.NoError(t, c.Submit())
	require.Equal(t, []float32{1, 1, 1, 1}, values(t, c, sum))
}

// TestAheadWhileAnotherRuns records lists one after the other, each while the one before it runs.
func TestAheadWhileAnotherRuns(t *testing.T) {
	c, x, y, sum := sums(t)
	record := func(i int) *ops.List {
		l, err := c.Ahead(func() error {
			c.UploadF32(x, []float32{float32(i), 0, 0, 0})
			c.Add(sum, sum, x)
			return nil
		})
		require.NoError(t, err)
		return l
	}
	next := record(0)
	for i := range 10 {
		require.NoError(t, c.Start(next, func() { c.Add(y, sum, x) }))
		next = record(i + 1)
		require.NoError(t, c.Wait())
		require.EqualValues(t, i*(i+1)/2, values(t, c, sum)[0])
	}
	next.Drop()
	require.NoError(t, c.Submit())
	require.EqualValues(t, 45, values(t, c, sum)[0])
}

// TestErrorsAhead come back at once, and leave nothing behind.
func TestErrorsAhead(t *testing.T) {
	c, x, y, sum := sums(t)
	_, err := c.Ahead(func() error {
		c.UploadF32(x, []float32{1})
		return nil
	})
	require.ErrorContains(t, err, "upload x: want 16 bytes, got 4")
	require.NoError(t, c.Err())
	own := errors.New("own")
	_, err = c.Ahead(func() error {
		c.Add(sum, x, y)
		return own
	})
	require.ErrorIs(t, err, own)

	l, err := c.Ahead(func() error { c.Add(sum, x, y); return nil })
	require.NoError(t, err)
	require.ErrorContains(t, c.Start(l, func() { c.Add(sum, x, x.View(2)) }), "add")
	require.NoError(t, c.Wait())
	require.NoError(t, c.Submit())
	require.Equal(t, []float32{0, 0, 0, 0}, values(t, c, sum), "nothing ran")
}

// TestErrorsOfListsStayApart: what was recorded before a list is not run without the op that failed, nor does its error
// keep a list from being recorded.
func TestErrorsOfListsStayApart(t *testing.T) {
	for name, run := range map[string]func(c *ops.Context, l *ops.List) error{
		"Submit": func(c *ops.Context, l *ops.List) error { l.Drop(); return c.Submit() },
		"Start":  func(c *ops.Context, l *ops.List) error { return c.Start(l, func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			c, x, y, sum := sums(t)
			c.Add(sum, x, y)
			c.Add(sum, x, x.View(2))
			l, err := c.Ahead(func() error { c.Add(y, x, x); return c.Err() })
			require.NoError(t, err)
			require.ErrorContains(t, run(c, l), "add")
			require.NoError(t, c.Submit())
			require.Equal(t, []float32{0, 0, 0, 0}, values(t, c, sum), "nothing ran")
			require.Equal(t, []float32{1, 2, 3, 4}, values(t, c, y))
		})
	}
}

// TestErrorBehindAList keeps what was recorded apart from it, which Submit runs.
func TestErrorBehindAList(t *testing.T) {
	c, x, y, sum := sums(t)
	l, err := c.Ahead(func() error { c.Zero(y); return nil })
	require.NoError(t, err)
	c.Add(sum, x, y)
	require.ErrorContains(t, c.Start(l, func() { c.Add(sum, x, x.View(2)) }), "add")
	require.NoError(t, c.Submit())
	require.Equal(t, []float32{2, 3, 4, 5}, values(t, c, sum))
}

// TestBesideAcrossLists: a chain that still waits when its list is sealed runs with what follows in that list, not with what is
// recorded elsewhere.
func TestBesideAcrossLists(t *testing.T) {
	c, x, y, sum := sums(t)
	l, err := c.Ahead(func() error {
		c.Add(y, y, x)
		c.Beside(func() {
			c.Add(sum, y, x)
			c.Add(sum, sum, x)
		})
		return nil
	})
	require.NoError(t, err)
	c.Zero(x)
	c.Zero(sum)
	require.NoError(t, c.Submit())
	require.Equal(t, []float32{0, 0, 0, 0}, values(t, c, sum))
	c.UploadF32(x, []float32{1, 1, 1, 1})
	require.NoError(t, c.Start(l, func() { c.Add(y, sum, x) }))
	require.NoError(t, c.Wait())
	require.Equal(t, []float32{4, 5, 6, 7}, values(t, c, sum))
	require.Equal(t, []float32{5, 6, 7, 8}, values(t, c, y))
}

// TestPhasesOfListsAhead are counted for the list that they were recorded in, once.
func TestPhasesOfListsAhead(t *testing.T) {
	c, x, y, sum := sums(t)
	if !c.Device.HasClock() {
		return
	}
	require.NoError(t, c.Device.StartClock())
	list := func(phase string) *ops.List {
		l, err := c.Ahead(func() error { c.Phase(phase); c.Add(sum, x, y); return nil })
		require.NoError(t, err)
		return l
	}
	phases := func() []string { return slices.Sorted(maps.Keys(c.PhaseTimes())) }
	phases()
	require.NoError(t, c.Start(list("first"), func() { c.Phase("more") }))
	next := list("second")
	c.UploadF32(y, []float32{1, 1, 1, 1}) // waits
	require.NoError(t, c.Wait())
	require.Equal(t, []string{"first", "more"}, phases())
	require.NoError(t, c.Wait())
	require.Empty(t, phases())
	require.NoError(t, c.Start(next, func() {}))
	require.NoError(t, c.Wait())
	require.Equal(t, []string{"second"}, phases())
}
