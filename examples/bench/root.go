package main

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// root is a directory that every sandbox of the bench has as its root, ours and the peers': two static programs, and the
// places where something is mounted.
type root struct{ dir string }

//go:embed job/main.go
var jobSource embed.FS

func makeRoot(dir string) (*root, error) {
	r := &root{filepath.Join(dir, "root")}
	for _, d := range []string{"", "/proc", "/dev", "/tmp", "/box", "/etc"} {
		if err := os.MkdirAll(r.dir+d, 0o755); err != nil {
			return nil, err
		}
		if err := os.Chmod(r.dir+d, 0o755); err != nil { // whatever the umask
			return nil, err
		}
	}
	elf, err := trueCode.elf()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.path("true"), elf, 0o755); err != nil {
		return nil, err
	}
	return r, r.buildJob(dir)
}

// path of a program as the host sees it.
func (r *root) path(program string) string { return r.dir + "/" + program }

// buildJob compiles the job from the source that the bench carries.
func (r *root) buildJob(dir string) error {
	source, err := jobSource.ReadFile("job/main.go")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "job.go")
	if err := os.WriteFile(file, source, 0o644); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", r.path("job"), file)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build of the job: %w\n%s", err, out)
	}
	return nil
}
