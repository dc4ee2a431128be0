package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// toolchain is a language on this host: how a source file becomes a program, and how the program is run. All paths are
// the same inside and outside: the sandbox's default root shows the host's /usr, /bin and /lib.
type toolchain struct {
	name     string
	suffixes []string
	needs    []string // programs of the host
	missing  string   // the first of them that is not there

	source  string   // what the source is called in /box
	compile []string // run in /box
	keep    []string // what the compiler leaves that is needed to run: patterns
	command func(l limits) []string
	binds   []bind
	prepare func(context.Context) error // before the first compilation

	// What the language itself needs on top of a problem's limits.
	time   float64
	memory int64
	pids   int
}

// allow raises a problem's limits by what the language needs. The wall time grows by as much as the CPU time: a slow
// language is no reason to wait longer for one that sleeps.
func (t *toolchain) allow(l limits) limits {
	more := time.Duration((t.time - 1) * float64(l.CPU))
	l.CPU += more
	l.Wall += more
	l.Memory += t.memory
	l.Pids += t.pids
	return l
}

func (t *toolchain) run(l limits) []string { return t.command(l) }

// toolset is the languages the judge knows. Its folder holds what they share.
type toolset struct {
	dir   string
	tools []*toolchain
}

// newToolset looks at the host. The caller closes it.
func newToolset() (*toolset, error) {
	dir, err := os.MkdirTemp("", "judge-")
	if err != nil {
		return nil, err
	}
	set := &toolset{dir: dir, tools: []*toolchain{
		compiled("c", []string{".c"}, "/usr/bin/gcc", "-std=gnu17"),
		compiled("c++", []string{".cpp", ".cc", ".cxx"}, "/usr/bin/g++", "-std=gnu++17"),
		python(),
		golang(filepath.Join(dir, "go")),
		java(),
	}}
	for _, t := range set.tools {
		if t.missing == "" {
			t.missing = firstMissing(t.needs)
		}
	}
	return set, nil
}

func (s *toolset) close() error { return os.RemoveAll(s.dir) }

func firstMissing(paths []string) string {
	for _, p := range paths {
		if info, err := os.Stat(p); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return p
		}
	}
	return ""
}

// find returns the toolchain for a language, or for a file by its name.
func (s *toolset) find(path, language string) (*toolchain, error) {
	ext := filepath.Ext(path)
	for _, t := range s.tools {
		if t.name != language && (language != "" || !slices.Contains(t.suffixes, ext)) {
			continue
		}
		if t.missing != "" {
			return nil, fmt.Errorf("%s: missing on this host: %s", t.name, t.missing)
		}
		return t, nil
	}
	if language != "" {
		return nil, fmt.Errorf("unknown language %q", language)
	}
	return nil, fmt.Errorf("%s: no language has files named %q", path, "*"+ext)
}

func printLanguages(w io.Writer, s *toolset) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range s.tools {
		status := "ready"
		if t.missing != "" {
			status = "missing: " + t.missing
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", t.name, strings.Join(t.suffixes, " "), status)
	}
	table.Flush()
}

// compiled is a language of the gcc family.
func compiled(name string, suffixes []string, compiler, standard string) *toolchain {
	source := "main" + suffixes[0]
	return &toolchain{
		name: name, suffixes: suffixes, needs: []string{compiler, "/usr/bin/as", "/usr/bin/ld"},
		source:  source,
		compile: []string{compiler, standard, "-O2", "-o", "main", source, "-lm"},
		keep:    []string{"main"},
		command: func(limits) []string { return []string{"/box/main"} },
		time:    1,
	}
}

func python() *toolchain {
	const interpreter = "/usr/bin/python3"
	const check = `import sys; compile(open(sys.argv[1], "rb").read(), sys.argv[1], "exec")`
	return &toolchain{
		name: "python", suffixes: []string{".py"}, needs: []string{interpreter},
		source:  "main.py",
		compile: []string{interpreter, "-I", "-c", check, "main.py"},
		keep:    []string{"main.py"},
		command: func(limits) []string { return []string{interpreter, "-I", "-B", "main.py"} },
		time:    5, memory: 16 << 20,
	}
}

func java() *toolchain {
	const compiler, launcher = "/usr/bin/javac", "/usr/bin/java"
	small := []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto"}
	compile := []string{compiler, "-J-Xmx256m"}
	for _, f := range small {
		compile = append(compile, "-J"+f)
	}
	t := &toolchain{
		name: "java", suffixes: []string{".java"}, needs: []string{compiler, launcher},
		source: "Main.java",
		// No annotation processors: they would be the submission's own code, run while compiling.
		compile: append(compile, "-proc:none", "-encoding", "UTF-8", "Main.java"),
		keep:    []string{"*.class"},
		command: func(l limits) []string {
			heap := fmt.Sprintf("-Xmx%dk", l.Memory>>10)
			return append(append([]string{launcher, heap}, small...), "-cp", "/box", "Main")
		},
		// The virtual machine takes a third of a second, some 80 MiB and two dozen threads for itself.
		time: 3, memory: 128 << 20, pids: 48,
	}
	// Debian keeps the virtual machine's settings in /etc, where its own folder links to.
	conf, _ := filepath.Glob("/etc/java-*")
	for _, dir := range conf {
		t.binds = append(t.binds, bind{dir, dir})
	}
	return t
}
