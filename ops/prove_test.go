package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/vk"
)

// TestProve: the kernels that there are compute what they should, and one that leaves rows out is found.
func TestProve(t *testing.T) {
	r := newRig(t, 51)
	require.NoError(t, r.c.Prove())
	require.NoError(t, r.c.ProveWith(func(rows int) int { return rows }))
	require.ErrorContains(t, r.c.ProveWith(func(rows int) int { return 2 * rows }), "ops: a kernel, nt 300x264x200, result F32: element ")
}

// TestProveTier: a tier that was found wrong is lowered, once and for all later Contexts of the driver.
func TestProveTier(t *testing.T) {
	r := matrixRig(t, 52)
	folder := t.TempDir()
	use := func() (*ops.Context, error) {
		d := *r.c.Device
		c := ops.New(&d)
		c.Tune(openTuning(t, folder))
		warning, err := c.ProveTier()
		require.NoError(t, err)
		return c, warning
	}
	c, warning := use()
	require.NoError(t, warning)
	require.Equal(t, vk.T2, c.Device.Tier())
	require.Contains(t, tuningText(t, folder), `"T2 (GPU: matrices of a subgroup)": ""`)
	c.Tuning().NoteProof(vk.T2, "element 3, 4")
	for range 2 {
		c, warning = use()
		require.ErrorContains(t, warning, "element 3, 4; using T1")
		require.Equal(t, vk.T1, c.Device.Tier())
		require.Empty(t, c.MatrixKernels(ops.NT))
	}
}
