package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/vk"
)

// TestMemoryLine names what may be had of the memory now only where that is much less.
func TestMemoryLine(t *testing.T) {
	const gib = int64(1) << 30
	require.Equal(t, "24.0 GiB", memoryLine(vk.Info{HeapBytes: 24 * gib}))
	require.Equal(t, "24.0 GiB", memoryLine(vk.Info{HeapBytes: 24 * gib, BudgetBytes: 23 * gib}))
	require.Equal(t, "24.0 GiB, of which 8.0 GiB may be had now", memoryLine(vk.Info{HeapBytes: 24 * gib, BudgetBytes: 8 * gib}))
}
