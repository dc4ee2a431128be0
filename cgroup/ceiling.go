package cgroup

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Beyond says where l asks for more than the groups above allow, as Parent's
// Ceiling has it: the kernel takes such a limit, and it is theirs that holds.
func (l Limits) Beyond(ceiling Limits) []string {
	var notes []string
	add := func(field string, asked, allowed any) {
		notes = append(notes, fmt.Sprintf("%s %v: the groups above allow %v, for all that is in them", field, asked, allowed))
	}
	if l.Memory > 0 && ceiling.Memory > 0 && l.Memory > ceiling.Memory {
		add("Memory", l.Memory, ceiling.Memory)
	}
	if l.Pids > 0 && ceiling.Pids > 0 && l.Pids > ceiling.Pids {
		add("Pids", l.Pids, ceiling.Pids)
	}
	if l.CPUs > 0 && ceiling.CPUs > 0 && l.CPUs > ceiling.CPUs {
		add("CPUs", l.CPUs, ceiling.CPUs)
	}
	return notes
}

// lower is the lower of two limits of which 0 is none.
func lower[T int | int64 | float64](a, b T) T {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// parseLimit reads memory.max or pids.max; 0 is no limit, as is v1's largest
// number of bytes. A limit of 0 is none that a group could live under, and
// counts as 1.
func parseLimit(s string) int64 {
	v, ok := parseUint([]byte(s))
	if !ok || v >= math.MaxInt64-1<<16 {
		return 0
	}
	return max(bytesOf(v), 1)
}

// parseCPUMax reads cpu.max, "50000 100000", as a number of CPUs; 0 is no limit.
func parseCPUMax(s string) float64 {
	f := strings.Fields(s)
	if len(f) != 2 {
		return 0
	}
	quota, err1 := strconv.ParseInt(f[0], 10, 64)
	period, err2 := strconv.ParseInt(f[1], 10, 64)
	if err1 != nil || err2 != nil || quota <= 0 || period <= 0 {
		return 0
	}
	return float64(quota) / float64(period)
}
