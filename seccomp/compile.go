package seccomp

import (
	"fmt"
)

// maxInsns is the kernel's bound on a filter (linux/filter.h, BPF_MAXINSNS).
const maxInsns = 4096

// Compile makes the program for the architecture this host program runs on. It validates the policy first; see
// [Policy.Validate] for those errors. A policy that was compiled before comes from a cache, so callers need keep no
// program. Compile may be called from many goroutines. Without cgo, and on architectures other than amd64 and arm64, the
// error is [ErrUnsupported].
func (p Policy) Compile() (Program, error) {
	return programs.get(p)
}

// compile does it without the cache.
func (p Policy) compile() (Program, error) { return p.compileWith(dispatch) }

func (p Policy) compileWith(dispatch func(map[uint32]label) ([]byte, error)) (Program, error) {
	if err := p.Validate(); err != nil {
		return Program{}, err
	}
	arch := NativeArch()
	if arch == 0 {
		return Program{}, fmt.Errorf("compile policy: %w on this architecture", ErrUnsupported)
	}
	l := newLinker(arch, p)
	raw, err := dispatch(l.labels)
	if err != nil {
		return Program{}, fmt.Errorf("compile policy: %w", err)
	}
	search := decode(raw)
	if err := l.verify(arch, search); err != nil {
		return Program{}, fmt.Errorf("compile policy: %w", err)
	}
	code, err := l.link(search)
	if err != nil {
		return Program{}, err
	}
	return Program{arch: arch, code: string(encode(code))}, nil
}
