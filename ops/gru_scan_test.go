package ops_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// scanShapes are bs, nb, G: fewer rows than a workgroup has and more, lanes without units, one step; the last three are not
// scanned in one dispatch.
var scanShapes = [][]int{
	{1, 1, 8}, {2, 7, 8}, {8, 16, 24}, {8, 33, 64}, {2, 130, 64}, {8, 7, 96}, {1, 33, 24}, {8, 1, 64}, {3, 16, 128},
	{2, 3, ops.ScanUnits + 8}, {3, 5, 12}, {1, 300, ops.ScanUnits},
}

// scans says whether one kernel is to scan nb blocks and G units.
func scans(d *vk.Device, nb, G int) bool {
	groups := (nb + d.SubgroupSize - 1) / d.SubgroupSize
	return d.Tier() == vk.T0 && d.FastestTexels && G%8 == 0 && G <= ops.ScanUnits && groups*G*G <= ops.ScanWork
}

// newScanCase is a gruCase whose tensors start behind others, at multiples of 16 bytes.
func newScanCase(r *rig, dtype tensors.DType, bs, nb, g int) *gruCase {
	k := newGRUCase(r, dtype, bs, nb, g)
	k.gi, k.dStates = r.tensor(tensors.F32, 20, bs*nb, 3*g), r.tensor(tensors.F32, 4, bs*nb, g)
	r.fill(k.gi, narrow(k.giIn))
	r.fill(k.dStates, narrow(k.dStatesIn))
	whh := r.tensor(dtype, 24, 3*g, g)
	k.whhIn = r.fill(whh, r.floats(k.whh))
	k.whh, k.dGi, k.dGh = whh, r.tensor(dtype, 8, bs*nb, 3*g), r.tensor(dtype, 40, bs*nb, 3*g)
	return k
}

// TestGRUScan: all steps in one dispatch give the bits of a dispatch for each, and they agree with the oracle.
func TestGRUScan(t *testing.T) {
	for _, dtype := range storages {
		for _, s := range scanShapes {
			t.Run(fmt.Sprintf("%s/%v", dtype, s), func(t *testing.T) {
				r := newRig(t, 40)
				k := newScanCase(r, dtype, s[0], s[1], s[2])
				got := bothWays(r, func() []tensors.Tensor {
					r.fill(k.dWhh, narrow(k.dIn))
					k.run()
					k.check()
					return []tensors.Tensor{k.states(), k.gates(), k.dGi, k.dGh}
				})
				require.Equal(t, got[0], got[1])
				scanned := scans(r.c.Device, s[1], s[2])
				for _, kernel := range []string{"gru_scan_forward.", "gru_scan_backward."} {
					name := kernel + map[tensors.DType]string{tensors.F32: "f32", tensors.BF16: "bf16"}[dtype]
					require.Equal(t, scanned, slices.Contains(r.c.KernelNames(), name), name)
				}
			})
		}
	}
}

// TestGRUScanOfSharedRows: so they do with rows of gi that steps share.
func TestGRUScanOfSharedRows(t *testing.T) {
	const bs, nb, g = 5, 37, 40
	for _, dtype := range storages {
		r := newRig(t, 41)
		k := newScanCase(r, dtype, bs, nb, g)
		gi, _ := r.input(tensors.F32, 6, 3*g)
		rows := make([]int, bs*nb)
		for i := range rows {
			rows[i] = r.random.IntN(6)
		}
		index := r.indices(rows...)
		got := bothWays(r, func() []tensors.Tensor {
			k.c.GRU(k.saved, gi, index, k.whh, bs, nb)
			return []tensors.Tensor{k.states(), k.gates()}
		})
		require.Equal(t, got[0], got[1], dtype)
	}
}

// TestGRUScanRepeats runs one scan ten times from the same inputs: the same bits.
func TestGRUScanRepeats(t *testing.T) {
	k := newScanCase(newRig(t, 42), tensors.BF16, 6, 37, 64)
	k.run()
	first := [][]float32{k.floats(k.states()), k.floats(k.gates()), k.floats(k.dGi), k.floats(k.dGh)}
	for range 9 {
		k.run()
		require.Equal(t, first, [][]float32{k.floats(k.states()), k.floats(k.gates()), k.floats(k.dGi), k.floats(k.dGh)})
	}
}
