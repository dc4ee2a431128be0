package seccomp

import (
	"maps"
	"runtime"
	"slices"
	"sync"
)

//go:generate go run ./internal/gen

// Arch is an architecture as the kernel names it to a filter: an AUDIT_ARCH_* value of linux/audit.h.
type Arch uint32

// The architectures a policy can be compiled for.
const (
	AMD64 Arch = 0xc000003e
	ARM64 Arch = 0xc00000b7
)

// supported are the architectures there are tables for.
var supported = []Arch{AMD64, ARM64}

// NativeArch is the architecture this program was built for, or zero where the package has no table for it.
func NativeArch() Arch {
	switch runtime.GOARCH {
	case "amd64":
		return AMD64
	case "arm64":
		return ARM64
	}
	return 0
}

// String gives Go's name of the architecture.
func (a Arch) String() string {
	switch a {
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	}
	return "unknown architecture " + hex(uint64(a))
}

// Number gives the number a call has on the architecture.
func (a Arch) Number(name string) (number uint32, ok bool) {
	number, ok = a.calls()[name]
	return number, ok
}

// Name gives the call a number stands for on the architecture: what a seccomp report (si_syscall, audit record) names
// by number only.
func (a Arch) Name(number uint32) (name string, ok bool) {
	name, ok = callNames()[a][number]
	return name, ok
}

var callNames = sync.OnceValue(func() map[Arch]map[uint32]string {
	names := map[Arch]map[uint32]string{}
	for _, arch := range supported {
		names[arch] = map[uint32]string{}
		for name, number := range arch.calls() {
			names[arch][number] = name
		}
	}
	return names
})

// Names lists the calls of the architecture in the order of their numbers.
func (a Arch) Names() []string {
	calls := a.calls()
	return slices.SortedFunc(maps.Keys(calls), func(x, y string) int { return int(calls[x]) - int(calls[y]) })
}

func (a Arch) calls() map[string]uint32 {
	switch a {
	case AMD64:
		return amd64Calls
	case ARM64:
		return arm64Calls
	}
	return nil
}

// spans gives the numbers of an architecture's calls as ascending, inclusive ranges with no gap inside.
func (a Arch) spans() [][2]uint32 {
	var spans [][2]uint32
	for _, n := range slices.Sorted(maps.Values(a.calls())) {
		if last := len(spans) - 1; last >= 0 && n <= spans[last][1]+1 {
			spans[last][1] = n
			continue
		}
		spans = append(spans, [2]uint32{n, n})
	}
	return spans
}

// isCall tells whether Linux has a call of that name on any architecture: profiles written for many name calls that
// ours lacks, and only a name nobody has is a mistake.
func isCall(name string) bool {
	if _, ok := amd64Calls[name]; ok {
		return true
	}
	if _, ok := arm64Calls[name]; ok {
		return true
	}
	_, ok := foreignCalls[name]
	return ok
}
