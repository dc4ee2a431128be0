package cgroup

import (
	"path"

	"golang.org/x/sys/unix"
)

// Ceiling is what the parent and the groups above it, as far as they can be
// seen, allow all that is below them: the lowest Memory, Pids and CPUs. A field is
// 0 if nothing bounds it. It reads a file or two per group and is true for the
// moment.
func (p Parent) Ceiling() Limits {
	var c Limits
	for _, d := range p.Dirs {
		memory := "memory.max"
		if d.Version == 1 {
			memory = "memory.limit_in_bytes"
		}
		for dir := d.Path; ; dir = path.Dir(dir) {
			if unix.Access(dir+"/cgroup.procs", unix.F_OK) != nil {
				break // above the mount
			}
			read := func(needs Controllers, file string) string {
				if !d.Controllers.Has(needs) {
					return ""
				}
				s, _ := readString(unix.AT_FDCWD, dir+"/"+file)
				return s
			}
			c.Memory = lower(c.Memory, parseLimit(read(MemoryController, memory)))
			c.Pids = int(lower(int64(c.Pids), parseLimit(read(PidsController, "pids.max"))))
			if d.Version == 2 {
				c.CPUs = lower(c.CPUs, parseCPUMax(read(CPUController, "cpu.max")))
			} else if quota := read(CPUController, "cpu.cfs_quota_us"); quota != "" {
				c.CPUs = lower(c.CPUs, parseCPUMax(quota+" "+read(CPUController, "cpu.cfs_period_us")))
			}
		}
	}
	return c
}
