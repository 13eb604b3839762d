package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "vkdomino"

// The sizes that the house keeps (docs of each check below).
const (
	maxFileLines     = 600
	maxShaderLines   = 250
	maxFunctionLines = 120
	usualLines       = 40 // nine functions in ten are no longer
)

// layers lists every package from the left to the right of the house. A package
// may import those of its own layer and of the layers above it in this table; no
// import goes the other way. Go itself forbids circles within a layer.
var layers = []struct {
	name     string
	packages []string
}{
	{"leaves", []string{
		// they know nothing of tensors and devices, so every layer may use them
		"configs", "internal/atomicfile", "internal/draftnames", "internal/fail", "internal/plural",
		"internal/selftest/cases", "testdata/demo",
		"trainer/data", "trainer/data/pyjinja", "trainer/metrics", "trainer/recipe",
	}},
	{"vk", []string{"vk", "shaders"}},
	{"tensors", []string{"tensors"}},
	{"ops", []string{"ops", "ops/oracle", "internal/testgpu"}},
	{"model", []string{"model"}},
	{"domino", []string{"domino"}},
	{"trainer, export", []string{"trainer", "trainer/bench", "trainer/checkpoint", "trainer/evaluate", "trainer/pair", "export"}},
	{"commands", []string{"internal/cli", "internal/selftest"}},
	{"main", []string{"", "tools/testreport", "tools/glslc", "tools/setup", "tools/bench-nvidia"}},
}

// importers names the only packages that may import some others; tests may import
// them as well, unless the list says otherwise.
var importers = map[string][]string{
	"shaders":                             {"ops", "tools/glslc"},
	"ops/oracle":                          {"internal/selftest"},
	"internal/testgpu":                    {},
	"internal/selftest/cases":             {"internal/selftest", "internal/cli"},
	"C":                                   {"vk"},
	"github.com/vulkan-go/vulkan":         {"vk"},
	"github.com/stretchr/testify/require": {"internal/testgpu"},
	"testing":                             {"internal/testgpu"},
}

// forwardOnly lists the kernels x_forward.comp that have no x_backward.comp.
var forwardOnly = map[string]string{
	"causal_attention":    "the target is frozen",
	"causal_attention_t1": "the target is frozen",
	"causal_attention_t2": "the target is frozen",
	"embedding":           "the target's table is frozen",
}

// notOps lists the files of ops whose methods of Context are no ops.
var notOps = []string{"ops/ahead.go", "ops/compile.go", "ops/context.go", "ops/launch.go", "ops/phase.go", "ops/probe.go", "ops/prove.go", "ops/tally.go", "ops/tune.go"}

// oracleOf names the oracle of an op where it is not called like the op; "" and a
// reason stand for none.
var oracleOf = map[string]struct{ oracle, reason string }{
	"Gemm":                 {oracle: "GEMMNT"}, // and NN, TN
	"GemmAdd":              {oracle: "GEMMNT"},
	"GemmOnto":             {oracle: "GEMMNT"},
	"AdamW":                {oracle: "AdamWStep"},
	"GradNorm":             {oracle: "GlobalNorm"},
	"Gather":               {oracle: "GatherRows"},
	"Scatter":              {oracle: "ScatterAddRows"},
	"GroupSum":             {oracle: "ScatterAddRows"},
	"CrossEntropyVisit":    {oracle: "CrossEntropyDual"},
	"CrossEntropyFinish":   {oracle: "CrossEntropyDual"},
	"CrossEntropyBackward": {oracle: "CrossEntropyDualBackward"},
	"Reserve":              {reason: "allocates and computes nothing"},
	"Cast":                 {reason: "a change of storage: compared bit for bit with tensors' rounding"},
}

// file is one Go file of the module.
type file struct {
	path  string // slash-separated, from the module's root
	dir   string // its package: "" is the root
	test  bool
	lines int
	ast   *ast.File
	set   *token.FileSet
}

// eachFile calls visit for every file of the module whose name ends in one of
// suffixes; testdata, hidden folders and the runs of vkdomino do not belong to it.
func eachFile(t *testing.T, visit func(path string, text []byte), suffixes ...string) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(name, ".") || name == "runs" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains(suffixes, filepath.Ext(name)) {
			return nil
		}
		text, err := os.ReadFile(p)
		if err == nil {
			visit(filepath.ToSlash(p), text)
		}
		return err
	})
	require.NoError(t, err)
}

// goFiles parses every Go file of the module, for all systems alike.
func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	eachFile(t, func(p string, text []byte) {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, p, text, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		dir := path.Dir(p)
		if dir == "." {
			dir = ""
		}
		files = append(files, file{
			path: p, dir: dir, test: strings.HasSuffix(p, "_test.go"),
			lines: lineCount(text), ast: parsed, set: set,
		})
	}, ".go")
	require.NotEmpty(t, files)
	return files
}

func lineCount(text []byte) int {
	n := strings.Count(string(text), "\n")
	if len(text) > 0 && text[len(text)-1] != '\n' {
		n++
	}
	return n
}

// report fails the test with one line for each finding.
func report(t *testing.T, findings []string) {
	t.Helper()
	slices.Sort(findings)
	for _, f := range slices.Compact(findings) {
		t.Error(f)
	}
}

// layerOf returns the index of a package in layers, or -1.
func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(l struct {
		name     string
		packages []string
	}) bool {
		return slices.Contains(l.packages, pkg)
	})
}

// TestImportsPointOneWay holds the arrow vk → tensors → ops → model → domino →
// trainer, export → internal/cli → main.
func TestImportsPointOneWay(t *testing.T) {
	var findings []string
	for _, f := range goFiles(t) {
		if layerOf(f.dir) < 0 {
			findings = append(findings, fmt.Sprintf("package %q has no place in layers; give it one in layout_test.go", f.dir))
			continue
		}
		for _, spec := range f.ast.Imports {
			full, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			findings = append(findings, wrongImport(f, full)...)
		}
	}
	for _, l := range layers {
		for _, pkg := range l.packages {
			if files, _ := filepath.Glob(filepath.Join(pkg, "*.go")); len(files) == 0 {
				findings = append(findings, fmt.Sprintf("package %q of layers does not exist; take it out of layout_test.go", pkg))
			}
		}
	}
	report(t, findings)
}

// wrongImport says what is wrong with one import of f, if anything. A test may
// import any package that the compiler lets it.
func wrongImport(f file, full string) []string {
	if f.test {
		return nil
	}
	short := strings.TrimPrefix(full, module+"/")
	if only, limited := importers[short]; limited && !slices.Contains(only, f.dir) {
		return []string{fmt.Sprintf("%s imports %s: only %v and tests may", f.path, full, only)}
	}
	if short == full && full != module {
		return nil // of another module
	}
	from, to := layerOf(f.dir), layerOf(short)
	if to < 0 || to > from {
		return []string{fmt.Sprintf("%s imports %s: it lies to the right of %s", f.path, full, layers[from].name)}
	}
	return nil
}

func TestEveryPackageHasAComment(t *testing.T) {
	commented := map[string]bool{}
	for _, f := range goFiles(t) {
		commented[f.dir] = commented[f.dir] || f.ast.Doc.Text() != "" || f.dir == "" && f.test
	}
	var findings []string
	for _, dir := range slices.Sorted(maps.Keys(commented)) {
		if !commented[dir] {
			findings = append(findings, "package "+dir+": no package comment")
		}
	}
	report(t, findings)
}

// TestEveryExportedNameHasADocComment looks at the names that a reader of go doc
// sees. A group of constants or variables may share one comment.
func TestEveryExportedNameHasADocComment(t *testing.T) {
	var findings []string
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			for _, name := range undocumented(d) {
				findings = append(findings, fmt.Sprintf("%s: %s: exported, no doc comment", f.path, name))
			}
		}
	}
	report(t, findings)
}

// undocumented lists the exported names of a declaration that have no comment.
func undocumented(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc.Text() == "" && !selfExplaining(d) {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			names = append(names, undocumentedSpec(spec, d.Doc.Text() != "")...)
		}
		return names
	}
	return nil
}

// undocumentedSpec is undocumented for one line of a declaration whose group has
// a comment, or has none.
func undocumentedSpec(spec ast.Spec, group bool) []string {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && !group && s.Doc.Text() == "" {
			return []string{s.Name.Name}
		}
	case *ast.ValueSpec:
		if group || s.Doc.Text() != "" || s.Comment.Text() != "" {
			return nil
		}
		var names []string
		for _, n := range s.Names {
			if n.IsExported() {
				names = append(names, n.Name)
			}
		}
		return names
	}
	return nil
}

// selfExplaining says that a method belongs to a type that is not exported, or
// implements an interface whose meaning everyone knows.
func selfExplaining(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return false
	}
	switch d.Name.Name {
	case "Error", "String", "Unwrap", "Len", "Less", "Swap":
		return true
	}
	receiver := d.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.Ident:
			return !r.IsExported()
		default:
			return false
		}
	}
}

// TestSizes keeps files, shaders and functions within what a reader can hold.
func TestSizes(t *testing.T) {
	var findings []string
	functions, long := 0, 0
	for _, f := range goFiles(t) {
		if f.lines > maxFileLines {
			findings = append(findings, fmt.Sprintf("%s: %d lines, at most %d", f.path, f.lines, maxFileLines))
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1
			if lines > maxFunctionLines {
				findings = append(findings, fmt.Sprintf("%s: %s: %d lines, at most %d", f.path, fn.Name.Name, lines, maxFunctionLines))
			}
			functions++
			if lines > usualLines {
				long++
			}
		}
	}
	if long*10 > functions {
		findings = append(findings, fmt.Sprintf("%d of %d functions have more than %d lines, at most one in ten may", long, functions, usualLines))
	}
	eachFile(t, func(p string, text []byte) {
		most := maxFileLines
		if strings.HasPrefix(p, "shaders/") {
			most = maxShaderLines
		}
		if n := lineCount(text); n > most {
			findings = append(findings, fmt.Sprintf("%s: %d lines, at most %d", p, n, most))
		}
	}, ".comp", ".glsl", ".h", ".c", ".sh")
	report(t, findings)
}

// stems lists the names of a folder's files that end in suffix, without it.
func stems(t *testing.T, folder, suffix string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	paths, err := filepath.Glob(filepath.Join(folder, "*"+suffix))
	require.NoError(t, err)
	for _, p := range paths {
		found[strings.TrimSuffix(filepath.Base(p), suffix)] = true
	}
	return found
}

// TestEveryForwardKernelHasItsBackward looks at shaders/x_forward.comp. A backward
// may be several kernels: x_backward.comp, x_backward_kv.comp.
func TestEveryForwardKernelHasItsBackward(t *testing.T) {
	backward := map[string]bool{}
	for stem := range stems(t, "shaders", ".comp") {
		if name, _, is := strings.Cut(stem, "_backward"); is {
			backward[name] = true
		}
	}
	forward := stems(t, "shaders", "_forward.comp")
	var findings []string
	for stem := range forward {
		if _, allowed := forwardOnly[stem]; allowed == backward[stem] {
			findings = append(findings, fmt.Sprintf("shaders/%s: want either a backward kernel or a reason in forwardOnly", stem))
		}
	}
	for stem := range backward {
		if !forward[stem] {
			findings = append(findings, fmt.Sprintf("shaders/%s_backward.comp: no forward kernel", stem))
		}
	}
	report(t, findings)
}

// TestEveryOpHasOracleAndTest wants, for each op (an exported method of
// ops.Context), a function of ops/oracle and a call in a test that compares with it.
func TestEveryOpHasOracleAndTest(t *testing.T) {
	oracles, compared, ops := map[string]bool{}, map[string]bool{}, map[string]string{}
	for _, f := range goFiles(t) {
		switch {
		case f.dir == "ops/oracle" && !f.test:
			for _, fn := range exportedFuncs(f, "") {
				oracles[fn] = true
			}
		case f.dir == "ops" && f.test && importsPackage(f, module+"/ops/oracle"):
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if call, ok := n.(*ast.SelectorExpr); ok {
					compared[call.Sel.Name] = true
				}
				return true
			})
		case f.dir == "ops" && !f.test && !slices.Contains(notOps, f.path):
			for _, fn := range exportedFuncs(f, "Context") {
				ops[fn] = f.path
			}
		}
	}
	var findings []string
	for op, where := range ops {
		want, special := oracleOf[op]
		if !special {
			want.oracle = op
		}
		if want.reason == "" && !oracles[want.oracle] {
			findings = append(findings, fmt.Sprintf("%s: %s: no ops/oracle.%s; write it, or say in oracleOf what stands for it", where, op, want.oracle))
		}
		if !compared[op] {
			findings = append(findings, fmt.Sprintf("%s: %s: no test in ops that imports the oracle uses it", where, op))
		}
	}
	report(t, findings)
}

// TestTableOfOps: the table of ops/doc.go has every op and nothing else. A backward stands in the row of its forward.
func TestTableOfOps(t *testing.T) {
	text, err := os.ReadFile("ops/doc.go")
	require.NoError(t, err)
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		row, is := strings.CutPrefix(line, "//\t")
		if names, _, _ := strings.Cut(row, "  "); is && names != "op" {
			for name := range strings.SplitSeq(strings.TrimSpace(names), ", ") {
				listed[name] = true
			}
		}
	}
	ops := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.dir != "ops" || f.test || slices.Contains(notOps, f.path) {
			continue
		}
		for _, fn := range exportedFuncs(f, "Context") {
			if op := strings.TrimSuffix(fn, "Backward"); op != "Reserve" && op != "CrossEntropy" { // in oracleOf; of CrossEntropyVisit
				ops[op] = true
			}
		}
	}
	require.Equal(t, slices.Sorted(maps.Keys(ops)), slices.Sorted(maps.Keys(listed)))
}

// exportedFuncs lists the exported functions of f (receiver ""), or the exported
// methods of the pointer type receiver.
func exportedFuncs(f file, receiver string) []string {
	var names []string
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || !fn.Name.IsExported() {
			continue
		}
		of := ""
		if fn.Recv != nil {
			if star, ok := fn.Recv.List[0].Type.(*ast.StarExpr); ok {
				of = fmt.Sprint(star.X)
			}
		}
		if of == receiver && (fn.Recv != nil) == (receiver != "") {
			names = append(names, fn.Name.Name)
		}
	}
	return names
}

func importsPackage(f file, full string) bool {
	return slices.ContainsFunc(f.ast.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == strconv.Quote(full) })
}

// TestLayoutRulesBite checks the rules themselves on files that break them.
func TestLayoutRulesBite(t *testing.T) {
	in := func(dir string, test bool) file { return file{path: dir + "/x.go", dir: dir, test: test} }
	cases := []struct {
		from  file
		path  string
		wrong bool
	}{
		{in("ops", false), module + "/tensors", false},
		{in("tensors", false), module + "/ops", true},
		{in("vk", false), module + "/internal/fail", false},
		{in("internal/fail", false), module + "/vk", true},
		{in("model", false), module + "/shaders", true},
		{in("ops", false), module + "/shaders", false},
		{in("domino", false), module + "/ops/oracle", true},
		{in("domino", true), module + "/ops/oracle", false},
		{in("trainer", false), module + "/export", false},
		{in("model", false), module + "/trainer", true},
		{in("model", false), module + "/nowhere", true},
		{in("tensors", false), "github.com/vulkan-go/vulkan", true},
		{in("vk", false), "C", false},
		{in("ops", false), "C", true},
		{in("ops", false), "fmt", false},
	}
	for _, c := range cases {
		require.Equal(t, c.wrong, len(wrongImport(c.from, c.path)) > 0, "%s imports %s", c.from.dir, c.path)
	}
	source := "package p\n" + `
func A() {}
// B has one.
func B() {}
func (t *T) C() {}
func (t *t) D() {}
func (t *T) String() string { return "" }
type E int
const F = 1
const G = 1 // said
// both
var ( H = 1; I = 2 )
var j = 1
`
	parsed, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	var names []string
	for _, d := range parsed.Decls {
		names = append(names, undocumented(d)...)
	}
	require.Equal(t, []string{"A", "C", "E", "F"}, names)
	require.Equal(t, 2, lineCount([]byte("a\nb")))
}
