package cgroup

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPUUsage reads the CPU time used so far from a descriptor held open: fit
// for polling every millisecond. The kernel brings the account up to date at
// every tick at least.
func (l *Leaf) CPUUsage() (time.Duration, error) {
	p := l.ps.of(CPUAcctController)
	if p == nil {
		return 0, &UnsupportedError{Feature: "CPU time", Reason: "the cpuacct controller cannot be used here"}
	}
	file := "cpu.stat"
	if p.Version == 1 {
		file = "cpuacct.usage"
	}
	var d time.Duration
	err := l.poll(&l.cpu, p, file, func(b []byte) {
		if p.Version == 1 {
			v, _ := parseUint(b)
			d = nanos(v, 1)
			return
		}
		v, _ := parseKey(b, "usage_usec")
		d = nanos(v, time.Microsecond)
	})
	return d, err
}

// OOMKills reads how many processes of the leaf the kernel's OOM killer has
// ended, from a descriptor held open: fit for polling.
func (l *Leaf) OOMKills() (uint64, error) {
	p := l.ps.of(MemoryController)
	if p == nil {
		return 0, &UnsupportedError{Feature: "OOM kills", Reason: "the memory controller cannot be used here"}
	}
	file := "memory.events"
	if p.Version == 1 {
		file = "memory.oom_control"
	}
	var n uint64
	err := l.poll(&l.oom, p, file, func(b []byte) { n, _ = parseKey(b, "oom_kill") })
	return n, err
}

// poll reads a file through *fd, which is opened once.
func (l *Leaf) poll(fd *int, p *place, file string, f func(b []byte)) error {
	if err := l.lock(); err != nil {
		return err
	}
	if *fd < 0 {
		l.unlock()
		if err := l.openPoll(fd, p, file); err != nil {
			return err
		}
		if err := l.lock(); err != nil {
			return err
		}
	}
	defer l.unlock()
	if err := readFD(*fd, false, f); err != nil {
		return p.err("read", file, "", err)
	}
	return nil
}

func (l *Leaf) openPoll(fd *int, p *place, file string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || *fd >= 0 {
		return nil
	}
	if err := l.m.lock(); err != nil {
		return err
	}
	defer l.m.unlock()
	n, err := openAt(p.fd, p.prefix+file, unix.O_RDONLY)
	if err != nil {
		return p.err("open", file, "", err)
	}
	*fd = n
	return nil
}
