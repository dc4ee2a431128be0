package cgroup

import (
	"math"
	"strconv"
)

// limits adds the writes of l to directory i, whose group is name, or the
// directory itself if that is empty.
func (p *plan) limits(i int, d Dir, name string, l Limits) error {
	write := func(file, data string) *step {
		p.add(step{do: opWrite, at: i, rel: join(name, file), data: data})
		return &p.steps[len(p.steps)-1]
	}
	if d.Controllers.Has(CPUSetController) {
		p.sets(i, d.Version, name, l)
	}
	if d.Controllers.Has(PidsController) && l.Pids != 0 {
		write("pids.max", maxOr(int64(l.Pids)))
	}
	if d.Controllers.Has(CPUController) {
		cpuLimits(d.Version, l, write)
	}
	if d.Controllers.Has(IOController) {
		ioLimits(d.Version, l, write)
	}
	if d.Controllers.Has(HugetlbController) {
		hugepageLimits(d.Version, l, write)
	}
	if !d.Controllers.Has(MemoryController) {
		return nil
	}
	if d.Version == 1 {
		return memoryLimitsV1(i, name, l, write)
	}
	memoryLimitsV2(l, write)
	return nil
}

type writer func(file, data string) *step

func cpuLimits(version int, l Limits, write writer) {
	quota := int64(Max)
	if l.CPUs > 0 {
		quota = int64(math.Round(l.CPUs * cpuPeriod))
	}
	switch {
	case l.CPUs == 0:
	case version == 2:
		write("cpu.max", maxOr(quota)+" "+strconv.Itoa(cpuPeriod))
	default:
		write("cpu.cfs_period_us", strconv.Itoa(cpuPeriod))
		write("cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
	}
	switch {
	case l.CPUWeight == 0:
	case version == 2:
		write("cpu.weight", strconv.Itoa(l.CPUWeight))
	default:
		write("cpu.shares", strconv.Itoa(shares(l.CPUWeight)))
	}
}

func memoryLimitsV2(l Limits, write writer) {
	if l.Memory != 0 {
		write("memory.max", maxOr(l.Memory))
	}
	if l.MemoryHigh != 0 {
		write("memory.high", maxOr(l.MemoryHigh))
	}
	if l.MemoryLow != 0 {
		write("memory.low", protection(l.MemoryLow))
	}
	if l.MemoryMin != 0 {
		write("memory.min", protection(l.MemoryMin))
	}
	if l.Swap != 0 || l.Memory > 0 {
		s := write("memory.swap.max", maxOr(l.Swap))
		if l.Swap <= 0 { // a kernel without swap swaps nothing
			s.orElse = &step{}
			s.note = "memory.swap.max does not exist: this kernel accounts for no swap"
		}
	}
}

func memoryLimitsV1(i int, name string, l Limits, write writer) error {
	for _, f := range []struct {
		v           int64
		field, file string
	}{{l.MemoryHigh, "MemoryHigh", "memory.high"}, {l.MemoryLow, "MemoryLow", "memory.low"}, {l.MemoryMin, "MemoryMin", "memory.min"}} {
		if f.v != 0 {
			return onlyV2(f.field, f.file)
		}
	}
	if l.Swap > 0 && l.Memory <= 0 {
		return &UnsupportedError{
			Feature: "Swap without Memory", Reason: "cgroup v1 limits swap only together with memory", Remedy: "set Memory as well",
			Fields: []string{"Swap"},
		}
	}
	if l.Memory != 0 {
		write("memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10))
	}
	switch {
	case l.Swap == Max:
		// A kernel without memory.memsw limits no swap anyway.
		write("memory.memsw.limit_in_bytes", "-1").orElse = &step{}
	case l.Memory > 0:
		s := write("memory.memsw.limit_in_bytes", strconv.FormatInt(l.Memory+l.Swap, 10))
		if l.Swap == 0 {
			// swappiness 0 keeps reclaim at the group's own limit from
			// swapping (get_scan_count in mm/vmscan.c).
			s.orElse = &step{do: opWrite, at: i, rel: join(name, "memory.swappiness"), data: "0"}
			s.note = "memory.memsw.limit_in_bytes does not exist (swap accounting is off): swap is held off by memory.swappiness 0, which a machine short of memory as a whole may ignore"
		}
	}
	return nil
}

// onlyV2 is the error of a limit to which v1 has no counterpart.
func onlyV2(field, file string) error {
	return &UnsupportedError{
		Feature: field, Reason: "cgroup v1 has nothing like " + file, Remedy: "boot with the unified hierarchy",
		Fields: []string{field},
	}
}

// protection is what is written for MemoryLow and MemoryMin, of which Max is to
// take away, like that of a limit.
func protection(n int64) string { return strconv.FormatInt(max(n, 0), 10) }

// join is name/file, or file alone for the directory itself.
func join(name, file string) string {
	if name == "" {
		return file
	}
	return name + "/" + file
}

// maxOr writes Max as the kernel does.
func maxOr(n int64) string {
	if n == Max {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}
