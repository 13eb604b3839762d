package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
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

// TestNamedCompiler: a shader that names a compiler is compiled by that one alone, and its module stays where there is none.
func TestNamedCompiler(t *testing.T) {
	shadersCopy(t)
	m, err := readManifest()
	require.NoError(t, err)
	if have := toolVersion(module{}); have != m.Tool {
		t.Skipf("not run: needs %s, have %q", m.Tool, have)
	}
	t.Cleanup(func() { newer = nil })
	const source = "shaders/later.comp"
	write := func(text string) {
		require.NoError(t, os.WriteFile(source, []byte("#version 450\n// compiler: shaderc 9999.1 vulkan1.3\n"+text), 0o600))
	}
	write("void main() {}\n")
	require.ErrorContains(t, runBuild(), "later.comp changed and needs shaderc 9999.1")

	newer = words(t, "shaderc 9999.1-2")
	require.NoError(t, runBuild())
	m, err = readManifest()
	require.NoError(t, err)
	last := m.Modules[slices.IndexFunc(m.Modules, func(m module) bool { return m.Name == "later" })]
	require.Equal(t, "shaderc 9999.1", last.Tool)
	require.Equal(t, "vulkan1.3", last.Target)
	spirv, err := os.ReadFile(spvPath("later"))
	require.NoError(t, err)
	require.EqualValues(t, 0x00010600, binary.LittleEndian.Uint32(spirv[4:]), "SPIR-V 1.6 is of Vulkan 1.3")
	require.NoError(t, runCheck())

	for _, other := range [][]string{nil, {"no-such-program"}, words(t, "shaderc 9999.10")} {
		newer = other
		require.NoError(t, runCheck(), "what cannot be compiled is compared by its hashes")
		require.NoError(t, runBuild(), "nothing has changed")
		have, err := os.ReadFile(spvPath("later"))
		require.NoError(t, err)
		require.Equal(t, spirv, have)
	}
	write("void main() { barrier(); }\n")
	require.ErrorContains(t, runCheck(), "later: source or module differs")
	require.ErrorContains(t, runBuild(), "needs shaderc 9999.1, have \"shaderc 9999.10\"")
}

// words is a program that runs the words behind it, as a compiler of a version.
func words(t *testing.T, version string) []string {
	path := filepath.Join(t.TempDir(), "run")
	script := "#!/bin/sh\ncase \"$*\" in 'glslc --version') echo '" + version + "';; *) exec \"$@\";; esac\n"
	require.NoError(t, os.WriteFile(path, []byte(script), 0o700))
	return []string{path}
}

// TestHashesFollowIncludes: a module's hash has what its source includes, directly or not, and nothing else.
func TestHashesFollowIncludes(t *testing.T) {
	shadersCopy(t)
	hashes := func() map[string]string {
		list, err := plan()
		require.NoError(t, err)
		found := map[string]string{}
		for _, m := range list {
			found[m.Source] = m.Hash
		}
		return found
	}
	before := hashes()
	edit(t, "shaders/include/silu.glsl", func(text []byte) []byte { return append(text, '\n') })
	after := hashes()
	require.Equal(t, before["add.comp"], after["add.comp"])
	require.NotEqual(t, before["silu_forward.comp"], after["silu_forward.comp"])
	edit(t, "shaders/include/workgroup.glsl", func(text []byte) []byte { return append(text, '\n') }) // of flat.glsl
	require.NotEqual(t, after["add.comp"], hashes()["add.comp"])
	require.NoError(t, os.Remove("shaders/include/silu.glsl"))
	_, err := plan()
	require.ErrorContains(t, err, "silu_forward.comp: open shaders/include/silu.glsl")
}
