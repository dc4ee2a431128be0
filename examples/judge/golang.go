package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// goPackages is what a submission in Go may import, and all that these import.
var goPackages = strings.Fields(`
	bufio bytes cmp container/heap container/list container/ring context encoding/binary errors fmt hash/crc32 hash/fnv
	io iter maps math math/big math/bits math/cmplx math/rand math/rand/v2 net os os/exec os/signal path path/filepath
	regexp runtime runtime/debug slices sort strconv strings sync sync/atomic syscall text/tabwriter time unicode
	unicode/utf16 unicode/utf8 unsafe`)

// golang compiles with the compiler and linker themselves. The go command would compile the standard library again
// for each submission, as it may not share a writable cache between them.
func golang(dir string) *toolchain {
	const inside = "/opt/go"
	goCommand := "go"
	if path, err := exec.LookPath("go"); err == nil {
		goCommand = path
	} else if _, err := os.Stat("/usr/local/go/bin/go"); err == nil {
		goCommand = "/usr/local/go/bin/go"
	}
	t := &toolchain{
		name: "go", suffixes: []string{".go"}, needs: []string{"/bin/sh"},
		source: "main.go",
		compile: []string{
			"/bin/sh", "-c",
			inside + "/compile -p main -complete -importcfg " + inside + "/importcfg -o main.a main.go && " +
				inside + "/link -importcfg " + inside + "/importcfg -s -w -o main main.a",
		},
		keep:    []string{"main"},
		command: func(limits) []string { return []string{"/box/main"} },
		binds:   []bind{{dir, inside}},
		time:    1, memory: 8 << 20, pids: 24,
	}
	if !filepath.IsAbs(goCommand) {
		t.missing = "the go command"
		return t
	}
	var once sync.Mutex
	t.prepare = func(ctx context.Context) error {
		once.Lock()
		defer once.Unlock()
		if _, err := os.Stat(filepath.Join(dir, "importcfg")); err == nil {
			return nil
		}
		return exportGo(ctx, goCommand, dir, inside)
	}
	return t
}

// exportGo fills dir with the compiler, the linker, the compiled standard library and the list of it, as seen from inside.
func exportGo(ctx context.Context, goCommand, dir, inside string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tools, err := goOutput(ctx, goCommand, "env", "GOTOOLDIR")
	if err != nil {
		return err
	}
	for _, tool := range []string{"compile", "link"} {
		if err := copyFile(filepath.Join(dir, tool), filepath.Join(strings.TrimSpace(tools), tool), 0o755); err != nil {
			return err
		}
	}
	list, err := goOutput(ctx, goCommand, append([]string{
		"list", "-deps", "-export", "-f", "{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}",
	}, goPackages...)...)
	if err != nil {
		return err
	}
	var config bytes.Buffer
	for i, line := range strings.Fields(list) {
		name, from, _ := strings.Cut(line, "=")
		archive := fmt.Sprintf("%03d.a", i)
		if err := copyFile(filepath.Join(dir, archive), from, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&config, "packagefile %s=%s/%s\n", name, inside, archive)
	}
	// Last, as its presence says that all is there.
	return os.WriteFile(filepath.Join(dir, "importcfg"), config.Bytes(), 0o644)
}

func goOutput(ctx context.Context, goCommand string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, goCommand, args...)
	cmd.Dir = os.TempDir() // away from any module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOTOOLCHAIN=local", "GO111MODULE=off", "GOWORK=off")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, firstLines(exit.Stderr, 3))
	}
	return string(out), err
}

func copyFile(to, from string, mode os.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
