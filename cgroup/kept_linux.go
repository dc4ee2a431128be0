package cgroup

import "golang.org/x/sys/unix"

// accountFiles are what Totals and Populated read, by version and controller, always in the same order: sheets of leaves that are alike are equal then. Those that are read rarely, or that few kernels have, are
// opened when they are.
var accountFiles = [...]struct {
	version    int
	controller Controllers
	names      []string
}{
	{1, CPUAcctController, []string{"cpuacct.usage", "cpuacct.stat"}},
	{1, CPUController, []string{"cpu.stat"}},
	{1, MemoryController, []string{"memory.oom_control", "memory.failcnt", "memory.memsw.failcnt", "memory.max_usage_in_bytes"}},
	{1, PidsController, []string{"pids.current", "pids.peak", "pids.events"}},
	{2, CPUAcctController, []string{"cpu.stat"}},
	{2, MemoryController, []string{"memory.events", "memory.peak"}},
	{2, PidsController, []string{"pids.peak", "pids.events"}},
	{2, IOController, []string{"io.stat"}},
}

// KeepOpen opens the accounts of the leaf, so that Totals and Populated take a read for each and no more. It is best called
// while the command runs. The files are closed by CloseKept or Delete; what cannot be opened is tried again by those who read.
func (l *Leaf) KeepOpen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.open != nil || l.m.lock() != nil {
		return
	}
	defer l.m.unlock()
	open := append(places(nil), l.ps...) // those of others read without a lock, and without these
	for _, f := range accountFiles {
		if p := open.of(f.controller); p != nil && p.Version == f.version {
			p.keep(f.names...)
		}
	}
	// On v1 it is pids.current, or else a list of members, which is no file to keep: through one that stays open the kernel shows for a second what it has shown
	// before (cgroup_pidlist_start in kernel/cgroup/cgroup-v1.c).
	if p := open.main(); p != nil && p.Version == 2 {
		p.keep("cgroup.events")
	}
	l.open = open
}

// CloseKept undoes KeepOpen.
func (l *Leaf) CloseKept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.closeKept()
	l.open = nil
}

func (p *place) keep(names ...string) {
	for _, name := range names {
		if fd, err := openAt(p.fd, p.prefix+name, unix.O_RDONLY); err == nil {
			p.kept = append(p.kept, keptFile{name, fd})
		}
	}
}

func (ps places) closeKept() {
	for i := range ps {
		for _, k := range ps[i].kept {
			_ = unix.Close(k.fd)
		}
	}
}

// reading is where the leaf's accounts are read. The leaf is locked.
func (l *Leaf) reading() places {
	if l.open != nil {
		return l.open
	}
	return l.ps
}
