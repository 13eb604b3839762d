package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/tensors"
)

// TestPlannedMemory holds the plan at SpecForge's settings to what it was brought to: a buffer more
// for every sample shows here.
func TestPlannedMemory(t *testing.T) {
	for _, c := range []struct {
		name      string
		batch     int
		optimizer bool
		most      float64 // GB
	}{
		{"without an update, 2 samples", 2, false, 14},
		{"with masters and moments, 8 samples", 8, true, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := preset(t, "specforge")
			p.Batch, p.Optimizer = c.batch, c.optimizer
			m, err := PlanStep(p, tensors.BF16, false, gpu.MaxBindingBytes)
			require.NoError(t, err)
			for _, q := range m.Purposes {
				t.Logf("%8.3f GB  %s", float64(q.Bytes)/1e9, q.Name)
			}
			require.LessOrEqual(t, float64(m.Planned)/1e9, c.most)
			require.Greater(t, float64(m.Planned)/1e9, 0.95*c.most, "lower the limit of this test")
		})
	}
}

// TestAllocatedMemory: a step of the smallest preset takes what was planned, where unused ends of buffers weigh most.
func TestAllocatedMemory(t *testing.T) {
	c := testgpu.Context(t)
	s, err := newStepRun(c, preset(t, "toy"), StepOptions{Precision: tensors.BF16})
	require.NoError(t, err)
	require.NoError(t, s.once())
	require.InEpsilon(t, s.report.Memory.Planned, c.Device.Allocated(), 0.05)
}
