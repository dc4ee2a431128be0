package sandbox_test

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The rules of ARCHITECTURE.md that can be read off the source: who may import whom, what spawns processes, what knows
// cgroupfs, and which modules a program gets with belljar. They are held over every file for every platform.

const module = "github.com/belljar-go/belljar"

// leaves are the packages that stand alone: each may import what is below it and nothing else of the module.
var leaves = []string{"namespace", "cgroup", "rootfs", "seccomp"}

// modules are the only ones that the library may require, and where they may be imported.
var modules = map[string]func(*sourceFile) bool{
	"golang.org/x/sys":                       (*sourceFile).any,
	"github.com/seccomp/libseccomp-golang":   (*sourceFile).any,
	"github.com/moby/sys/mountinfo":          (*sourceFile).any,
	"github.com/stretchr/testify":            (*sourceFile).isTest,
	"github.com/opencontainers/image-spec":   (*sourceFile).isImage,
	"github.com/opencontainers/go-digest":    (*sourceFile).isImage,
	"github.com/klauspost/compress":          (*sourceFile).isImage,
	"github.com/godbus/dbus/v5":              (*sourceFile).isSystemd,
	"github.com/belljar-go/belljar":          (*sourceFile).any,
	"github.com/belljar-go/belljar/examples": (*sourceFile).isExample,
}

// sourceFile is one parsed Go file of the repository.
type sourceFile struct {
	path   string // from the top of the repository, with slashes
	syntax *ast.File
	fset   *token.FileSet
}

func (f *sourceFile) dir() string     { return path.Dir(f.path) }
func (f *sourceFile) any() bool       { return true }
func (f *sourceFile) isTest() bool    { return strings.HasSuffix(f.path, "_test.go") }
func (f *sourceFile) isImage() bool   { return within(f.dir(), "rootfs/image") }
func (f *sourceFile) isSystemd() bool { return within(f.dir(), "cgroup/systemd") }
func (f *sourceFile) isExample() bool { return within(f.dir(), "examples") }

// inLibrary says whether the file becomes part of a program that imports belljar.
func (f *sourceFile) inLibrary() bool { return !f.isTest() && !f.isExample() && !f.isGenerator() }

// isGenerator says whether the file is built only by `go run FILE`.
func (f *sourceFile) isGenerator() bool {
	for _, group := range f.syntax.Comments {
		for _, c := range group.List {
			expr, err := constraint.Parse(c.Text)
			if err == nil && c.Pos() < f.syntax.Package && expr.String() == "ignore" {
				return true
			}
		}
	}
	return f.syntax.Name.Name == "main" && strings.Contains(f.path, "/internal/")
}

// imports are the paths the file imports.
func (f *sourceFile) imports() []string {
	var paths []string
	for _, spec := range f.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// within says whether a path is prefix or below it.
func within(p, prefix string) bool {
	return p == prefix || strings.HasPrefix(p, prefix+"/")
}

// sources parses every Go file of the repository, comments included.
func sources(t *testing.T) []*sourceFile {
	t.Helper()
	top := ".."
	var files []*sourceFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != top && (strings.HasPrefix(name, ".") || name == "testdata" || name == "submissions") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		syntax, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		files = append(files, &sourceFile{filepath.ToSlash(rel), syntax, fset})
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func TestLeavesStandAlone(t *testing.T) {
	for _, f := range sources(t) {
		for _, v := range leafViolations(f) {
			t.Error(v)
		}
	}
}

// leafViolations are the imports by which a leaf leans on another package of the module.
func leafViolations(f *sourceFile) []string {
	var found []string
	for _, leaf := range leaves {
		if !within(f.dir(), leaf) {
			continue
		}
		for _, p := range f.imports() {
			if within(p, module) && !within(p, module+"/"+leaf) {
				found = append(found, f.path+" imports "+p+": "+leaf+" stands alone")
			}
		}
	}
	return found
}

func TestNobodyPaysForSystemd(t *testing.T) {
	for _, f := range sources(t) {
		for _, v := range systemdViolations(f) {
			t.Error(v)
		}
	}
}

// systemdViolations are the imports by which a program that does not ask for scopes of systemd would get a message bus.
func systemdViolations(f *sourceFile) []string {
	var found []string
	for _, p := range f.imports() {
		if within(p, module+"/cgroup/systemd") && f.inLibrary() && !f.isSystemd() {
			found = append(found, f.path+" imports "+p)
		}
	}
	return found
}

// spawners are the functions of the standard library that start a process. Their cost grows with the host program's
// heap once user namespaces are asked for, and they run the Go runtime's own steps between clone and execve.
var spawners = map[string][]string{
	"os":                       {"StartProcess"},
	"syscall":                  {"ForkExec", "StartProcess", "Exec"},
	"golang.org/x/sys/unix":    {"Exec"},
	"golang.org/x/sys/windows": {"CreateProcess"},
}

func TestNothingElseSpawns(t *testing.T) {
	for _, f := range sources(t) {
		if !f.inLibrary() {
			continue
		}
		for _, v := range spawnViolations(f) {
			t.Error(v)
		}
	}
}

// spawnViolations are the ways in which a file starts a process other than by a plan.
func spawnViolations(f *sourceFile) []string {
	var found []string
	names := map[string]string{} // the file's name for a package -> its path
	for _, spec := range f.syntax.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		if p == "os/exec" {
			found = append(found, f.path+" imports os/exec")
		}
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		for _, fn := range spawners[names[pkg.Name]] {
			if sel.Sel.Name == fn {
				found = append(found, f.fset.Position(sel.Pos()).String()+": "+pkg.Name+"."+fn)
			}
		}
		return true
	})
	return found
}

// cgroupFile matches the names of the files of cgroupfs, of both versions.
var cgroupFile = regexp.MustCompile(`\bcgroup\.(procs|threads|kill|freeze|events|type|controllers|subtree_control|clone_children)\b` +
	`|\b(memory|pids|cpu|cpuset|io|hugetlb\.[0-9A-Z]+)\.(max|min|low|high|peak|current|stat|weight|pressure|swap\.\w+|oom\.group|cpus|mems)\b` +
	`|\b(memory\.\w*(in_bytes|oom_control)|freezer\.state|cpu\.cfs_\w+|cpu\.shares|cpuacct\.\w+|blkio\.\w+)\b`)

func TestOnlyCgroupKnowsCgroupfs(t *testing.T) {
	for _, f := range sources(t) {
		if !f.inLibrary() || within(f.dir(), "cgroup") {
			continue
		}
		for _, v := range cgroupfsViolations(f) {
			t.Error(v)
		}
	}
}

// cgroupfsViolations are the names and paths in a file that lead to a file of cgroupfs.
func cgroupfsViolations(f *sourceFile) []string {
	var found []string
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING || strings.Contains(lit.Value, " ") {
			return true // a sentence for people may name a file
		}
		if cgroupFile.MatchString(lit.Value) {
			found = append(found, f.fset.Position(lit.Pos()).String()+": "+lit.Value)
		}
		return true
	})
	return found
}

func TestImportsOnlyKnownModules(t *testing.T) {
	for _, f := range sources(t) {
		if ownModule(f.dir()) {
			continue // an example with a go.mod of its own has its own dependencies
		}
		for _, v := range moduleViolations(f) {
			t.Error(v)
		}
	}
}

// ownModule says whether a folder of the repository belongs to a module other than the library's.
func ownModule(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(dir), "go.mod")); err == nil {
			return true
		}
	}
	return false
}

// moduleViolations are the imports of a file that come from elsewhere than the standard library and the few known
// modules, and those that only a test may have.
func moduleViolations(f *sourceFile) []string {
	var found []string
	for _, p := range f.imports() {
		first, _, _ := strings.Cut(p, "/")
		switch {
		case p == "C":
			found = append(found, f.path+" is written for cgo: only libseccomp-golang may be")
		case p == "testing" && f.inLibrary() && path.Base(f.dir()) != "sandboxtest":
			found = append(found, f.path+" imports testing into every program")
		case strings.Contains(first, ".") && !allowed(f, p):
			found = append(found, f.path+" imports "+p)
		}
	}
	return found
}

// allowed looks an import up in modules, the longest path first.
func allowed(f *sourceFile, p string) bool {
	for m := p; m != "."; m = path.Dir(m) {
		if where, ok := modules[m]; ok {
			return where(f)
		}
	}
	return false
}

func TestRequiresOnlyKnownModules(t *testing.T) {
	data, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	block := false
	for line := range strings.Lines(string(data)) {
		line, comment, _ := strings.Cut(line, "//")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
			continue
		case fields[0] == "require" && fields[1] == "(":
			block = true
			continue
		case fields[0] == ")":
			block = false
			continue
		case fields[0] == "require":
			fields = fields[1:]
		case fields[0] == "replace" || fields[0] == "exclude":
			t.Errorf("go.mod: %s: a program that imports belljar does not see it", strings.TrimSpace(line))
			continue
		case !block:
			continue
		}
		if strings.Contains(comment, "indirect") {
			continue // what the four need themselves
		}
		if _, ok := modules[fields[0]]; !ok {
			t.Errorf("go.mod requires %s", fields[0])
		}
	}
}

// A rule that finds nothing anywhere may be one that cannot find anything: each finds what breaks it.
func TestRulesFindWhatBreaksThem(t *testing.T) {
	tests := []struct {
		name, path, source string
		find               func(*sourceFile) []string
		want               int
	}{
		{"leaf imports leaf", "cgroup/a.go", `import "` + module + `/rootfs"`, leafViolations, 1},
		{"leaf imports sandbox in a test", "seccomp/a_test.go", `import "` + module + `/sandbox"`, leafViolations, 1},
		{"leaf imports its own inside", "cgroup/a.go", `import "` + module + `/cgroup/internal/x"`, leafViolations, 0},
		{"sandbox imports leaf", "sandbox/a.go", `import "` + module + `/rootfs"`, leafViolations, 0},
		{"os/exec", "sandbox/a.go", `import "os/exec"`, spawnViolations, 1},
		{"renamed syscall", "sandbox/a.go", `import s "syscall"; var _ = s.ForkExec`, spawnViolations, 1},
		{"os.StartProcess", "cgroup/a.go", `import "os"; var _ = os.StartProcess`, spawnViolations, 1},
		{"os otherwise", "cgroup/a.go", `import "os"; var _ = os.Open`, spawnViolations, 0},
		{"cgroup file v2", "sandbox/a.go", `var _ = "/x/memory.max"`, cgroupfsViolations, 1},
		{"cgroup file v1", "sandbox/a.go", "var _ = `memory.limit_in_bytes`", cgroupfsViolations, 1},
		{"cgroup file in a remedy", "sandbox/a.go", `var _ = "look into cgroup.procs"`, cgroupfsViolations, 0},
		{"cgroup mount point", "sandbox/a.go", `var _ = "/sys/fs/cgroup"`, cgroupfsViolations, 0},
		{"testify in the library", "sandbox/a.go", `import "github.com/stretchr/testify/require"`, moduleViolations, 1},
		{"testify in a test", "sandbox/a_test.go", `import "github.com/stretchr/testify/require"`, moduleViolations, 0},
		{"another module", "sandbox/a_test.go", `import "golang.org/x/tools/go/packages"`, moduleViolations, 1},
		{"an image module elsewhere", "rootfs/a.go", `import "github.com/opencontainers/go-digest"`, moduleViolations, 1},
		{"an image module in its place", "rootfs/image/a.go", `import "github.com/klauspost/compress/zstd"`, moduleViolations, 0},
		{"a message bus elsewhere", "cgroup/a.go", `import "github.com/godbus/dbus/v5"`, moduleViolations, 1},
		{"a message bus in its place", "cgroup/systemd/a.go", `import "github.com/godbus/dbus/v5"`, moduleViolations, 0},
		{"scopes in the library", "cgroup/a.go", `import "` + module + `/cgroup/systemd"`, systemdViolations, 1},
		{"scopes in the sandbox", "sandbox/a.go", `import "` + module + `/cgroup/systemd"`, systemdViolations, 1},
		{"scopes in a test of it", "sandbox/a_test.go", `import "` + module + `/cgroup/systemd"`, systemdViolations, 0},
		{"scopes in an example", "examples/run/a.go", `import "` + module + `/cgroup/systemd"`, systemdViolations, 0},
		{"example from the library", "sandbox/a.go", `import "` + module + `/examples/judge"`, moduleViolations, 1},
		{"cgo", "seccomp/a.go", `import "C"`, moduleViolations, 1},
		{"testing in the library", "sandbox/a.go", `import "testing"`, moduleViolations, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fset := token.NewFileSet()
			syntax, err := parser.ParseFile(fset, tt.path, "package p; "+tt.source, parser.ParseComments)
			require.NoError(t, err)
			require.Len(t, tt.find(&sourceFile{tt.path, syntax, fset}), tt.want)
		})
	}
}
