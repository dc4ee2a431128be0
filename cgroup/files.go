package cgroup

import (
	"math"
	"strconv"
)

// limits adds the writes of l to directory i, whose group is name.
func (p *plan) limits(i int, d Dir, name string, l Limits) error {
	write := func(file, data string) *step {
		p.add(step{do: opWrite, at: i, rel: join(name, file), data: data})
		return &p.steps[len(p.steps)-1]
	}
	if d.Controllers.Has(PidsController) && l.Pids != 0 {
		write("pids.max", maxOr(int64(l.Pids)))
	}
	if d.Controllers.Has(CPUController) {
		cpuLimits(d.Version, l, write)
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
	if l.Swap != 0 || l.Memory > 0 {
		s := write("memory.swap.max", maxOr(l.Swap))
		if l.Swap <= 0 { // a kernel without swap swaps nothing
			s.orElse = &step{}
			s.note = "memory.swap.max does not exist: this kernel accounts for no swap"
		}
	}
}

func memoryLimitsV1(i int, name string, l Limits, write writer) error {
	if l.MemoryHigh != 0 {
		return &UnsupportedError{Feature: "MemoryHigh", Reason: "cgroup v1 has nothing like memory.high", Remedy: "boot with the unified hierarchy"}
	}
	if l.Swap > 0 && l.Memory <= 0 {
		return &UnsupportedError{Feature: "Swap without Memory", Reason: "cgroup v1 limits swap only together with memory", Remedy: "set Memory as well"}
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
