package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/vk"
)

// TestNewContext: a Context is tuned on GPUs alone, and not where the environment says off.
func TestNewContext(t *testing.T) {
	cpu := testgpu.Device(t)
	gpu := *cpu
	for _, c := range []struct {
		tier   vk.Tier
		cpu    bool
		folder string
		tuned  bool
	}{
		{vk.T0, true, "", false}, {vk.T0, false, "", false}, {vk.T1, true, "", false}, {vk.T1, false, "", true}, {vk.T2, true, "", false}, {vk.T2, false, "off", false},
		{vk.T2, false, "", true}, {vk.T3, false, t.TempDir(), true},
	} {
		gpu.CPU = c.cpu
		t.Setenv(tuningVariable, c.folder)
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		got, err := contextOf(&gpu, c.tier)
		require.NoError(t, err)
		require.Equal(t, c.tuned, got.Tuning() != nil, c)
		warnTuning(got)
	}
	t.Setenv(tuningVariable, filepath.Join(t.TempDir(), "file", "folder"))
	require.NoError(t, os.WriteFile(filepath.Dir(os.Getenv(tuningVariable)), nil, 0o600))
	got, err := contextOf(&gpu, vk.T2)
	require.NoError(t, err, "a folder that cannot be is a warning")
	require.NotNil(t, got.Tuning())
}
