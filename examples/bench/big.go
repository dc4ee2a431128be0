package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// bigSource makes the binary big: every package of a large program is in its file, and few of its pages are touched.
const bigSource = `package main

import _ "embed"

//go:embed ballast.bin
var ballast string

var keep int

func init() { keep = len(ballast) }
`

// big builds this same program from its source with so many MiB in it, and has it measure. It must be run where its source is.
func big(ctx context.Context, source string, mib, n int) ([]Row, error) {
	dir, err := os.MkdirTemp("", "belljar-bench-big")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no source of the bench in %s", source)
	}
	for _, f := range append(files, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum")) {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		if name := filepath.Base(f); filepath.Ext(name) != ".go" || len(name) < 8 || name[len(name)-8:] != "_test.go" {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				return nil, err
			}
		}
	}
	job, err := jobSource.ReadFile("job/main.go")
	if err != nil {
		return nil, err
	}
	// Random, or whoever packs files would make it small.
	ballast, random := make([]byte, mib<<20), rand.NewChaCha8([32]byte{})
	_, _ = random.Read(ballast)
	if err := os.Mkdir(filepath.Join(dir, "job"), 0o755); err != nil {
		return nil, err
	}
	for name, b := range map[string][]byte{"ballast.go": []byte(bigSource), "ballast.bin": ballast, "job/main.go": job} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return nil, err
		}
	}
	library, err := filepath.Abs(filepath.Join(source, "../.."))
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"mod", "edit", "-replace", "github.com/belljar-go/belljar=" + library},
		{"build", "-o", "big", "."},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, out)
		}
	}
	result := filepath.Join(dir, "big.json")
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "big"), "-n", fmt.Sprint(n), "-only", "latency", "-peers", "none", "-out", dir, "-json", result)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the big bench: %w\n%s", err, out)
	}
	b, err := os.ReadFile(result)
	if err != nil {
		return nil, err
	}
	var r Results
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	return r.Latency, nil
}
