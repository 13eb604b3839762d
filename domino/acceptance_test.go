package domino

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAcceptedPrefix holds case C50 of spec.md §19.A too: 15 right drafts give a cycle of 16
// tokens, 16 give 17, a wrong first one gives 1.
func TestAcceptedPrefix(t *testing.T) {
	right := make([]int32, 17)
	for i := range right {
		right[i] = int32(i + 3)
	}
	wrong := append([]int32{99}, right[1:16]...)
	for _, k := range []struct {
		drafts, posterior []int32
		want              int
	}{
		{right[:15], right[:16], 15}, {right[:16], right, 16}, {wrong[:15], right[:16], 0},
		{nil, right[:1], 0}, {[]int32{3, 9, 5}, []int32{3, 4, 5, 6}, 1},
	} {
		require.Equal(t, k.want, AcceptedPrefix(k.drafts, k.posterior))
	}
}

func TestCutTokens(t *testing.T) {
	for _, k := range []struct {
		generated, stops []int32
		most, want       int
		stopped          bool
	}{
		{[]int32{5, 6, 7}, nil, 9, 3, false},
		{[]int32{5, 6, 7}, []int32{6, 7}, 9, 2, true},
		{[]int32{5, 6, 7}, []int32{5}, 9, 1, true},
		{[]int32{5, 6, 7}, []int32{7}, 2, 2, true}, // beyond the limit, as a cycle's last token may be
		{[]int32{5, 6, 7}, []int32{8}, 2, 2, false},
		{nil, []int32{8}, 2, 0, false},
	} {
		n, stopped := CutTokens(k.generated, k.stops, k.most)
		require.Equal(t, k.want, n)
		require.Equal(t, k.stopped, stopped)
	}
}

func TestTau(t *testing.T) {
	of := func(lengths ...int) Generation { return Generation{AcceptanceLengths: lengths} }
	require.Zero(t, Tau(nil))
	require.Zero(t, Tau([]Generation{of()}))
	require.Equal(t, 2.75, Tau([]Generation{of(1, 2, 3, 4), of(), of(3)})) // not the mean over all five cycles
	require.Zero(t, MeanLength(nil))
	require.Equal(t, []int{3, 2, 1}, AcceptedByPosition([]int{1, 2, 3, 5}, 3))
	require.Equal(t, []int{0, 0}, AcceptedByPosition([]int{1, 1}, 2))
}
