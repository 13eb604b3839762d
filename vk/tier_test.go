package vk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/internal/testgpu"
	"vkdomino/vk"
)

func TestParseTier(t *testing.T) {
	for text, want := range map[string]vk.Tier{"": vk.TierAuto, "auto": vk.TierAuto, "0": vk.T0, "1": vk.T1, "2": vk.T2, "3": vk.T3} {
		got, err := vk.ParseTier(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"4", "-1", "T2", " 1"} {
		_, err := vk.ParseTier(text)
		require.ErrorContains(t, err, "want auto, 0, 1, 2 or 3", text)
		require.Equal(t, fail.Usage, fail.CodeOf(err))
	}
}

// TestTiers: which tier a device has of its own, and which it can be asked for.
func TestTiers(t *testing.T) {
	f16, bf16 := vk.Matrix{M: 16, N: 16, K: 16}, vk.Matrix{M: 16, N: 16, K: 16, BF16: true}
	workgroup := vk.WorkgroupMatrix{M: 16, N: 16, K: 16, Invocations: 256}
	cpu := vk.WithMatrices([]vk.Matrix{f16})
	cpu.CPU, cpu.SubgroupSize = true, 8
	cases := []struct {
		name  string
		info  vk.Info
		own   vk.Tier
		tiers []vk.Tier
	}{
		{"without matrices", vk.Info{SubgroupSize: 32}, vk.T1, []vk.Tier{vk.T0, vk.T1}},
		{"f16: only where asked for", vk.WithMatrices([]vk.Matrix{f16}), vk.T1, []vk.Tier{vk.T0, vk.T1, vk.T2}},
		{"bf16", vk.WithMatrices([]vk.Matrix{bf16, f16}), vk.T2, []vk.Tier{vk.T0, vk.T1, vk.T2}},
		{"of a workgroup", vk.WithMatrices([]vk.Matrix{bf16, f16}, workgroup), vk.T3, []vk.Tier{vk.T0, vk.T1, vk.T2, vk.T3}},
		{"of a workgroup, without bf16", vk.WithMatrices([]vk.Matrix{f16}, workgroup), vk.T1, []vk.Tier{vk.T0, vk.T1, vk.T2}},
		{"of unknown sizes", vk.WithMatrices(nil), vk.T1, []vk.Tier{vk.T0, vk.T1}},
		{"a CPU", cpu, vk.T0, []vk.Tier{vk.T0, vk.T1, vk.T2}},
		{"of a workgroup, without Vulkan 1.3", vk.WithMatrices([]vk.Matrix{bf16}, workgroup).Without("Vulkan 1.3"), vk.T2, []vk.Tier{vk.T0, vk.T1, vk.T2}},
		{"of a workgroup, without maintenance4", vk.WithMatrices([]vk.Matrix{bf16}, workgroup).Without("maintenance4"), vk.T2, []vk.Tier{vk.T0, vk.T1, vk.T2}},
		{"no feature", vk.WithMatrices([]vk.Matrix{bf16}, workgroup).Without("matrices"), vk.T1, []vk.Tier{vk.T0, vk.T1}},
		{"no memory model", vk.WithMatrices([]vk.Matrix{bf16}, workgroup).Without("memory model"), vk.T1, []vk.Tier{vk.T0, vk.T1}},
		{"no full subgroups", vk.WithMatrices([]vk.Matrix{bf16}, workgroup).Without("full subgroups"), vk.T1, []vk.Tier{vk.T0, vk.T1}},
	}
	for _, c := range cases {
		require.Equal(t, c.own, c.info.Tier(), c.name)
		require.Equal(t, c.tiers, c.info.Tiers(), c.name)
	}
	require.Equal(t, "16x16x16 bf16", bf16.String())
	require.Equal(t, "T2 (GPU: matrices of a subgroup)", vk.T2.String())
	require.Equal(t, "auto", vk.TierAuto.String())
}

// TestEnabledFeatures: LocalSizeId, which modules of T3 have, wants maintenance4, which is off unless asked for.
func TestEnabledFeatures(t *testing.T) {
	const matrix2, maintenance4 = 1000593000, 1000413000 // VkStructureType
	d := vk.WithMatrices([]vk.Matrix{{M: 16, N: 16, K: 16, BF16: true}}, vk.WorkgroupMatrix{M: 16, N: 16, K: 16, Invocations: 256})
	require.Subset(t, d.Enabled(vk.T3), []int32{matrix2, maintenance4})
	for _, tier := range []vk.Tier{vk.T0, vk.T1, vk.T2} {
		require.NotContains(t, d.Enabled(tier), int32(maintenance4), tier)
	}
}

// TestTierThatADeviceLacks is refused with what it lacks.
func TestTierThatADeviceLacks(t *testing.T) {
	alone(t, nil, func(t *testing.T) {
		list, err := vk.Devices()
		require.NoError(t, err)
		_, err = vk.Open(vk.Options{Index: 0, Tier: vk.T3})
		if len(list[0].Lacks(vk.T3)) == 0 {
			require.NoError(t, err)
			return
		}
		require.ErrorContains(t, err, "T3 (GPU: matrices of a workgroup): it lacks ")
		require.Equal(t, fail.Usage, fail.CodeOf(err))
		d, err := vk.Open(vk.Options{Index: 0, Tier: vk.TierAuto}) // the refusal left nothing open
		require.NoError(t, err)
		require.Empty(t, d.Close())
	})
}

// TestSpills adds the figures that name spilled registers or memory for them, by the names of several drivers; what went to
// other registers does not count.
func TestSpills(t *testing.T) {
	require.Zero(t, vk.Spills(nil))
	require.Zero(t, vk.Spills([]vk.Statistic{{Name: "Register Count", Value: 255}, {Name: "Shared Memory Size", Value: 40960}, {Name: "VGPRs", Value: 96}}))
	for _, name := range []string{"Spills to reg", "Fills from reg", "Spilled SGPRs", "Pre-Sched VGPRs"} {
		require.Zero(t, vk.Spills([]vk.Statistic{{Name: name, Value: 8}}), name)
	}
	for _, name := range []string{"Local Memory Size", "Spilled VGPRs", "Scratch size", "Spill count", "SLM size", "Spills to memory", "Spills", "STP Count"} {
		require.EqualValues(t, 8, vk.Spills([]vk.Statistic{{Name: "Register Count", Value: 255}, {Name: name, Value: 8}}), name)
	}
}

// TestStatistics: a pipeline that was not asked for them has none, and asking does no harm.
func TestStatistics(t *testing.T) {
	d := testgpu.Device(t)
	b := newBench(t, d)
	require.Empty(t, b.add.Statistics())
	p, err := d.Compile(b.shader(true))
	require.NoError(t, err)
	for _, s := range p.Statistics() {
		require.NotEmpty(t, s.Name)
	}
}
