package checkpoint

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/tensors"
)

// damage changes a good checkpoint directory; want is what the error must say.
type damage struct {
	name string
	do   func(t *testing.T, dir string)
	want string
}

func edit(file string, change func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, file)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		changed := change(bytes.Clone(text))
		require.NotEqual(t, text, changed)
		require.NoError(t, os.WriteFile(path, changed, 0o644))
	}
}

func replace(file, old, new string) func(*testing.T, string) {
	return edit(file, func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) })
}

// reseal writes the manifest anew, so that what is wrong inside the files is found by the checks behind it.
func reseal(t *testing.T, dir string) {
	m := manifest{FormatVersion: Version}
	for _, name := range payload() {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		entry, err := writeHashed(filepath.Join(dir, name), func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		})
		require.NoError(t, err)
		m.Files = append(m.Files, entry)
	}
	text, err := m.encode()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ManifestFile), text, 0o644))
}

func sealed(do func(*testing.T, string)) func(*testing.T, string) {
	return func(t *testing.T, dir string) { do(t, dir); reseal(t, dir) }
}

// moments writes an optimizer file with the given tensors of shape [3].
func moments(dt tensors.DType, names ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		var list []tensors.Named
		for _, n := range names {
			list = append(list, tensors.FromFloat32(n, dt, []int{3}, func() ([]float32, error) { return make([]float32, 3), nil }))
		}
		require.NoError(t, tensors.WriteFile(filepath.Join(dir, OptimizerFile), nil, list))
	}
}

func missingFiles() []damage {
	var list []damage
	for _, name := range []string{ModelFile, OptimizerFile, StateFile, ManifestFile} {
		list = append(list,
			damage{"no " + name, func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, name))) }, name + ": no such file"},
			damage{"empty " + name, func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, name), 0)) }, name + ": "},
			damage{"cut " + name, func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, name), 60)) }, name + ": "},
			damage{"longer " + name, edit(name, func(b []byte) []byte { return append(b, ' ') }), name + ": "},
			damage{"a folder in place of " + name, func(t *testing.T, dir string) {
				require.NoError(t, os.Remove(filepath.Join(dir, name)))
				require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
			}, name + ": not a regular file"})
	}
	return list
}

func changedManifests() []damage {
	return []damage{
		{"older version", replace(ManifestFile, `"format_version": 1`, `"format_version": 0`), "format version: want 1, got 0"},
		{"newer version", replace(ManifestFile, `"format_version": 1`, `"format_version": 2`), "format version: want 1, got 2"},
		{"another file name", replace(ManifestFile, "model.saf", "../../saf"), "files: want"},
		{"a file less", edit(ManifestFile, func(b []byte) []byte {
			var m manifest
			_ = json.Unmarshal(b, &m)
			m.Files = m.Files[1:]
			out, _ := m.encode()
			return out
		}), "files: want"},
		{"another size", edit(ManifestFile, func(b []byte) []byte {
			var m manifest
			_ = json.Unmarshal(b, &m)
			m.Files[0].Size++
			out, _ := m.encode()
			return out
		}), "model.safetensors: want"},
		{"other hashes", edit(ManifestFile, func(b []byte) []byte {
			var m manifest
			_ = json.Unmarshal(b, &m)
			m.Files[2].SHA256 = strings.Repeat("0", 64)
			out, _ := m.encode()
			return out
		}), "state.json: SHA-256: want 0000"},
		{"an unknown key", replace(ManifestFile, `"files"`, `"x": 1, "files"`), "was changed"},
		{"a key twice", replace(ManifestFile, `"files"`, `"format_version": 1, "files"`), "was changed"},
		{"another spelling", replace(ManifestFile, `"files"`, `"Files"`), "was changed"},
		{"a space more", replace(ManifestFile, `: 1`, `:  1`), "was changed"},
		{"a list", edit(ManifestFile, func([]byte) []byte { return []byte("[]\n") }), "manifest.json: json"},
		{"huge", edit(ManifestFile, func([]byte) []byte { return bytes.Repeat([]byte(" "), maxManifestBytes+1) }), "want at most"},
	}
}

func sealedDamage() []damage {
	all := []string{"fc.weight.m", "fc.weight.v", "norm.weight.m", "norm.weight.v", "prefix_gru.weight_hh_l0.m", "prefix_gru.weight_hh_l0.v"}
	return []damage{
		{"state is no JSON", sealed(edit(StateFile, func([]byte) []byte { return []byte("hello") })), "state.json: invalid character"},
		{"state has a wrong type", sealed(replace(StateFile, `"step": 3`, `"step": "3"`)), "state.json: json"},
		{"state of another version", sealed(replace(StateFile, `"format_version": 1`, `"format_version": 9`)), "state.json: format version: want 1, got 9"},
		{"state of another step", sealed(replace(StateFile, `"step": 3`, `"step": 4`)), "step: want 3 as the directory says, got 4"},
		{"state inside a step", sealed(replace(StateFile, `"micro_batch": 0`, `"micro_batch": 2`)), "micro_batch: want 0, got 2"},
		{"model is no safetensors file", sealed(edit(ModelFile, func([]byte) []byte { return []byte("hello, world") })), "model.safetensors: tensors:"},
		{"optimizer is no safetensors file", sealed(edit(OptimizerFile, func([]byte) []byte { return []byte("hello, world") })), "optimizer.safetensors: tensors:"},
		{"a moment less", sealed(moments(tensors.F32, all[2:]...)), `tensor "fc.weight.m": missing`},
		{"moments of another shape", sealed(moments(tensors.F32, all...)), `tensor "fc.weight.m": want F32 [3 5], got F32 [3]`},
		{"moments in bfloat16", sealed(func(t *testing.T, dir string) {
			weights := filepath.Join(dir, ModelFile)
			one := tensors.FromFloat32("norm.weight", tensors.F32, []int{3}, func() ([]float32, error) { return make([]float32, 3), nil })
			require.NoError(t, tensors.WriteFile(weights, nil, []tensors.Named{one}))
			moments(tensors.BF16, "norm.weight.m", "norm.weight.v")(t, dir)
		}), "want F32 [3], got BF16 [3]"},
		{"moments of an unknown tensor", sealed(func(t *testing.T, dir string) {
			one := tensors.FromFloat32("norm.weight", tensors.F32, []int{3}, func() ([]float32, error) { return make([]float32, 3), nil })
			require.NoError(t, tensors.WriteFile(filepath.Join(dir, ModelFile), nil, []tensors.Named{one}))
			moments(tensors.F32, "norm.weight.m", "norm.weight.v", "x.m")(t, dir)
		}), "want 2 tensors, got 3"},
		{"weights in bfloat16", sealed(func(t *testing.T, dir string) {
			one := tensors.FromFloat32("norm.weight", tensors.BF16, []int{3}, func() ([]float32, error) { return make([]float32, 3), nil })
			require.NoError(t, tensors.WriteFile(filepath.Join(dir, ModelFile), nil, []tensors.Named{one}))
		}), `tensor "norm.weight": want F32, got BF16`},
		{"a tensor under two names", sealed(func(t *testing.T, dir string) {
			var list []tensors.Named
			for _, n := range []string{"dflash_module.norm.weight", "norm.weight"} {
				list = append(list, tensors.FromFloat32(n, tensors.F32, []int{3}, func() ([]float32, error) { return make([]float32, 3), nil }))
			}
			require.NoError(t, tensors.WriteFile(filepath.Join(dir, ModelFile), nil, list))
			moments(tensors.F32, "norm.weight.m", "norm.weight.v", "dflash_module.norm.weight.m", "dflash_module.norm.weight.v")(t, dir)
		}), "are the same tensor"},
	}
}

func TestDamagedCheckpointsAreRefused(t *testing.T) {
	cases := append(append(missingFiles(), changedManifests()...), sealedDamage()...)
	require.GreaterOrEqual(t, len(cases), 25)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := saved(t, 2, 3)
			c.do(t, Dir(dir, 3))
			_, err := Load(t.Context(), Dir(dir, 3))
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "checkpoint-3")
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
			path, skipped, err := newest(dir)
			require.NoError(t, err)
			require.Equal(t, Dir(dir, 2), path)
			require.Len(t, skipped, 1)
		})
	}
}

// flip returns the file with one bit changed, checks that the checkpoint no longer loads, and puts it back.
func flip(t *testing.T, dir, name string, content []byte, bit int) {
	t.Helper()
	changed := bytes.Clone(content)
	changed[bit/8] ^= 1 << (bit % 8)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), changed, 0o644))
	_, err := load(t.Context(), dir)
	require.ErrorIs(t, err, ErrCorrupt, "%s bit %d", name, bit)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
}

func TestEveryBitOfTheManifestCounts(t *testing.T) {
	dir := Dir(saved(t, 1), 1)
	content, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	require.NoError(t, err)
	for bit := range 8 * len(content) {
		flip(t, dir, ManifestFile, content, bit)
	}
	requireStep(t, dir, 1)
}

func TestRandomBitsOfTheFilesCount(t *testing.T) {
	dir := Dir(saved(t, 1), 1)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range payload() {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		for range 334 {
			flip(t, dir, name, content, rng.IntN(8*len(content)))
		}
	}
	requireStep(t, dir, 1)
}

func FuzzManifest(f *testing.F) {
	good, err := (&manifest{FormatVersion: Version, Files: []fileEntry{{Name: ModelFile}, {Name: OptimizerFile}, {Name: StateFile}}}).encode()
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte("{}"))
	f.Add([]byte(`{"format_version":1,"files":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), ManifestFile)
		require.NoError(t, os.WriteFile(path, content, 0o644))
		m, err := readManifest(path)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		again, err := m.encode()
		require.NoError(t, err)
		require.Equal(t, content, again)
	})
}
