package ops

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// TestFold: the grid holds n workgroups, in dimensions that every device offers, and little more.
func TestFold(t *testing.T) {
	for _, n := range []int{0, 1, 2, 65534, 65535, 65536, 65537, 131070, 131071, 1e6, 1e8, 1<<30 + 1, maxGroups * maxGroups} {
		g := fold(n)
		x, y := int(g[0]), int(g[1])
		require.EqualValues(t, 1, g[2])
		require.GreaterOrEqual(t, x*y, n, "%d", n)
		require.Less(t, x*y, n+y, "%d", n)
		require.LessOrEqual(t, x, maxGroups, "%d", n)
		require.LessOrEqual(t, y, maxGroups, "%d", n)
		require.Equal(t, n <= maxGroups, y == 1, "%d", n)
	}
}

func TestVectors(t *testing.T) {
	for _, c := range []struct {
		dtype  tensors.DType
		offset int64
		cols   int
		want   bool
	}{
		{tensors.F32, 0, 4, true},
		{tensors.F32, 16, 8, true},
		{tensors.F32, 8, 8, false},
		{tensors.F32, 0, 6, false},
		{tensors.BF16, 8, 4, true},
		{tensors.BF16, 4, 4, false},
		{tensors.BF16, 2, 4, false},
		{tensors.BF16, 256, 0, true},
	} {
		x := tensors.Tensor{DType: c.dtype, Shape: []int{c.cols}, Region: vk.Region{Offset: c.offset}}
		require.Equal(t, c.want, vectors(x, c.cols), "%s at %d, %d columns", c.dtype, c.offset, c.cols)
	}
}

// TestGroups: workgroups are whole subgroups, within the device's limit, at every subgroup size.
func TestGroups(t *testing.T) {
	for _, lanes := range []int{4, 8, 16, 32, 64, 128} {
		for _, most := range []int{128, 256, 1024} {
			c := &Context{Device: &vk.Device{Info: vk.Info{SubgroupSize: lanes, MaxInvocations: most}}} // of tier T0
			rows, subgroups := c.rowGroup()
			require.Equal(t, []int{lanes, 1}, []int{rows, subgroups}, "T0: a subgroup to a row")
			require.Equal(t, []uint32{uint32(lanes), 1, 7}, c.rowSpec(7))
			flat := c.flatGroup()
			require.Zero(t, flat%lanes, "%d lanes, %d invocations", lanes, most)
			require.LessOrEqual(t, flat, most)
			require.Equal(t, []uint32{uint32(flat), uint32(flat / lanes), 1}, c.flatSpec(1))
		}
	}
}
