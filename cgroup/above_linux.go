package cgroup

import (
	"time"

	"golang.org/x/sys/unix"
)

// counters are files of the sandbox's group that tell what happened to its
// leaves because of the sandbox's limits: throttling, and from Linux 6.11 on
// v2 refused forks. A leaf reports the difference over its life.
type counters struct {
	pids, cpu int // open files; 0: none
	cpuUnit   time.Duration
	cpuKey    string
}

type aboveCounts struct {
	pids      uint64
	throttled time.Duration
}

// open finds what there is to read; m is not shared yet. Whatever cannot be
// opened is not counted, for these are figures and no limits.
func (c *counters) open(m *Manager) {
	if p := m.ps.of(PidsController); p != nil {
		m.localPids = true
		if p.Version == 2 {
			if fd, err := openAt(p.fd, "pids.events.local", unix.O_RDONLY); err == nil {
				c.pids, m.localPids = fd, false
			}
		}
	}
	if p := m.ps.of(CPUController); p != nil && m.limits.CPUs != 0 {
		c.cpuUnit, c.cpuKey = time.Microsecond, "throttled_usec"
		if p.Version == 1 {
			c.cpuUnit, c.cpuKey = time.Nanosecond, "throttled_time"
		}
		if fd, err := openAt(p.fd, "cpu.stat", unix.O_RDONLY); err == nil {
			c.cpu = fd
		}
	}
}

func (c *counters) read() (a aboveCounts) {
	if c.pids > 0 {
		_ = readFD(c.pids, false, func(b []byte) { a.pids, _ = parseKey(b, "max") })
	}
	if c.cpu > 0 {
		_ = readFD(c.cpu, false, func(b []byte) {
			v, _ := parseKey(b, c.cpuKey)
			a.throttled = nanos(v, c.cpuUnit)
		})
	}
	return a
}

func (c *counters) close() {
	for _, fd := range []*int{&c.pids, &c.cpu} {
		if *fd > 0 {
			unix.Close(*fd)
			*fd = 0
		}
	}
}
