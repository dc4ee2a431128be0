package cgroup

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Sheet is that of the leaf's totals, with the files' descriptors, which are open until CloseKept or Delete; the sandbox's until its group is deleted. It is false where the
// files cannot be read by whoever understands nothing of them, or have not been opened by KeepOpen.
func (l *Leaf) Sheet() (s Sheet, fds []int, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed || l.open == nil {
		return s, nil, false
	}
	add := func(place int, name string, fd int) int {
		s.Files = append(s.Files, SheetFile{place, name, room(name)})
		fds = append(fds, fd)
		return len(s.Files) - 1
	}
	s.Alone, s.AbovePids, s.AboveCPU = -1, -1, -1
	for i := range l.open {
		p := &l.open[i]
		s.Places = append(s.Places, SheetPlace{p.Version, uint32(p.Controllers)})
		for _, k := range p.kept {
			at := add(i, k.name, k.fd)
			switch {
			case p != l.open.main():
			case p.Version == 2 && k.name == "cgroup.events":
				s.Alone, s.At, s.Empty = at, 8, word("d 0\n") // "populated 0\n"
			case p.Version == 1 && k.name == "pids.current":
				s.Alone, s.At, s.Empty = at, 0, word("0\n\x00\x00")
			}
		}
		if p.Version == 1 && p.Controllers.Has(IOController) {
			return s, nil, false // of any length
		}
	}
	m := l.m
	if m.above.pids > 0 {
		s.AbovePids = add(-1, "pids.events.local", m.above.pids)
	}
	if m.above.cpu > 0 {
		s.AboveCPU = add(-1, "cpu.stat", m.above.cpu)
		s.CPUKey, s.CPUUnit = m.above.cpuKey, m.above.cpuUnit
	}
	most := m.Limits()
	s.Memory, s.MostMemory, s.MostPids = l.memory.Load(), most.Memory, most.Pids
	m.lm.Lock()
	s.BasePids, s.BaseThrottled = l.base.pids, l.base.throttled
	m.lm.Unlock()
	return s, fds, s.Alone >= 0
}

// room is more than the kernel writes into an account file, and no more than need be: all of it is sent.
func room(name string) int {
	switch name {
	case "io.stat": // a line for each device that was used
		return 8192
	case "cpu.stat":
		return 1024
	case "cpuacct.usage", "memory.failcnt", "memory.memsw.failcnt", "memory.max_usage_in_bytes", "memory.peak", "pids.current", "pids.peak": // one number
		return 32
	}
	return 256
}

func word(s string) uint32 { return binary.NativeEndian.Uint32([]byte(s)) }

// Totals makes the accounts of what the files had in them, nil for one that could not be read. It is what [Leaf.Totals] would have returned.
func (s *Sheet) Totals(texts [][]byte) (Stats, error) {
	var out Stats
	ps := make(places, len(s.Places))
	var limit atomic.Int64
	limit.Store(s.Memory)
	for i, p := range s.Places {
		ps[i].Version, ps[i].Controllers, ps[i].texts = p.Version, Controllers(p.Controllers), &sheetTexts{s, texts, i}
		ps[i].limit = &limit
	}
	if len(texts) != len(s.Files) {
		return out, unix.EINVAL
	}
	if err := ps.totals(&out); err != nil {
		return out, err
	}
	if s.MostPids > 0 {
		out.Pids.Peak = min(out.Pids.Peak, s.MostPids)
	}
	if s.MostMemory > 0 {
		out.Memory.Peak = min(out.Memory.Peak, s.MostMemory)
	}
	if s.AbovePids >= 0 {
		if hits, ok := parseKey(texts[s.AbovePids], "max"); ok {
			out.Pids.LimitHits += hits - s.BasePids
		}
	}
	if s.AboveCPU >= 0 {
		if v, ok := parseKey(texts[s.AboveCPU], s.CPUKey); ok {
			out.CPU.Throttled += nanos(v, s.CPUUnit) - s.BaseThrottled
		}
	}
	return out, nil
}

// sheetTexts is what has been read of the files of a place.
type sheetTexts struct {
	s     *Sheet
	texts [][]byte
	place int
}

func (t *sheetTexts) content(file string, f func(b []byte)) error {
	for i := range t.s.Files {
		k := &t.s.Files[i]
		if k.Place != t.place || k.Name != file {
			continue
		}
		if t.texts[i] == nil {
			return unix.EIO
		}
		b := t.texts[i]
		if len(b) >= k.Room { // cut off: what is whole counts
			b = b[:bytes.LastIndexByte(b, '\n')+1]
		}
		f(b)
		return nil
	}
	return unix.ENOENT
}
