package cgroup

import "golang.org/x/sys/unix"

// totals reads what outlives the processes: CPU time, peaks and counters.
func (ps places) totals(s *Stats) error {
	if err := ps.cpu(&s.CPU); err != nil {
		return err
	}
	if err := ps.memoryTotals(&s.Memory); err != nil {
		return err
	}
	if err := ps.pidsTotals(&s.Pids); err != nil {
		return err
	}
	return ps.io(s)
}

// current reads what changes with every moment.
func (ps places) current(s *Stats) error {
	if err := ps.memoryNow(&s.Memory); err != nil {
		return err
	}
	if p := ps.of(PidsController); p != nil {
		var n int64
		if err := p.number("pids.current", &n); err != nil {
			return err
		}
		s.Pids.Current = int(n)
	}
	return ps.pressure(&s.Pressure)
}

func (ps places) cpu(c *CPU) error {
	p := ps.of(CPUAcctController)
	switch {
	case p == nil:
		return nil
	case p.Version == 2:
		return p.read("cpu.stat", func(b []byte) { parseCPUStatV2(b, c) })
	}
	var total uint64
	if err := p.read("cpuacct.usage", func(b []byte) { total, _ = parseUint(b) }); err != nil {
		return err
	}
	if err := p.read("cpuacct.stat", func(b []byte) { *c = splitCPU(nanos(total, 1), b) }); err != nil {
		return err
	}
	var err error
	if p := ps.of(CPUController); p != nil {
		err = p.readIf("cpu.stat", func(b []byte) {
			if v, ok := parseKey(b, "throttled_time"); ok {
				c.Throttled = nanos(v, 1)
			}
		})
	}
	return err
}

func (ps places) memoryTotals(m *Memory) error {
	p := ps.of(MemoryController)
	switch {
	case p == nil:
		return nil
	case p.Version == 2:
		if err := p.read("memory.events", func(b []byte) { parseMemoryEvents(b, m) }); err != nil {
			return err
		}
		return p.number("memory.peak", &m.Peak)
	}
	if err := p.read("memory.oom_control", func(b []byte) { m.OOMKills, _ = parseKey(b, "oom_kill") }); err != nil {
		return err
	}
	// Where memory and swap together have the same limit as memory, that one
	// is asked first and counts, but not on all kernels (6.18 does not).
	defer func() {
		if m.LimitHits == 0 && p.reached(m.Peak) {
			m.LimitHits = 1
		}
	}()
	for _, f := range []string{"memory.failcnt", "memory.memsw.failcnt"} {
		var hits int64
		if err := p.number(f, &hits); err != nil {
			return err
		}
		m.LimitHits += uint64(hits)
	}
	return p.number("memory.max_usage_in_bytes", &m.Peak)
}

func (ps places) memoryNow(m *Memory) error {
	p := ps.of(MemoryController)
	switch {
	case p == nil:
		return nil
	case p.Version == 2:
		if err := p.number("memory.current", &m.Current); err != nil {
			return err
		}
		if err := p.number("memory.swap.current", &m.Swap); err != nil {
			return err
		}
		return p.read("memory.stat", func(b []byte) { parseMemoryStatV2(b, m) })
	}
	if err := p.number("memory.usage_in_bytes", &m.Current); err != nil {
		return err
	}
	if err := p.number("memory.kmem.usage_in_bytes", &m.Kernel); err != nil {
		return err
	}
	return p.read("memory.stat", func(b []byte) { parseMemoryStatV1(b, m) })
}

func (ps places) pidsTotals(s *Pids) error {
	p := ps.of(PidsController)
	if p == nil {
		return nil
	}
	var peak int64
	if err := p.number("pids.peak", &peak); err != nil {
		return err
	}
	s.Peak = int(peak)
	return p.read("pids.events", func(b []byte) { s.LimitHits, _ = parseKey(b, "max") })
}

func (ps places) io(s *Stats) error {
	p := ps.of(IOController)
	switch {
	case p == nil:
		return nil
	case p.Version == 2:
		return p.readIf("io.stat", func(b []byte) { s.IO = used(parseIOStat(b)) })
	}
	var all []DeviceIO
	if err := p.readIf("blkio.throttle.io_service_bytes_recursive", func(b []byte) { all = parseBlkio(b, all, false) }); err != nil {
		return err
	}
	err := p.readIf("blkio.throttle.io_serviced_recursive", func(b []byte) { all = parseBlkio(b, all, true) })
	s.IO = used(all)
	return err
}

func (ps places) pressure(s *Pressure) error {
	for i := range ps {
		p := &ps[i]
		if p.Version != 2 {
			continue
		}
		for file, to := range map[string]*Stall{"cpu.pressure": &s.CPU, "memory.pressure": &s.Memory, "io.pressure": &s.IO} {
			if err := p.readIf(file, func(b []byte) { *to = parsePressure(b) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// main is the place whose membership stands for the group's: v2 if it is
// there, for its tree tells about itself, then pids or memory.
func (ps places) main() *place {
	for i := range ps {
		if ps[i].Version == 2 {
			return &ps[i]
		}
	}
	for _, c := range []Controllers{PidsController, MemoryController, CPUAcctController, FreezerController} {
		if p := ps.of(c); p != nil {
			return p
		}
	}
	return nil
}

// populated reports whether the group or one below it has a process. Zombies
// do not count.
func (ps places) populated() (bool, error) {
	p := ps.main()
	if p == nil {
		return false, nil
	}
	if p.Version == 2 {
		var v uint64
		err := p.read("cgroup.events", func(b []byte) { v, _ = parseKey(b, "populated") })
		return v != 0, err
	}
	if p.Controllers.Has(PidsController) {
		// It counts everybody in the group and below, zombies included: with none the lists, which the kernel sorts, are not needed.
		n := int64(-1)
		if err := p.number("pids.current", &n); err != nil {
			return false, err
		}
		if n == 0 {
			return false, nil
		}
	}
	var some bool
	if err := p.read("cgroup.procs", func(b []byte) { some = len(b) > 0 }); err != nil {
		return false, err
	}
	if some {
		return true, nil
	}
	var m members
	err := m.addTree(p.fd, p.dirName())
	if err != nil {
		return false, p.err("read", "cgroup.procs", "", err)
	}
	return len(m.pids)+m.foreign > 0, nil
}

// members are processes of a tree of groups. Foreign ones have no pid in our
// pid namespace.
type members struct {
	pids    map[int]struct{}
	foreign int
}

// add adds those that a cgroup.procs file lists.
func (m *members) add(b []byte) {
	pids, foreign := parsePids(b)
	m.foreign += foreign
	if m.pids == nil && len(pids) > 0 {
		m.pids = make(map[int]struct{}, len(pids))
	}
	for _, p := range pids {
		m.pids[p] = struct{}{}
	}
}

// addThreads adds the processes to which threads belong.
func (m *members) addThreads(b []byte) {
	tids, foreign := parsePids(b)
	m.foreign += foreign
	for _, tid := range tids {
		s, err := readString(unix.AT_FDCWD, "/proc/"+itoa(tid)+"/status")
		if pid, ok := parseTgid([]byte(s)); err == nil && ok {
			m.add([]byte(itoa(pid)))
		}
	}
}

// addTree adds the processes of a group and of all below it. A group that
// vanishes meanwhile has no members.
func (m *members) addTree(dirfd int, name string) error {
	fd, subs, err := openSubdirs(dirfd, name)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = withList(fd, "cgroup.procs", m.add)
	if err == unix.EOPNOTSUPP { // the list of a threaded group is in its domain above, which may be out of sight
		err = withList(fd, "cgroup.threads", m.addThreads)
	}
	if err != nil && !gone(err) {
		return err
	}
	for _, s := range subs {
		if err := m.addTree(fd, s); err != nil {
			return err
		}
	}
	return nil
}

// members of the group in every hierarchy: a process on its way in or out may
// be in some of them only.
func (ps places) members() (members, error) {
	var m members
	for i := range ps {
		p := &ps[i]
		if err := m.addTree(p.fd, p.dirName()); err != nil {
			return m, p.err("read", "cgroup.procs", "", err)
		}
	}
	return m, nil
}
