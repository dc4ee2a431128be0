package cgroup

import "time"

// Stats are the kernel's accounts of one group and everything below it.
// A figure the host does not keep is zero; [Manager.Missing] names whole
// accounts which are not kept.
type Stats struct {
	CPU    CPU
	Memory Memory
	Pids   Pids
	// IO has the devices that anything has reached. On v1 only with
	// IOController among Options.Accounts or a limit that needs it; leaves have
	// it there unless the sandbox has limits on devices.
	IO       []DeviceIO
	Pressure Pressure // v2 only
}

// CPU is CPU time. User and System add up to Total; the kernel splits Total
// between them by sampling.
type CPU struct {
	Total, User, System time.Duration
	// Throttled is how long the quota held the group back. A leaf without a
	// quota of its own reports what the sandbox was held back during the
	// leaf's life.
	Throttled time.Duration
}

// Memory is in bytes. Shmem is part of File. Peak needs Linux 5.19 on v2.
type Memory struct {
	Current, Peak, Anon, File, Kernel, Shmem, Swap int64
	// OOMs counts how often the group's own limit could not be met by
	// reclaim (v2 only); OOMKills the processes killed for it, in this group
	// or below.
	OOMs, OOMKills uint64
	// LimitHits counts how often usage ran against this group's own hard
	// limit, mostly followed by reclaim and no harm; HighHits the same for
	// MemoryHigh (v2 only). Some kernels do not count on v1 where no swap is
	// allowed: there it is 1 if the limit was reached at all.
	LimitHits, HighHits uint64
}

// Pids counts tasks, threads included. Peak needs Linux 6.1.
type Pids struct {
	Current, Peak int
	// LimitHits counts forks refused because of a limit of this group or of
	// the sandbox. From Linux 6.11 v2 counts in the group whose limit it was:
	// a leaf then reports what the sandbox refused during its life, to this
	// leaf or to another at the same time.
	LimitHits uint64
}

// DeviceIO counts what reached one block device.
type DeviceIO struct {
	Device                              string // major:minor
	ReadBytes, WriteBytes, DiscardBytes int64
	Reads, Writes, Discards             uint64
}

// Pressure is the stall information of the group. Zero where the kernel was
// built or booted without it.
type Pressure struct {
	CPU, Memory, IO Stall
}

// Stall has the time in which some, and all, tasks of a group waited.
type Stall struct {
	Some, Full StallTime
}

// StallTime has averages in percent over the last 10, 60 and 300 seconds.
type StallTime struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}
