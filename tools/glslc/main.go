// Command glslc compiles the shaders: `go run ./tools/glslc` writes
// shaders/spv/*.spv and shaders/manifest.json, `-check` compares instead.
//
// A shader names its variants in a comment near its top:
//
//	// variants: LAYOUT=nt,nn,tn STORAGE=f32,bf16
//
// Every combination becomes a module gemm_t0.nt.bf16.spv, compiled with
// -DLAYOUT_NT -DSTORAGE_BF16. Without such a line there is one module.
//
// -check always compares sources and modules with the manifest; where glslc is
// installed in the manifest's version it also compiles anew and compares bytes,
// and where spirv-val is installed it validates every module. It says which of
// these it did.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

const dir = "shaders"

var flags = []string{"-O", "--target-env=vulkan1.2", "-fshader-stage=compute"}

// module is one compiled variant in the manifest.
type module struct {
	Name   string   `json:"name"`
	Source string   `json:"source"`
	Define []string `json:"define,omitempty"`
	Hash   string   `json:"source_sha256"` // of the shader and every include
	SPIRV  string   `json:"spirv_sha256"`
}

type manifest struct {
	Tool    string   `json:"tool"`
	Flags   []string `json:"flags"`
	Modules []module `json:"modules"`
}

func main() {
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	var err error
	if *check {
		err = runCheck()
	} else {
		err = runBuild()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "glslc:", err)
		os.Exit(1)
	}
}

func sum(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }

// toolVersion is the first line of `glslc --version`, or "" where there is no glslc.
func toolVersion() string {
	out, err := exec.Command("glslc", "--version").Output()
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(strings.SplitN(string(out), "\n", 2)[0]), " ")
}

var variantsLine = regexp.MustCompile(`(?m)^// variants: (.+)$`)

// plan lists the modules that the sources make, with their source hashes.
func plan() ([]module, error) {
	includes, err := readAll("include/*.glsl")
	if err != nil {
		return nil, err
	}
	sources, err := filepath.Glob(filepath.Join(dir, "*.comp"))
	if err != nil {
		return nil, err
	}
	sort.Strings(sources)
	var list []module
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		source := filepath.Base(path)
		hash := sum(append(append([]byte{}, text...), includes...))
		for _, combo := range combinations(text) {
			m := module{Name: strings.TrimSuffix(source, ".comp"), Source: source, Hash: hash}
			for _, kv := range combo {
				m.Name += "." + kv[1]
				m.Define = append(m.Define, strings.ToUpper(kv[0]+"_"+kv[1]))
			}
			list = append(list, m)
		}
	}
	return list, nil
}

func readAll(pattern string) ([]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, err
	}
	sort.Strings(paths)
	var all []byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

// combinations expands a variants line to lists of (key, value).
func combinations(text []byte) [][][2]string {
	list := [][][2]string{nil}
	m := variantsLine.FindSubmatch(text)
	if m == nil {
		return list
	}
	for _, field := range strings.Fields(string(m[1])) {
		key, values, _ := strings.Cut(field, "=")
		var next [][][2]string
		for _, have := range list {
			for _, v := range strings.Split(values, ",") {
				next = append(next, append(have[:len(have):len(have)], [2]string{key, v}))
			}
		}
		list = next
	}
	return list
}

func compile(m module) ([]byte, error) {
	out, err := os.CreateTemp("", "vkdomino-*.spv")
	if err != nil {
		return nil, err
	}
	out.Close()
	defer os.Remove(out.Name())
	args := append([]string{}, flags...)
	args = append(args, "-I", filepath.Join(dir, "include"))
	for _, d := range m.Define {
		args = append(args, "-D"+d)
	}
	cmd := exec.Command("glslc", append(args, "-o", out.Name(), filepath.Join(dir, m.Source))...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", m.Name, err, text)
	}
	return os.ReadFile(out.Name())
}

// validate runs spirv-val where it is installed; it reports whether it did.
func validate(path string) (bool, error) {
	if _, err := exec.LookPath("spirv-val"); err != nil {
		return false, nil
	}
	if text, err := exec.Command("spirv-val", "--target-env", "vulkan1.2", path).CombinedOutput(); err != nil {
		return true, fmt.Errorf("spirv-val %s: %w\n%s", path, err, text)
	}
	return true, nil
}

func spvPath(name string) string { return filepath.Join(dir, "spv", name+".spv") }

func readManifest() (manifest, error) {
	var m manifest
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

// runBuild compiles what changed, and removes modules that no source makes any more.
func runBuild() error {
	tool := toolVersion()
	if tool == "" {
		return fmt.Errorf("glslc is not installed (Debian, Ubuntu: glslc spirv-tools)")
	}
	list, err := plan()
	if err != nil {
		return err
	}
	old, _ := readManifest() // none the first time
	known := map[string]module{}
	if old.Tool == tool {
		for _, m := range old.Modules {
			known[m.Name] = m
		}
	}
	keep := map[string]bool{}
	built := 0
	for i := range list {
		m := &list[i]
		keep[spvPath(m.Name)] = true
		have, err := os.ReadFile(spvPath(m.Name))
		if k := known[m.Name]; err == nil && k.Hash == m.Hash && k.SPIRV == sum(have) {
			m.SPIRV = k.SPIRV
			continue
		}
		spirv, err := compile(*m)
		if err != nil {
			return err
		}
		if err := os.WriteFile(spvPath(m.Name), spirv, 0o644); err != nil {
			return err
		}
		if _, err := validate(spvPath(m.Name)); err != nil {
			return err
		}
		m.SPIRV = sum(spirv)
		built++
	}
	if err := removeOthers(keep); err != nil {
		return err
	}
	b, err := json.MarshalIndent(manifest{Tool: tool, Flags: flags, Modules: list}, "", " ")
	if err != nil {
		return err
	}
	fmt.Printf("glslc: %d modules, %d compiled anew with %s\n", len(list), built, tool)
	return os.WriteFile(filepath.Join(dir, "manifest.json"), append(b, '\n'), 0o644)
}

func removeOthers(keep map[string]bool) error {
	have, err := filepath.Glob(filepath.Join(dir, "spv", "*.spv"))
	if err != nil {
		return err
	}
	for _, p := range have {
		if !keep[p] {
			if err := os.Remove(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func runCheck() error {
	m, err := readManifest()
	if err != nil {
		return err
	}
	list, err := plan()
	if err != nil {
		return err
	}
	if len(list) != len(m.Modules) {
		return fmt.Errorf("the sources make %d modules, the manifest has %d: run `make shaders`", len(list), len(m.Modules))
	}
	same := toolVersion() == m.Tool
	validated := false
	for i, want := range m.Modules {
		got := list[i]
		have, err := os.ReadFile(spvPath(want.Name))
		if err != nil {
			return err
		}
		if got.Name != want.Name || got.Hash != want.Hash || sum(have) != want.SPIRV {
			return fmt.Errorf("%s: source or module differs from the manifest: run `make shaders`", want.Name)
		}
		if same {
			anew, err := compile(got)
			if err != nil {
				return err
			}
			if !bytes.Equal(anew, have) {
				return fmt.Errorf("%s: compiling gives other bytes than the committed module", want.Name)
			}
		}
		if validated, err = validate(spvPath(want.Name)); err != nil {
			return err
		}
	}
	fmt.Printf("glslc: %d modules match the manifest; compiled anew: %v; spirv-val: %v\n", len(list), same, validated)
	return nil
}
