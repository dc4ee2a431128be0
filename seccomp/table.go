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

// The sub-architectures a policy can let in beside one, see [Policy.SubArches]: the 32-bit programs that kernels of AMD64
// and ARM64 run.
const (
	I386 Arch = 0x40000003
	ARM  Arch = 0x40000028
)

// supported are the architectures policies compile for.
var supported = []Arch{AMD64, ARM64}

// tabled are those whose calls are known.
var tabled = []Arch{AMD64, ARM64, I386, ARM}

// mains have, for each sub-architecture, the one beside which it stands.
var mains = map[Arch]Arch{I386: AMD64, ARM: ARM64}

// main is the architecture a program would be for.
func (a Arch) main() Arch {
	if m, ok := mains[a]; ok {
		return m
	}
	return a
}

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
	case I386:
		return "386"
	case ARM:
		return "arm"
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
	for _, arch := range tabled {
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
	case I386:
		return i386Calls
	case ARM:
		return armCalls
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
	for _, arch := range tabled {
		if _, ok := arch.calls()[name]; ok {
			return true
		}
	}
	_, ok := foreignCalls[name]
	return ok
}
