package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// bigSource makes the binary big: every package of a large program is in its file, and few of its pages are touched.
const bigSource = `package main

import _ "embed"

//go:embed ballast.bin
var ballast string

var keep int

func init() { keep = len(ballast) }
`

// big builds this same program from its source with so many MiB in it, and lets it take turns with this one. The source must be there.
func (l *lab) big(names []string, source string, mib, n int, rest time.Duration) (_ []Pair, err error) {
	dir, err := os.MkdirTemp("", "belljar-bench-big")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program, err := buildBig(l.ctx, dir, source, mib)
	if err != nil {
		return nil, err
	}
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	small, err := l.startWorker("small", own, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, small.stop()) }()
	large, err := l.startWorker("big", program, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, large.stop()) }()
	rows, err := together([]*worker{small, large}, names, n, rest)
	if err != nil {
		return nil, err
	}
	return pairs(rows[0], rows[1]), nil
}

// buildBig returns the path of the program.
func buildBig(ctx context.Context, dir, source string, mib int) (string, error) {
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no source of the bench in %s", source)
	}
	for _, f := range append(files, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum")) {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		if name := filepath.Base(f); filepath.Ext(name) != ".go" || len(name) < 8 || name[len(name)-8:] != "_test.go" {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				return "", err
			}
		}
	}
	job, err := jobSource.ReadFile("job/main.go")
	if err != nil {
		return "", err
	}
	// Random, or whoever packs files would make it small.
	ballast, random := make([]byte, mib<<20), rand.NewChaCha8([32]byte{})
	_, _ = random.Read(ballast)
	if err := os.Mkdir(filepath.Join(dir, "job"), 0o755); err != nil {
		return "", err
	}
	for name, b := range map[string][]byte{"ballast.go": []byte(bigSource), "ballast.bin": ballast, "job/main.go": job} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return "", err
		}
	}
	library, err := filepath.Abs(filepath.Join(source, "../.."))
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"mod", "edit", "-replace", "github.com/belljar-go/belljar=" + library},
		{"build", "-o", "big", "."},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s: %w\n%s", args[0], err, out)
		}
	}
	return filepath.Join(dir, "big"), nil
}
