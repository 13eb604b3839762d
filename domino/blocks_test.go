package domino

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// twoBlocks is the layout of C12 to C15: S=8, bs=4, anchors 2 and 5, mask id 9.
func twoBlocks(t *testing.T, keep ...bool) *Layout {
	t.Helper()
	ids := []int32{1, 2, 7, 4, 6, 3, 8, 5}
	l, err := NewLayout(Anchors{N: 2, Anchor: []int32{2, 5}, Keep: keep}, ids, 1, 8, 4, 9)
	require.NoError(t, err)
	return l
}

// C12, C13 and the GRU's teacher tokens of §6.1.
func TestNewLayout(t *testing.T) {
	l := twoBlocks(t, true, true)
	require.Equal(t, []int32{7, 9, 9, 9, 3, 9, 9, 9}, l.NoiseIDs)
	require.Equal(t, []int32{2, 3, 4, 5, 5, 6, 7, 8}, l.Positions)
	require.Equal(t, []int32{7, 4, 6, 3, 3, 8, 5, 5}, l.TeacherIDs) // the last is clamped to S-1
	require.Equal(t, []Block{{0, 2, 0}, {0, 5, 1}}, l.Blocks)
	require.Equal(t, []int32{0, 2}, l.RowStart)
	require.Equal(t, []int32{5}, l.ContextRows())

	l = twoBlocks(t, true, false) // a dropped block is not launched at all (§4.5)
	require.Equal(t, []int32{7, 9, 9, 9}, l.NoiseIDs)
	require.Equal(t, 4, l.DraftRows())
	require.Equal(t, []int32{2}, l.ContextRows())
}

func TestNewLayoutRows(t *testing.T) {
	ids := []int32{10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33}
	a := Anchors{N: 2, Anchor: []int32{3, 1, 2, 0, 0, 0}, Keep: []bool{true, true, false, false, true, true}}
	l, err := NewLayout(a, ids, 3, 4, 2, 9)
	require.NoError(t, err)
	require.Equal(t, []Block{{0, 1, 1}, {0, 3, 0}, {2, 0, 0}, {2, 0, 1}}, l.Blocks) // by anchor, then slot
	require.Equal(t, []int32{0, 2, 2, 4}, l.RowStart)

	requireContext := func(wantStart []int32, wantRows, wantLongest int) {
		t.Helper()
		rows, longest := l.Context()
		require.Equal(t, wantStart, l.ContextStart)
		require.Equal(t, []int{wantRows, wantLongest}, []int{rows, longest})
	}
	requireContext([]int32{0, 3, 3, 3}, 3, 3) // what stands at or behind the last anchor is no context
	l.ExtendContext([]int32{0, 4, 10, 8})
	requireContext([]int32{0, 3, 4, 7}, 7, 3)
	l.KeepContext()
	requireContext([]int32{0, 4, 8, 12}, 12, 4)
	require.Equal(t, []int32{11, 9, 13, 9, 30, 9, 30, 9}, l.NoiseIDs)
	require.Equal(t, []int32{11, 12, 13, 13, 30, 31, 30, 31}, l.TeacherIDs)
	require.Equal(t, []int32{3, 0, 0}, l.ContextRows())
}

func TestNewLayoutEmpty(t *testing.T) {
	l, err := NewLayout(Anchors{}, make([]int32, 8), 2, 4, 4, 9)
	require.NoError(t, err)
	require.Zero(t, l.DraftRows())
	require.Equal(t, []int32{0, 0, 0}, l.RowStart)
	require.Equal(t, []int32{0, 0}, l.ContextRows())
	require.False(t, l.Allowed(0, 0, 0))
}

func TestNewLayoutErrors(t *testing.T) {
	ids := make([]int32, 4)
	for want, a := range map[string]Anchors{
		"anchors[0,0]: want 0 to 3, got 4":  {N: 1, Anchor: []int32{4}, Keep: []bool{true}},
		"anchors[0,0]: want 0 to 3, got -1": {N: 1, Anchor: []int32{-1}, Keep: []bool{true}},
		"anchors: want [2], got [1]":        {N: 2, Anchor: []int32{1}, Keep: []bool{true, true}},
		"keep: want [1], got [0]":           {N: 1, Anchor: []int32{1}},
	} {
		_, err := NewLayout(a, ids, 1, 4, 2, 9)
		require.ErrorContains(t, err, want)
	}
	_, err := NewLayout(Anchors{}, ids, 2, 4, 2, 9)
	require.ErrorContains(t, err, "input_ids: want [8], got [4]")
}

// allowedKeys lists the keys that draft row q sees.
func allowedKeys(l *Layout, q, window int) []int {
	var keys []int
	for j := range l.SeqLen + l.DraftRows() {
		if l.Allowed(q, j, window) {
			keys = append(keys, j)
		}
	}
	return keys
}

// C14, and C21: a dropped block sees nothing, an anchor at 0 only its own block.
func TestAllowedFull(t *testing.T) {
	l := twoBlocks(t, true, true)
	total := 0
	for q := range l.DraftRows() {
		want := []int{0, 1, 8, 9, 10, 11}
		if q >= 4 {
			want = []int{0, 1, 2, 3, 4, 12, 13, 14, 15}
		}
		require.Equal(t, want, allowedKeys(l, q, 0), "row %d", q)
		total += len(want)
	}
	require.Equal(t, 60, total)

	first, err := NewLayout(Anchors{N: 1, Anchor: []int32{0}, Keep: []bool{true}}, make([]int32, 8), 1, 8, 4, 9)
	require.NoError(t, err)
	require.Equal(t, []int{8, 9, 10, 11}, allowedKeys(first, 0, 0))
	require.False(t, l.Allowed(8, 0, 0))
	require.False(t, l.Allowed(0, -1, 0))
}

// C15 and C18.
func TestAllowedWindow(t *testing.T) {
	l := twoBlocks(t, true, true)
	for q, context := range [][]int{{0, 1}, {0, 1}, {1}, {}, {2, 3, 4}, {3, 4}, {4}, {}} {
		own := []int{8, 9, 10, 11}
		if q >= 4 {
			own = []int{12, 13, 14, 15}
		}
		require.Equal(t, append(context, own...), allowedKeys(l, q, 4), "row %d", q)
	}
	l, err := NewLayout(Anchors{N: 1, Anchor: []int32{10}, Keep: []bool{true}}, make([]int32, 16), 1, 16, 4, 9)
	require.NoError(t, err)
	for q, context := range [][]int{{5, 6, 7, 8, 9}, {6, 7, 8, 9}, {7, 8, 9}, {8, 9}} {
		require.Equal(t, append(context, 16, 17, 18, 19), allowedKeys(l, q, 6), "row %d", q)
	}
}
