//go:build linux && cgo && (amd64 || arm64) && !belljar_noseccomplib

package seccomp

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// Backend names what compiles policies in this build: "libseccomp", or "built-in" without cgo, with the build tag
// belljar_noseccomplib, and where libseccomp's tables lack the architecture.
const Backend = "libseccomp"

// nativeBackend compiles for the architecture this program runs on.
func nativeBackend(arch Arch, p Policy) ([]insn, error) { return library(arch, p, tree) }

// Ways in which libseccomp searches a number (SCMP_FLTATR_CTL_OPTIMIZE).
const (
	chain = 1
	tree  = 2
)

// library has libseccomp write the number search, checks it, and joins it to the blocks that decide.
func library(arch Arch, p Policy, way int) ([]insn, error) {
	l := newLinker(arch, p)
	raw, err := search(l.labels, way)
	if err != nil {
		return nil, err
	}
	code := decode(raw)
	if err := l.verify(arch, code); err != nil {
		return nil, err
	}
	return l.link(code)
}

// search has libseccomp write the code that finds a call's label by its number, for the native architecture.
func search(labels map[uint32]label, way int) ([]byte, error) {
	filter, err := libseccomp.NewFilter(mark(defaultLabel))
	if err != nil {
		return nil, fmt.Errorf("libseccomp: new filter: %w", err)
	}
	defer filter.Release()
	if err := filter.SetBadArchAction(mark(foreignLabel)); err != nil {
		return nil, fmt.Errorf("libseccomp: set bad-architecture action: %w", err)
	}
	// The tree comes with libseccomp 2.5. An older one writes a chain of comparisons: slower, of the same meaning.
	_ = filter.SetOptimize(way)
	for _, number := range slices.Sorted(maps.Keys(labels)) {
		if err := filter.AddRule(libseccomp.ScmpSyscall(number), mark(labels[number])); err != nil {
			return nil, fmt.Errorf("libseccomp: add rule for call %d: %w", number, err)
		}
	}
	return export(filter)
}

func mark(at label) libseccomp.ScmpAction {
	return libseccomp.ActTrace.SetReturnCode(int16(at))
}

// export goes through a memfd, which takes any size; a pipe would block on a program larger than its buffer, and
// libseccomp exports to memory only from 2.6 on.
func export(filter *libseccomp.ScmpFilter) ([]byte, error) {
	fd, err := unix.MemfdCreate("seccomp-filter", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "memfd:seccomp-filter")
	defer file.Close()
	if err := filter.ExportBPF(file); err != nil {
		return nil, fmt.Errorf("libseccomp: export filter: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}
