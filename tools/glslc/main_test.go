package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// few are the sources of the copy: two, so that a test takes a moment.
var few = []string{"add.comp", "silu_forward.comp"}

// shadersCopy makes a folder with shaders/ of a few sources, all includes and the manifest's part of them, and moves into it.
func shadersCopy(t *testing.T) {
	t.Helper()
	t.Chdir("../..")
	m, err := readManifest()
	require.NoError(t, err)
	work := t.TempDir()
	cp := func(path string) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(work, filepath.Dir(path)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(work, path), text, 0o600))
	}
	includes, err := filepath.Glob("shaders/include/*.glsl")
	require.NoError(t, err)
	for _, p := range includes {
		cp(p)
	}
	var kept []module
	for _, source := range few {
		cp(filepath.Join(dir, source))
		for _, mod := range m.Modules {
			if mod.Source == source {
				kept = append(kept, mod)
				cp(spvPath(mod.Name))
			}
		}
	}
	t.Chdir(work)
	planned, err := plan()
	require.NoError(t, err)
	require.Len(t, kept, len(planned))
	for i := range kept {
		kept[i].Hash = planned[i].Hash // an include of other shaders may be in the making
	}
	m.Modules = kept
	writeManifest(t, m)
}

func writeManifest(t *testing.T, m manifest) {
	t.Helper()
	text, err := json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("shaders/manifest.json", text, 0o600))
}

// edit changes a file of the copy.
func edit(t *testing.T, path string, change func(text []byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, change(text), 0o600))
}

// TestCheck: -check sees each way in which sources, modules and manifest come apart, with glslc and without.
func TestCheck(t *testing.T) {
	comment := func(text []byte) []byte { return append(text, "// a change\n"...) }
	flip := func(text []byte) []byte { text[len(text)/2] ^= 1; return text }
	cases := []struct {
		name, want string // want is "" where the check passes
		change     func(t *testing.T)
	}{
		{"nothing", "", func(*testing.T) {}},
		{"source", "add.f32: source or module differs", func(t *testing.T) { edit(t, "shaders/add.comp", comment) }},
		{"include", "source or module differs", func(t *testing.T) { edit(t, "shaders/include/flat.glsl", comment) }},
		{"module", "add.bf16: source or module differs", func(t *testing.T) { edit(t, spvPath("add.bf16"), flip) }},
		{"module cut", "add.bf16: source or module differs", func(t *testing.T) {
			edit(t, spvPath("add.bf16"), func(text []byte) []byte { return text[:len(text)-4] })
		}},
		{"module missing", "add.f32.spv", func(t *testing.T) { require.NoError(t, os.Remove(spvPath("add.f32"))) }},
		{"manifest missing", "manifest.json", func(t *testing.T) { require.NoError(t, os.Remove("shaders/manifest.json")) }},
		{"manifest broken", "JSON", func(t *testing.T) { edit(t, "shaders/manifest.json", func(b []byte) []byte { return b[:len(b)/2] }) }},
		{"source missing", "the sources make 2 modules, the manifest has 4", func(t *testing.T) { require.NoError(t, os.Remove("shaders/add.comp")) }},
		{"source added", "the sources make 5 modules, the manifest has 4", func(t *testing.T) {
			require.NoError(t, os.WriteFile("shaders/more.comp", []byte("#version 450\nvoid main() {}\n"), 0o600))
		}},
		{"variant renamed", "differs from the manifest", func(t *testing.T) {
			edit(t, "shaders/manifest.json", func(b []byte) []byte {
				var m manifest
				require.NoError(t, json.Unmarshal(b, &m))
				m.Modules[1].Name = "add.f16"
				text, err := os.ReadFile(spvPath("add.bf16"))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(spvPath("add.f16"), text, 0o600))
				out, err := json.Marshal(m)
				require.NoError(t, err)
				return out
			})
		}},
	}
	for _, c := range cases {
		for _, tools := range []bool{true, false} {
			t.Run(c.name+map[bool]string{true: " with glslc if installed", false: " without glslc"}[tools], func(t *testing.T) {
				shadersCopy(t)
				if !tools {
					t.Setenv("PATH", "")
				}
				c.change(t)
				if err := runCheck(); c.want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, c.want)
				}
			})
		}
	}
}

// TestCheckCompilesAnew: where the manifest's compiler is installed, a module that agrees with the manifest but not
// with its source is found out.
func TestCheckCompilesAnew(t *testing.T) {
	shadersCopy(t)
	m, err := readManifest()
	require.NoError(t, err)
	if have := toolVersion(module{}); have != m.Tool {
		t.Skipf("not run: needs %s, have %q", m.Tool, have)
	}
	other, err := os.ReadFile(spvPath("silu_forward.f32"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(spvPath("add.f32"), other, 0o600))
	m.Modules[0].SPIRV = sum(other)
	writeManifest(t, m)
	require.ErrorContains(t, runCheck(), "add.f32: compiling gives other bytes than the committed module")
}

// TestBuild: a build repairs what -check complains of, and removes what no source makes.
func TestBuild(t *testing.T) {
	shadersCopy(t)
	m, err := readManifest()
	require.NoError(t, err)
	if have := toolVersion(module{}); have != m.Tool {
		t.Skipf("not run: needs %s, have %q", m.Tool, have)
	}
	want, err := os.ReadFile(spvPath("add.f32"))
	require.NoError(t, err)
	edit(t, spvPath("add.f32"), func(text []byte) []byte { return text[:16] })
	require.NoError(t, os.Remove(spvPath("add.bf16")))
	stale := spvPath("gone.f32")
	require.NoError(t, os.WriteFile(stale, want, 0o600))
	require.Error(t, runCheck())
	require.NoError(t, runBuild())
	require.NoError(t, runCheck())
	got, err := os.ReadFile(spvPath("add.f32"))
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoFileExists(t, stale)
	require.NoError(t, os.WriteFile("shaders/broken.comp", []byte("#version 450\nvoid main() { nonsense; }\n"), 0o600))
	require.ErrorContains(t, runBuild(), "nonsense")
	t.Setenv("PATH", "")
	require.ErrorContains(t, runBuild(), "glslc is not installed")
}

func TestCombinations(t *testing.T) {
	require.Equal(t, [][][2]string{nil}, combinations([]byte("#version 450\n")))
	require.Equal(t, [][][2]string{{{"A", "x"}}, {{"A", "y"}}}, combinations([]byte("#version 450\n// variants: A=x,y\n")))
	require.Equal(t, [][][2]string{
		{{"A", "x"}, {"B", "1"}}, {{"A", "x"}, {"B", "2"}}, {{"A", "y"}, {"B", "1"}}, {{"A", "y"}, {"B", "2"}},
	}, combinations([]byte("// variants: A=x,y B=1,2\nvoid main() {}\n")))
}
