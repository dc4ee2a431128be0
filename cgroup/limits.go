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
	// Swap in bytes which may be used beyond Memory. 0 means none if Memory
	// is limited, and sets nothing otherwise.
	Swap int64
	// CPUs is CPU time per wall time, 0.01 at least: cpu.max, or
	// cpu.cfs_quota_us on v1, with a period of 100 ms.
	CPUs float64
	// CPUWeight is the share under contention, 1 to 10000 with 100 as the
	// kernel's default: cpu.weight, or cpu.shares on v1.
	CPUWeight int
	// Pids is the number of tasks, threads included.
	Pids int
	// OOMGroup ends a leaf as a whole when the kernel's OOM killer picks a
	// process in it. Set on the leaves, so that one command dies and not the
	// sandbox. v1 has no counterpart; Manager.Notes says so.
	OOMGroup bool
}

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
	if err := l.validateCPU(); err != nil {
		return err
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

func invalid(field string, v int64, why string) error {
	return &InvalidError{field, strconv.FormatInt(v, 10), why}
}

// Controllers is what the limits need.
func (l Limits) Controllers() Controllers {
	var c Controllers
	if l.Memory != 0 || l.MemoryHigh != 0 || l.Swap != 0 || l.OOMGroup {
		c |= MemoryController
	}
	if l.CPUs != 0 || l.CPUWeight != 0 {
		c |= CPUController
	}
	if l.Pids != 0 {
		c |= PidsController
	}
	return c
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
