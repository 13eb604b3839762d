package vk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/cpu"

	"vkdomino/vk"
)

// What lavapipe reads when an instance opens.
const (
	widthVariable = "LP_NATIVE_VECTOR_WIDTH"
	cacheVariable = "MESA_SHADER_CACHE_DIR"
)

func TestLavapipe(t *testing.T) {
	const m22, m25, m26 = "Mesa 22.3.6 (LLVM 15.0.6)", "Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)", "Mesa 26.1.6 (LLVM 21.1.8)"
	for _, c := range []struct {
		text                      string
		lanes                     int
		fast, fastest, broadcasts bool
	}{
		{m22, 8, true, true, false}, {m22, 16, true, true, false},
		{m25, 8, true, false, false}, {m25, 16, true, true, true},
		{m26, 8, false, false, false}, {m26, 16, true, true, true},
		{"580.95", 16, false, false, false}, {"", 4, false, false, false},
	} {
		i := vk.Lavapipe(c.text, c.lanes)
		require.Equal(t, []bool{c.fast, c.fastest, c.broadcasts}, []bool{i.FastTexels, i.FastestTexels, i.Broadcasts}, "%s, %d lanes", c.text, c.lanes)
	}
}

// environment sets both variables for a test, to nothing or what is given, with a cache folder of the user's own.
func environment(t *testing.T, width, cache string) (user string) {
	user = t.TempDir()
	t.Setenv("XDG_CACHE_HOME", user)
	t.Setenv("HOME", user)
	t.Setenv(widthVariable, width)
	t.Setenv(cacheVariable, cache)
	return user
}

// TestWiden: vectors of 512 bits are asked for where driver and CPU are known to gain by them and nobody chose a width.
func TestWiden(t *testing.T) {
	known := cpu.X86
	t.Cleanup(func() { cpu.X86 = known })
	x := &cpu.X86
	x.HasAVX512F, x.HasAVX512BW, x.HasAVX512CD, x.HasAVX512DQ, x.HasAVX512VL = true, true, true, true, true
	mesa := vk.Lavapipe("Mesa 25.0.7", 8)

	user := environment(t, "", "")
	require.True(t, vk.Widen(mesa))
	require.Equal(t, "512", os.Getenv(widthVariable))
	folder := filepath.Join(user, "vkdomino", "lavapipe-512")
	require.Equal(t, folder, os.Getenv(cacheVariable))
	require.DirExists(t, folder)
	require.False(t, vk.Widen(mesa), "a width is chosen now")

	environment(t, "256", "")
	require.False(t, vk.Widen(mesa), "the user chose")
	require.Empty(t, os.Getenv(cacheVariable))

	environment(t, "", "")
	require.False(t, vk.Widen(vk.Lavapipe("Mesa 22.3.6", 8)))
	require.False(t, vk.Widen(vk.Info{Name: "SwiftShader Device", CPU: true, SubgroupSize: 4}))
	x.HasAVX512VL = false
	require.False(t, vk.Widen(mesa), "a CPU without them")
	x.HasAVX512VL = true

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	t.Setenv(cacheVariable, file)
	require.False(t, vk.Widen(mesa), "no room for a cache")
	require.Empty(t, os.Getenv(widthVariable))
}

// TestSeparateCache: kernels of an unusual width go to a folder of their own, below the user's choice if there is one.
func TestSeparateCache(t *testing.T) {
	for _, usual := range []string{"", "256"} {
		environment(t, usual, "")
		require.NoError(t, vk.SeparateCache())
		require.Empty(t, os.Getenv(cacheVariable))
	}
	user := environment(t, "128", "")
	for range 2 {
		require.NoError(t, vk.SeparateCache())
		require.Equal(t, filepath.Join(user, "vkdomino", "lavapipe-128"), os.Getenv(cacheVariable))
	}
	chosen := t.TempDir()
	environment(t, "512", chosen)
	require.NoError(t, vk.SeparateCache())
	require.Equal(t, filepath.Join(chosen, "lavapipe-512"), os.Getenv(cacheVariable))
}
