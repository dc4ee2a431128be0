package sandbox

import (
	"time"

	"github.com/belljar-go/belljar/cgroup"
)

// Accounts of a sandbox or a command, as the kernel keeps them. They are those of package
// cgroup, which says where each figure comes from.
type (
	// Stats is a sandbox's or a command's accounts at one moment.
	Stats = cgroup.Stats
	// CPU is CPU time.
	CPU = cgroup.CPU
	// Memory is in bytes.
	Memory = cgroup.Memory
	// Pids counts processes and threads.
	Pids = cgroup.Pids
	// DeviceIO counts what reached one block device.
	DeviceIO = cgroup.DeviceIO
	// Pressure is the kernel's stall information.
	Pressure = cgroup.Pressure
)

// Usage is what one command has used, from the kernel's accounts of its cgroup, read after
// its last process ended.
type Usage struct {
	CPU        CPU
	Wall       time.Duration // from the launch until the last process was gone; monotonic
	PeakMemory int64         // bytes, everything the cgroup was charged for
	PeakAnon   int64         // bytes of it that were anonymous memory, as far as sampled
	PeakFile   int64         // bytes of it that were file pages, as far as sampled
	PeakPids   int           // processes and threads at once
	IO         []DeviceIO
	OOMKills   uint64 // processes the kernel killed for lack of memory, also ones the program survived
	PidsHits   uint64 // forks and new threads refused by the limit, also ones the program survived
}
