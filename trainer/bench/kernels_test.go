package bench

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/tensors"
)

// TestKernelsAreThoseOfAStep: what is compiled without a run is what a run takes, and what decoding has beyond it.
func TestKernelsAreThoseOfAStep(t *testing.T) {
	c, p := testgpu.Context(t), small(t)
	r, err := Kernels(c.Device, p, tensors.BF16)
	require.NoError(t, err)
	compiled := map[string]bool{}
	for _, k := range r.Kernels {
		if k.Usual {
			compiled[k.Name] = true
		}
	}
	s, err := Step(c, p, StepOptions{Precision: tensors.BF16, Runs: 1, Table: true, Target: true})
	require.NoError(t, err)
	ran := map[string]bool{}
	for _, k := range s.Table {
		if k.Name != "fill" && k.Name != "copy" {
			ran[k.Name] = true
		}
	}
	var decoding []string
	for name := range compiled {
		if !ran[name] {
			stem, _, _ := strings.Cut(name, ".")
			decoding = append(decoding, stem)
		}
		delete(ran, name)
	}
	require.Empty(t, ran, "not compiled")
	slices.Sort(decoding)
	require.Equal(t, []string{"argmax", "candidates", "correct_candidates", "gru_cell", "gru_token", "head_activation",
		"rejection_sample", "sample_index", "sampling_probs"}, slices.Compact(decoding))
}

// TestFigure looks figures up by the first name that there is.
func TestFigure(t *testing.T) {
	k := CompiledKernel{Figures: map[string]uint64{"Pre-Sched VGPRs": 40, "VGPRs": 48, "Code size": 8}}
	v, ok := k.Figure("Register Count", "vgprs", "code size")
	require.True(t, ok)
	require.EqualValues(t, 48, v)
	_, ok = k.Figure("GPRs")
	require.False(t, ok)
}
