package cgroup

import (
	"math"
	"strconv"
)

// Max as the value of a limit means explicitly unlimited. What the groups
// above allow still holds.
const Max = -1

// Limits of one group. The zero value of a field sets no limit.
type Limits struct {
	// Memory in bytes, hard: memory.max, or memory.limit_in_bytes on v1. The
	// kernel rounds down to whole pages.
	Memory int64
	// MemoryHigh in bytes, above which the group is slowed and reclaimed. v2 only.
	MemoryHigh int64
	// MemoryLow and MemoryMin in bytes: as long as the group uses no more, its
	// memory is not reclaimed for others', but for want of anything else
	// (MemoryLow), or not at all (MemoryMin). v2 only; that of the program is then
	// protected by as much, and those above it must be already. Not for leaves,
	// which share what the sandbox has.
	MemoryLow, MemoryMin int64
	// Swap in bytes which may be used beyond Memory. 0 means none if Memory
	// is limited, and sets nothing otherwise.
	Swap int64
	// CPUs is CPU time per wall time, 0.01 at least: cpu.max, or
	// cpu.cfs_quota_us on v1, with a period of 100 ms.
	CPUs float64
	// CPUWeight is the share under contention, 1 to 10000 with 100 as the
	// kernel's default: cpu.weight, or cpu.shares on v1.
	CPUWeight int
	// CPUSet and MemoryNodes are the CPUs which the group may run on and the
	// NUMA nodes it may have memory of, as lists such as "0-2,7": cpuset.cpus
	// and cpuset.mems. AllOfThem stands for all that the group above has.
	CPUSet, MemoryNodes string
	// Pids is the number of tasks, threads included.
	Pids int
	// IO bounds what reaches block devices, one entry per device.
	IO []IOLimit
	// IOWeight is the share of contended devices, 1 to 10000 with 100 as the
	// kernel's default; those of IO take its place for their devices. A device
	// is shared by weight only under the BFQ scheduler, or under iocost on v2.
	// BFQ's scale ends at 1000: what is above 100 is compressed.
	IOWeight int
	// Hugepages bounds huge pages (hugetlbfs), one entry per size of page.
	// These are not part of Memory. Where the kernel can (5.7) reservations
	// are bounded as well, so that mmap fails instead of the first access.
	Hugepages []HugepageLimit
	// OOMGroup ends a leaf as a whole when the kernel's OOM killer picks a
	// process in it. Set on the leaves, so that one command dies and not the
	// sandbox. v1 has no counterpart; Manager.Notes says so.
	OOMGroup bool
}

// AllOfThem, as a value of CPUSet or MemoryNodes, takes a limit away.
const AllOfThem = "max"

const (
	cpuPeriod  = 100_000 // microseconds, the kernel's default
	minCPUs    = 0.01    // the kernel wants a quota of 1 ms at least
	maxCPUs    = 100_000
	minMemory  = 4096
	maxPids    = 4 << 20 // PID_MAX_LIMIT on 64 bit
	maxWeight  = 10000
	minShares  = 2 // MIN_SHARES and MAX_SHARES of kernel/sched/sched.h
	maxShares  = 1 << 18
	maxGroupID = 255 // NAME_MAX
)

// Validate reports the first field which no host could enforce, as an
// *InvalidError.
func (l Limits) Validate() error {
	bytes := func(field string, v, least int64) error {
		switch {
		case v == 0 || v == Max:
		case v < 0:
			return invalid(field, v, "negative")
		case v < least:
			return invalid(field, v, "less than one page of 4096 bytes")
		}
		return nil
	}
	if err := bytes("Memory", l.Memory, minMemory); err != nil {
		return err
	}
	if err := bytes("MemoryHigh", l.MemoryHigh, minMemory); err != nil {
		return err
	}
	if err := bytes("Swap", l.Swap, 0); err != nil {
		return err
	}
	if l.Memory > 0 && l.Swap > math.MaxInt64-l.Memory {
		return invalid("Swap", l.Swap, "Memory and Swap together overflow")
	}
	for _, f := range []func() error{l.validateProtection, l.validateCPU, l.validateSets, l.validateIO, l.validateHugepages} {
		if err := f(); err != nil {
			return err
		}
	}
	switch {
	case l.Pids == 0 || l.Pids == Max:
	case l.Pids < 0:
		return invalid("Pids", int64(l.Pids), "negative")
	case l.Pids > maxPids:
		return invalid("Pids", int64(l.Pids), "more than the kernel's 4194304")
	}
	return nil
}

func (l Limits) validateCPU() error {
	cpus := func(why string) error {
		return &InvalidError{"CPUs", strconv.FormatFloat(l.CPUs, 'g', -1, 64), why}
	}
	switch c := l.CPUs; {
	case math.IsNaN(c):
		return cpus("not a number")
	case c == 0 || c == Max:
	case c < 0:
		return cpus("negative")
	case c < minCPUs:
		return cpus("less than 0.01, the kernel's least quota")
	case c > maxCPUs:
		return cpus("more CPUs than any machine has")
	}
	if l.CPUWeight < 0 || l.CPUWeight > maxWeight {
		return invalid("CPUWeight", int64(l.CPUWeight), "outside of 1 to 10000")
	}
	return nil
}

func itoa(n int) string { return strconv.Itoa(n) }

func invalid(field string, v int64, why string) error {
	return &InvalidError{field, strconv.FormatInt(v, 10), why}
}

// validateLeaf is Validate for the limits of a leaf.
func (l Limits) validateLeaf() error {
	for _, f := range []struct {
		name string
		v    int64
	}{{"MemoryLow", l.MemoryLow}, {"MemoryMin", l.MemoryMin}} {
		if f.v != 0 {
			return invalid(f.name, f.v, "not for a leaf: set it for the sandbox")
		}
	}
	return l.Validate()
}

// validateProtection looks at MemoryLow and MemoryMin.
func (l Limits) validateProtection() error {
	for _, f := range []struct {
		name string
		v    int64
	}{{"MemoryLow", l.MemoryLow}, {"MemoryMin", l.MemoryMin}} {
		switch {
		case f.v < 0 && f.v != Max:
			return invalid(f.name, f.v, "negative")
		case f.v > 0 && f.v < minMemory:
			return invalid(f.name, f.v, "less than one page of 4096 bytes")
		case f.v > 0 && l.Memory > 0 && f.v > l.Memory:
			return invalid(f.name, f.v, "more than Memory: the rest could never be used")
		}
	}
	return nil
}

// shares converts the scale of v2 to that of v1 just as the kernel does for
// cpu.weight itself (100 is 1024).
func shares(weight int) int {
	return min(max((weight*1024+50)/100, minShares), maxShares)
}

// validName refuses what cannot be the name of one directory, and what would
// turn a path elsewhere.
func validName(field, name string) error {
	bad := func(why string) error { return &InvalidError{field, name, why} }
	switch {
	case name == "":
		return bad("empty")
	case len(name) > maxGroupID:
		return bad("longer than 255 bytes")
	case name[0] == '.':
		return bad("begins with a dot")
	}
	for i := range len(name) {
		if c := name[i]; c == '/' || c < ' ' || c == 0x7f {
			return bad("contains a slash or control character")
		}
	}
	return nil
}
