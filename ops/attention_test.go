package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
)

// TestGPUAttentionTile: what attention_t1.glsl takes for granted holds for every head, list and device.
func TestGPUAttentionTile(t *testing.T) {
	const keys, slice = 64, 4
	for _, device := range [][2]int{{128, 4}, {128, 32}, {256, 16}, {256, 64}, {1024, 32}, {1024, 128}, {128, 128}} {
		most, lanes := device[0], device[1]
		for _, n := range []int{1, 4, 16, 17, 32, 64, 4096} {
			for dim := 2; dim <= 256; dim += 2 {
				for sums := 1; sums <= 2; sums++ {
					group, rows, parts := ops.GPUAttentionTile(n, dim, sums, most, lanes)
					require.LessOrEqual(t, group, most)
					require.Zero(t, group%lanes, "a device may be asked for whole subgroups")
					require.GreaterOrEqual(t, 4*parts, dim, "every element has an invocation")
					require.Zero(t, rows%4)
					require.LessOrEqual(t, rows*slice, group, "a row is staged at once")
					require.Zero(t, keys*slice%group, "and so are keys, in turns")
					require.Zero(t, keys*rows%(4*group), "an invocation has whole keys of SCORES")
					require.Zero(t, rows*parts%(4*group), "and whole fours of rows of ACCUMULATE")
					require.LessOrEqual(t, rows*parts*sums/group, 8, "sums stay in registers")
					shared := 16*max((rows+keys)*(slice+1)+group, keys*(rows/4+1)) + 4*(3*rows+keys) + 4
					require.LessOrEqual(t, shared, 16<<10, "what Vulkan guarantees")
				}
			}
		}
	}
}
