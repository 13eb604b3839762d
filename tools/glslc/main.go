// Command glslc compiles the shaders: `go run ./tools/glslc` writes
// shaders/spv/*.spv and shaders/manifest.json, `-check` compares instead.
//
// A shader names its variants in a comment near its top:
//
//	// variants: LAYOUT=nt,nn,tn STORAGE=f32,bf16
//
// Every combination becomes a module gemm_t0.nt.bf16.spv, compiled with
// -DLAYOUT_NT -DSTORAGE_BF16. Without such a line there is one module. What
// the compiler leaves out is added: buffers that are not restrict are Aliased.
//
// A shader that the manifest's compiler is too old for names the one it needs,
// and may name a target other than vulkan1.2:
//
//	// compiler: shaderc 2026.4 vulkan1.3
//
// Such a compiler, and the spirv-val beside it, are run by the words of -newer,
// for example -newer "chroot /srv/forky"; without it they are those of PATH.
//
// -check always compares sources and modules with the manifest; where glslc is
// installed in a module's version it also compiles anew and compares bytes, and
// where spirv-val is installed it validates. It says which of these it did.
package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

const dir = "shaders"

const target = "vulkan1.2"

var flags = []string{"-O", "--target-env=" + target, "-fshader-stage=compute"}

// module is one compiled variant in the manifest.
type module struct {
	Name   string   `json:"name"`
	Source string   `json:"source"`
	Define []string `json:"define,omitempty"`
	Tool   string   `json:"tool,omitempty"` // the compiler that the source asks for; empty: the manifest's
	Target string   `json:"target,omitempty"`
	Hash   string   `json:"source_sha256"` // of the shader and what it includes
	SPIRV  string   `json:"spirv_sha256"`
}

type manifest struct {
	Tool    string   `json:"tool"`
	Flags   []string `json:"flags"`
	Modules []module `json:"modules"`
}

func main() {
	check := flag.Bool("check", false, "compare instead of writing")
	words := flag.String("newer", "", "words that run glslc and spirv-val for the shaders that name a compiler")
	flag.Parse()
	newer = strings.Fields(*words)
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

// newer are the words before the compiler and the validator of shaders that name a compiler.
var newer []string

// command runs a program for a module: one that names a compiler has its own.
func command(m module, name string, args ...string) *exec.Cmd {
	words := append([]string{name}, args...)
	if m.Tool != "" {
		words = append(append([]string{}, newer...), words...)
	}
	return exec.Command(words[0], words[1:]...)
}

// toolVersion is the first line of `glslc --version`, or "" where there is no glslc.
func toolVersion(m module) string {
	out, err := command(m, "glslc", "--version").Output()
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(strings.SplitN(string(out), "\n", 2)[0]), " ")
}

// compilers says which modules can be compiled here, of a manifest that was made with a compiler.
type compilers struct {
	manifest string
	own      string            // version of the compiler of most modules
	named    map[string]string // of the compiler that a module names
}

func (c *compilers) has(m module) bool {
	if m.Tool == "" {
		return c.own == c.manifest && c.own != ""
	}
	if _, ok := c.named[m.Tool]; !ok {
		c.named[m.Tool] = toolVersion(m)
	}
	return c.named[m.Tool] == m.Tool || strings.HasPrefix(c.named[m.Tool], m.Tool+"-") // a distribution's revision
}

func newCompilers(manifest string) *compilers {
	return &compilers{manifest: manifest, own: toolVersion(module{}), named: map[string]string{}}
}

var (
	compilerLine = regexp.MustCompile(`(?m)^// compiler: (\S+ \S+)(?: (vulkan\S+))?$`)
	includeLine  = regexp.MustCompile(`(?m)^#include "(.+)"$`)
)

var variantsLine = regexp.MustCompile(`(?m)^// variants: (.+)$`)

// plan lists the modules that the sources make, with their source hashes.
func plan() ([]module, error) {
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
		all, err := withIncludes(text, map[string]bool{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		var tool, other string
		if named := compilerLine.FindSubmatch(text); named != nil {
			tool, other = string(named[1]), string(named[2])
		}
		for _, combo := range combinations(text) {
			m := module{Name: strings.TrimSuffix(source, ".comp"), Source: source, Tool: tool, Target: other, Hash: sum(all)}
			for _, kv := range combo {
				m.Name += "." + kv[1]
				m.Define = append(m.Define, strings.ToUpper(kv[0]+"_"+kv[1]))
			}
			list = append(list, m)
		}
	}
	return list, nil
}

// withIncludes is a source followed by what it includes, each file once.
func withIncludes(text []byte, seen map[string]bool) ([]byte, error) {
	all := append([]byte{}, text...)
	for _, m := range includeLine.FindAllSubmatch(text, -1) {
		name := string(m[1])
		if seen[name] {
			continue
		}
		seen[name] = true
		included, err := os.ReadFile(filepath.Join(dir, "include", name))
		if err != nil {
			return nil, err
		}
		more, err := withIncludes(included, seen)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
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
	args := slices.Clone(flags)
	if m.Target != "" {
		args[slices.Index(args, "--target-env="+target)] = "--target-env=" + m.Target
	}
	args = append(args, "-I", filepath.Join(dir, "include"))
	for _, d := range m.Define {
		args = append(args, "-D"+d)
	}
	var out, text bytes.Buffer
	cmd := command(m, "glslc", append(args, "-o", "-", filepath.Join(dir, m.Source))...)
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", m.Name, err, text.Bytes())
	}
	spirv, err := aliased(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return spirv, nil
}

// validate runs spirv-val where it is installed; it reports whether it did.
func validate(m module) (bool, error) {
	if command(m, "spirv-val", "--version").Run() != nil {
		return false, nil
	}
	env := target
	if m.Target != "" {
		env = m.Target
	}
	if text, err := command(m, "spirv-val", "--target-env", env, spvPath(m.Name)).CombinedOutput(); err != nil {
		return true, fmt.Errorf("spirv-val %s: %w\n%s", m.Name, err, text)
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
	list, err := plan()
	if err != nil {
		return err
	}
	tools := newCompilers("")
	if tools.own == "" {
		return fmt.Errorf("glslc is not installed (Debian, Ubuntu: glslc spirv-tools)")
	}
	tools.manifest = tools.own
	old, _ := readManifest() // none the first time
	known := map[string]module{}
	for _, m := range old.Modules {
		if m.Tool != "" || old.Tool == tools.own {
			known[m.Name] = m
		}
	}
	keep := map[string]bool{}
	built := 0
	for i := range list {
		m := &list[i]
		keep[spvPath(m.Name)] = true
		have, err := os.ReadFile(spvPath(m.Name))
		if k := known[m.Name]; err == nil && k.Hash == m.Hash && k.Tool == m.Tool && k.Target == m.Target && k.SPIRV == sum(have) {
			m.SPIRV = k.SPIRV
			continue
		}
		if !tools.has(*m) {
			return fmt.Errorf("%s changed and needs %s, have %q: name it with -newer", m.Source, m.Tool, tools.named[m.Tool])
		}
		if m.SPIRV, err = build(*m); err != nil {
			return err
		}
		built++
	}
	if err := removeOthers(keep); err != nil {
		return err
	}
	b, err := json.MarshalIndent(manifest{Tool: tools.own, Flags: flags, Modules: list}, "", " ")
	if err != nil {
		return err
	}
	fmt.Printf("glslc: %d modules, %d compiled anew\n", len(list), built)
	return os.WriteFile(filepath.Join(dir, "manifest.json"), append(b, '\n'), 0o644)
}

// build compiles a module, validates it and returns its hash.
func build(m module) (string, error) {
	spirv, err := compile(m)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(spvPath(m.Name), spirv, 0o644); err != nil {
		return "", err
	}
	_, err = validate(m)
	return sum(spirv), err
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
	tools := newCompilers(m.Tool)
	var compiled, validated int
	notCompiled, notValidated := map[string]bool{}, map[string]bool{}
	for i, want := range m.Modules {
		got := list[i]
		have, err := os.ReadFile(spvPath(want.Name))
		if err != nil {
			return err
		}
		if got.Name != want.Name || got.Hash != want.Hash || got.Tool != want.Tool || got.Target != want.Target || sum(have) != want.SPIRV {
			return fmt.Errorf("%s: source or module differs from the manifest: run `make shaders`", want.Name)
		}
		if !tools.has(got) {
			notCompiled[got.Source+" ("+cmp.Or(want.Tool, m.Tool)+")"] = true
		} else if err := compareAnew(got, have); err != nil {
			return err
		} else {
			compiled++
		}
		did := false
		if want.Tool == "" || tools.has(got) { // an older validator does not know its capabilities
			if did, err = validate(want); err != nil {
				return err
			}
		}
		if did {
			validated++
		} else {
			notValidated[got.Source] = true
		}
	}
	fmt.Printf("glslc: %d modules match the manifest; compiled anew: %d%s; spirv-val: %d%s\n",
		len(list), compiled, without(notCompiled), validated, without(notValidated))
	return nil
}

// compareAnew compiles a module and compares it with the committed one.
func compareAnew(m module, have []byte) error {
	anew, err := compile(m)
	if err == nil && !bytes.Equal(anew, have) {
		err = fmt.Errorf("%s: compiling gives other bytes than the committed module", m.Name)
	}
	return err
}

// without names what was left out.
func without(sources map[string]bool) string {
	if len(sources) == 0 {
		return ""
	}
	names := slices.Sorted(maps.Keys(sources))
	if len(names) > 4 {
		return fmt.Sprintf(", not those of %d sources", len(names))
	}
	return ", not " + strings.Join(names, ", ")
}
