package tensors

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// shards makes a checkpoint folder of two shards, a and b in the first, c in the second, with the given index.
func shards(t *testing.T, index string) string {
	t.Helper()
	dir := t.TempDir()
	one := func(name string, x float32) Named { return FromFloat32(name, F32, []int{1}, constant(x)) }
	require.NoError(t, WriteFile(filepath.Join(dir, "m-1.safetensors"), map[string]string{"format": "pt"}, []Named{one("a", 1), one("b", 2)}))
	require.NoError(t, WriteFile(filepath.Join(dir, "m-2.safetensors"), nil, []Named{one("c", 3)}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, IndexFile), []byte(index), 0o644))
	return dir
}

const goodIndex = `{"metadata":{"total_size":12},"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors","c":"m-2.safetensors"}}`

func TestOpenShardedModel(t *testing.T) {
	dir := shards(t, goodIndex)
	m, err := OpenModel(dir)
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, dir, m.Dir())
	require.Equal(t, []string{"a", "b", "c"}, m.Names())
	require.True(t, m.Has("c"))
	require.False(t, m.Has("d"))
	for i, name := range m.Names() {
		x, err := m.Float32(name)
		require.NoError(t, err)
		require.Equal(t, []float32{float32(i + 1)}, x)
		raw, dt, err := m.Raw(name)
		require.NoError(t, err)
		require.Equal(t, F32, dt)
		dst := make([]byte, 4)
		require.NoError(t, m.ReadAt(name, dst, 0))
		require.Equal(t, raw, dst)
		sum, err := m.SHA256(name)
		require.NoError(t, err)
		require.Len(t, sum, 64)
	}
	_, shape, ok := m.Info("c")
	require.True(t, ok)
	require.Equal(t, []int{1}, shape)
	require.Equal(t, "pt", m.Metadata()["format"])
}

func TestMissingTensorOfAModel(t *testing.T) {
	m, err := OpenModel(shards(t, goodIndex))
	require.NoError(t, err)
	defer m.Close()
	_, _, ok := m.Info("lm_head.weight")
	require.False(t, ok)
	for _, read := range []func() error{
		func() error { _, err := m.Float32("lm_head.weight"); return err },
		func() error { _, err := m.Int32s("lm_head.weight"); return err },
		func() error { _, _, err := m.Raw("lm_head.weight"); return err },
		func() error { _, err := m.SHA256("lm_head.weight"); return err },
		func() error { return m.ReadAt("lm_head.weight", nil, 0) },
	} {
		err := read()
		require.ErrorContains(t, err, `tensor "lm_head.weight": missing`)
		require.Equal(t, fail.Other, fail.CodeOf(err))
	}
}

func TestTheSingleFileWins(t *testing.T) {
	dir := shards(t, goodIndex)
	require.NoError(t, WriteFile(filepath.Join(dir, SingleFile), nil, []Named{FromFloat32("only", F32, nil, constant(1))}))
	m, err := OpenModel(dir)
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, []string{"only"}, m.Names())
}

func TestBrokenIndexes(t *testing.T) {
	with := func(entries string) string { return `{"weight_map":{` + entries + `}}` }
	cases := []struct{ name, index, want string }{
		{"empty file", "", "EOF"},
		{"not JSON", "hello", "index.json"},
		{"a list", "[]", "want an object, got ["},
		{"no weight_map", `{"metadata":{}}`, "want at least one tensor"},
		{"empty weight_map", with(""), "want at least one tensor"},
		{"weight_map is a list", `{"weight_map":[]}`, "weight_map: want an object"},
		{"shard is a number", with(`"a":1`), `weight_map "a": want a string, got 1`},
		{"two weight_maps", `{"weight_map":{"a":"m-1.safetensors"},"weight_map":{}}`, "duplicate object member name"},
		{"a name twice", with(`"a":"m-1.safetensors","a":"m-2.safetensors"`), "duplicate object member name"},
		{"text after it", goodIndex + "x", "after the closing brace"},
		{"shard above the folder", with(`"a":"../m-1.safetensors"`), `want the name of a file in this folder, got "../m-1.safetensors"`},
		{"absolute shard", with(`"a":"/etc/passwd"`), "want the name of a file in this folder"},
		{"shard without a name", with(`"a":""`), "want the name of a file in this folder"},
		{"shard with a detour", with(`"a":"x/../m-1.safetensors"`), "want the name of a file in this folder"},
		{"absent shard", with(`"a":"m-1.safetensors","z":"m-9.safetensors"`), `shard "m-9.safetensors", named by model.safetensors.index.json, is missing`},
		{"a name in no shard", strings.Replace(goodIndex, `"c":`, `"z":"m-2.safetensors","c":`, 1), `tensor "z": not in "m-2.safetensors"`},
		{"a name in another shard", strings.Replace(goodIndex, `"c":"m-2.`, `"c":"m-1.`, 1), `tensor "c": not in "m-1.safetensors"`},
		{"a folder as a shard", with(`"a":"."`), "not a regular file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenModel(shards(t, c.index))
			require.ErrorContains(t, err, c.want)
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestANameInTwoShards(t *testing.T) {
	dir := shards(t, goodIndex)
	require.NoError(t, WriteFile(filepath.Join(dir, "m-2.safetensors"), nil,
		[]Named{FromFloat32("c", F32, []int{1}, constant(1)), FromFloat32("a", F32, []int{1}, constant(1))}))
	_, err := OpenModel(dir)
	require.ErrorContains(t, err, `tensor "a": in two files, m-1.safetensors and m-2.safetensors`)
}

func TestTensorsOutsideTheIndexCannotBeReached(t *testing.T) {
	m, err := OpenModel(shards(t, `{"weight_map":{"a":"m-1.safetensors"}}`))
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, []string{"a"}, m.Names())
	require.False(t, m.Has("b"))
}

func TestACutShardIsNamed(t *testing.T) {
	dir := shards(t, goodIndex)
	require.NoError(t, os.Truncate(filepath.Join(dir, "m-2.safetensors"), 70))
	_, err := OpenModel(dir)
	require.ErrorContains(t, err, "m-2.safetensors")
	require.Equal(t, brokenHint, fail.HintOf(err))
}

func TestFoldersWithoutAModel(t *testing.T) {
	_, err := OpenModel(t.TempDir())
	require.ErrorContains(t, err, "want model.safetensors or model.safetensors.index.json, got neither")
	missing := filepath.Join(t.TempDir(), "none")
	_, err = OpenModel(missing)
	require.ErrorContains(t, err, fmt.Sprintf("model folder: open %s", missing))
	dangling := t.TempDir()
	require.NoError(t, os.Symlink("gone", filepath.Join(dangling, SingleFile)))
	_, err = OpenModel(dangling)
	require.ErrorContains(t, err, SingleFile)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestALargeIndexIsRefusedUnread(t *testing.T) {
	dir := shards(t, goodIndex)
	require.NoError(t, os.Truncate(filepath.Join(dir, IndexFile), maxIndexBytes+1))
	_, err := OpenModel(dir)
	require.ErrorContains(t, err, "want at most 67108864 bytes")
}
