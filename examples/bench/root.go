package main

import (
	"embed"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	elf, err := staticTrue()
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

// staticTrue is a program that exits with 0, in a page: no other costs less to start, which makes it the hardest measure for
// everything around it.
func staticTrue() ([]byte, error) {
	code, machine := []byte(nil), uint16(0)
	switch runtime.GOARCH {
	case "amd64": // xor edi,edi; mov eax,60; syscall
		code, machine = []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05}, 62
	case "arm64": // mov x0,0; mov x8,93; svc 0
		code, machine = []byte{0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4}, 183
	default:
		return nil, fmt.Errorf("no static program for %s", runtime.GOARCH)
	}
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	b := append([]byte("\x7fELF"), 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	u16 := func(v ...uint16) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	u32 := func(v ...uint32) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	u64 := func(v ...uint64) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	u16(2, machine)          // ET_EXEC
	u32(1)                   // EV_CURRENT
	u64(base+headers, 64, 0) // entry, program headers, no sections
	u32(0)                   // flags
	u16(64, 56, 1, 0, 0, 0)  // sizes and counts
	u32(1, 5)                // PT_LOAD, readable and executable
	u64(0, base, base)       // offset and addresses
	u64(size, size, 0x1000)  // in the file, in memory, alignment
	return append(b, code...), nil
}
