package seccomp

import (
	"fmt"
	"slices"
)

// maxInsns is the kernel's bound on a filter (linux/filter.h, BPF_MAXINSNS).
const maxInsns = 4096

// Compile makes the program for the architecture this host program runs on. It validates the policy first; see
// [Policy.Validate] for those errors. A policy that was compiled before comes from a cache, so callers need keep no
// program. Compile may be called from many goroutines. On architectures other than amd64 and arm64 the error is
// [ErrUnsupported]. What compiles is [Backend]; all mean the same.
func (p Policy) Compile() (Program, error) {
	return programs.get(p)
}

// compile does it without the cache.
func (p Policy) compile() (Program, error) { return p.compileWith(NativeArch(), nativeBackend) }

// compileWith has a back end compile, and holds its program to what the kernel takes.
func (p Policy) compileWith(arch Arch, backend func(Arch, Policy) ([]insn, error)) (Program, error) {
	if err := p.Validate(); err != nil {
		return Program{}, err
	}
	if !slices.Contains(supported, arch) {
		return Program{}, fmt.Errorf("compile policy: %w on this architecture", ErrUnsupported)
	}
	code, err := backend(arch, p)
	if err != nil {
		return Program{}, fmt.Errorf("compile policy: %w", err)
	}
	if len(code) > maxInsns {
		return Program{}, &PolicyError{Rule: -1, Reason: fmt.Sprintf("%d instructions, at most %d", len(code), maxInsns), Err: ErrTooLarge}
	}
	return Program{arch: arch, flags: p.Flags, code: string(encode(code))}, nil
}
