package cgroup

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// watch is one group within one subscription. It has descriptors of its own,
// so it needs no lock of the group's handle.
type watch struct {
	e     *Events
	leaf  string
	ps    places // v1: with directories of its own; v2: only where they are
	kinds EventKind
	// whole: the subscription is to this very group and ends with it.
	whole bool
	hits  *hitCount // the leaf's; of a sandbox's group all count

	mu      sync.Mutex
	closed  bool
	last    counts
	emptied bool // an EventEmpty has been told
	notices uint64
	sources []*source
	dirs    []int
	looks   bool // there is something to be found by looking only
}

// counts is what is known of a group, by bit of its kind.
type counts struct {
	n                 [eventBits]uint64
	populated, frozen bool
}

func (c *counts) of(k EventKind) *uint64 { return &c.n[bits.TrailingZeros16(uint16(k))] }

// source is a descriptor the kernel signals.
type source struct {
	w       *watch
	what    sourceKind
	fd      int
	events  uint32 // EPOLLIN and the like; 0: not signalled
	token   uint64 // which it is for the hub
	trigger PressureTrigger
	rearm   *time.Timer
}

type sourceKind uint8

const (
	memoryFile   sourceKind = iota // memory.events, polled
	pidsFile                       // pids.events
	stateFile                      // cgroup.events
	pressureFile                   // a PSI trigger
	oomNotice                      // v1: eventfd of memory.oom_control
	levelNotice                    // v1: eventfd of memory.pressure_level
)

func newWatch(e *Events, leaf string, ps places, hits *hitCount) *watch {
	return &watch{e: e, leaf: leaf, ps: append(places(nil), ps...), hits: hits}
}

// open begins to watch. What has been counted before is told only in a group that is new.
func (w *watch) open(kinds EventKind, isNew bool) error {
	all := kinds == 0 || w.e.opts.Optional
	if kinds == 0 {
		kinds = AllEvents
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.openAll(kinds, all)
	if err == nil && !isNew {
		err = w.read(&w.last)
	}
	if err == nil && !w.e.keep(w) {
		err = errEnded
	}
	if err == nil {
		err = attach(w)
	}
	if err != nil {
		w.release()
		w.e.drop(w)
	}
	return err
}

func (w *watch) openAll(kinds EventKind, all bool) error {
	for i := range w.ps {
		p := &w.ps[i]
		if p.Version == 1 {
			if err := w.openDir(p); err != nil {
				return err
			}
		}
	}
	for k := EventKind(1); k < 1<<eventBits; k <<= 1 {
		if kinds&k == 0 {
			continue
		}
		err := w.openKind(k)
		if err == nil {
			w.kinds |= k
			continue
		}
		if _, lack := err.(*UnsupportedError); !lack || !all {
			return err
		}
	}
	return nil
}

// openDir gives p a descriptor of its own.
func (w *watch) openDir(p *place) error {
	name := p.prefix
	if name == "" {
		name = "."
	}
	fd, err := openDirAt(p.fd, name)
	if err != nil {
		return p.err("open", "", "", err)
	}
	w.dirs = append(w.dirs, fd)
	p.fd, p.prefix = fd, ""
	return nil
}

func (w *watch) lack(k EventKind, why, remedy string, err error) error {
	return &UnsupportedError{Feature: k.String() + " events", Reason: why, Remedy: remedy, Err: err}
}

// openKind opens what tells of one kind.
func (w *watch) openKind(k EventKind) error {
	need := map[EventKind]Controllers{
		EventOOMKill: MemoryController, EventOOM: MemoryController, EventMemoryLimit: MemoryController,
		EventMemoryHigh: MemoryController, EventMemoryPressure: MemoryController,
		EventPidsLimit: PidsController, EventFrozen: FreezerController, EventThawed: FreezerController,
	}[k]
	p := w.ps.main()
	if k == EventCPUPressure || k == EventIOPressure {
		if p == nil || p.Version == 1 {
			return w.lack(k, "it is of cgroup v2 only", "", nil)
		}
	} else if need != 0 {
		if p = w.ps.of(need); p != nil && p.Version == 2 && need == MemoryController && k == EventMemoryPressure {
			return w.openPressure(p, k)
		}
	}
	if p == nil {
		return w.lack(k, "the "+need.String()+" controller cannot be used here", "", nil)
	}
	switch {
	case k&pressureEvents != 0 && p.Version == 2:
		return w.openPressure(p, k)
	case k == EventMemoryPressure:
		return w.openLevel(p)
	case p.Version == 1:
		return w.openV1(p, k)
	case need == MemoryController:
		return w.openFile(p, memoryFile, w.local(p, "memory.events"), unix.EPOLLPRI)
	case need == PidsController:
		return w.openFile(p, pidsFile, w.local(p, "pids.events"), unix.EPOLLPRI)
	}
	return w.openFile(p, stateFile, "cgroup.events", unix.EPOLLPRI)
}

// openV1 takes what v1 has: a notice of OOM, and figures to look at.
func (w *watch) openV1(p *place, k EventKind) error {
	switch k {
	case EventMemoryHigh:
		return w.lack(k, "cgroup v1 has no such limit", "", nil)
	case EventFrozen, EventThawed:
		if w.leaf != "" {
			return w.lack(k, "a leaf of cgroup v1 has no freezer of its own", "", nil)
		}
	case EventPidsLimit:
		// Since 6.11 the kernel gives no notice of this file on v1.
		if err := w.openFile(p, pidsFile, "pids.events", 0); err != nil {
			return err
		}
	case EventOOM, EventOOMKill:
		if err := w.openNotice(p, oomNotice, "memory.oom_control", "", PressureTrigger{}, 0); err != nil {
			return err
		}
	}
	w.looks = true
	return nil
}

// local is the file which counts for the sandbox's group without its leaves,
// where counts of leaves are in the other one too.
func (w *watch) local(p *place, file string) string {
	if w.leaf != "" {
		return file
	}
	if err := withFile(p.fd, p.prefix+file+".local", func([]byte) {}); err == nil {
		return file + ".local"
	}
	return file // pids.events before 6.11: of this group alone
}

func (w *watch) has(what sourceKind) bool {
	for _, s := range w.sources {
		if s.what == what {
			return true
		}
	}
	return false
}

func (w *watch) openFile(p *place, what sourceKind, file string, events uint32) error {
	if w.has(what) {
		return nil
	}
	fd, err := openAt(p.fd, p.prefix+file, unix.O_RDONLY)
	if err != nil {
		return p.err("open", file, "", err)
	}
	w.sources = append(w.sources, &source{w: w, what: what, fd: fd, events: events})
	return nil
}

// openPressure sets a PSI trigger (Documentation/accounting/psi.rst).
func (w *watch) openPressure(p *place, k EventKind) error {
	file := map[EventKind]string{EventMemoryPressure: "memory.pressure", EventCPUPressure: "cpu.pressure", EventIOPressure: "io.pressure"}[k]
	t := w.e.opts.trigger(k)
	share := "some"
	if t.Full {
		share = "full"
	}
	data := fmt.Sprintf("%s %d %d", share, t.Stall.Microseconds(), t.Window.Microseconds())
	fd, err := openAt(p.fd, p.prefix+file, unix.O_RDWR)
	if err == nil {
		err = retry(func() error { _, err := unix.Write(fd, []byte(data+"\x00")); return err })
	}
	switch {
	case err == nil:
		w.sources = append(w.sources, &source{w: w, what: pressureFile, fd: fd, events: unix.EPOLLPRI, trigger: t})
		return nil
	case fd >= 0:
		unix.Close(fd)
	}
	err = p.err("write", file, data, err)
	return w.lack(k, "the kernel takes no such trigger", "it needs a kernel with PSI, not booted with psi=0, and without CAP_SYS_RESOURCE a window of whole 2 s and Linux 6.4", err)
}

// openLevel asks v1 for notices of memory pressure.
func (w *watch) openLevel(p *place) error {
	t := w.e.opts.trigger(EventMemoryPressure)
	level := "medium"
	if t.Full {
		level = "critical"
	}
	// hierarchy: a group is told of what is below it, too.
	return w.openNotice(p, levelNotice, "memory.pressure_level", level+",hierarchy", t, unix.EPOLLONESHOT)
}

// openNotice registers an eventfd (Documentation/admin-guide/cgroup-v1/cgroups.rst).
func (w *watch) openNotice(p *place, what sourceKind, file, args string, t PressureTrigger, flags uint32) error {
	if w.has(what) {
		return nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return p.err("eventfd", file, "", err)
	}
	control, err := openAt(p.fd, p.prefix+file, unix.O_RDONLY)
	if err == nil {
		err = writeAt(p.fd, p.prefix+"cgroup.event_control", fmt.Sprintf("%d %d %s", fd, control, args))
		unix.Close(control)
	}
	if err != nil {
		unix.Close(fd)
		return p.err("write", "cgroup.event_control", file+" "+args, err)
	}
	w.sources = append(w.sources, &source{w: w, what: what, fd: fd, events: unix.EPOLLIN | flags, trigger: t})
	return nil
}

// read reads everything that is counted.
func (w *watch) read(c *counts) error {
	*c = counts{n: w.last.n, populated: w.last.populated, frozen: w.last.frozen}
	for _, s := range w.sources {
		var err error
		switch s.what {
		case memoryFile:
			var m Memory
			err = readFD(s.fd, false, func(b []byte) { parseMemoryEvents(b, &m) })
			c.memory(m)
		case pidsFile:
			err = readFD(s.fd, false, func(b []byte) {
				n, _ := parseKey(b, "max")
				told := c.of(EventPidsLimit)
				*told = max(*told, w.hits.upTo(n))
			})
		case stateFile:
			err = readFD(s.fd, false, func(b []byte) {
				populated, _ := parseKey(b, "populated")
				frozen, _ := parseKey(b, "frozen")
				c.populated, c.frozen = populated != 0, frozen != 0
			})
		}
		if err != nil {
			return err
		}
	}
	return w.readV1(c)
}

func (c *counts) memory(m Memory) {
	*c.of(EventOOMKill), *c.of(EventOOM) = m.OOMKills, m.OOMs
	*c.of(EventMemoryLimit), *c.of(EventMemoryHigh) = m.LimitHits, m.HighHits
}

func (w *watch) readV1(c *counts) error {
	const memory = EventOOMKill | EventOOM | EventMemoryLimit
	if p := w.ps.of(MemoryController); p != nil && p.Version == 1 && w.kinds&memory != 0 {
		var m Memory
		if err := (places{*p}).memoryTotals(&m); err != nil {
			return err
		}
		m.OOMs = w.notices
		c.memory(m)
	}
	if p := w.ps.of(FreezerController); p != nil && p.Version == 1 && w.kinds&(EventFrozen|EventThawed) != 0 {
		var err error
		if c.frozen, err = p.isFrozen(); err != nil {
			return err
		}
	}
	if p := w.ps.main(); p != nil && p.Version == 1 && w.kinds&EventEmpty != 0 {
		var err error
		c.populated, err = w.ps.populated()
		return err
	}
	return nil
}

// update reads what has happened and tells it.
func (w *watch) update() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
}

// look is update for who has the lock.
func (w *watch) look() {
	if w.closed {
		return
	}
	var now counts
	if err := w.read(&now); err != nil {
		return // removed by somebody else: what was told is all there is
	}
	was := w.last
	w.last = now
	for i := range now.n {
		if now.n[i] > was.n[i] {
			w.tell(1<<i, now.n[i]-was.n[i])
		}
	}
	if now.frozen != was.frozen {
		k := EventThawed
		if now.frozen {
			k = EventFrozen
		}
		w.tell(k, 1)
	}
	if was.populated && !now.populated {
		w.tell(EventEmpty, 1)
	}
}

// tell adds n events of a kind, if it is wanted.
func (w *watch) tell(k EventKind, n uint64) {
	if w.kinds&k == 0 {
		return
	}
	total := w.last.of(k)
	if k&(pressureEvents|EventFrozen|EventThawed|EventEmpty) != 0 {
		*total += n
	}
	if k == EventEmpty {
		w.emptied = true
	}
	w.e.add(Event{Kind: k, Leaf: w.leaf, Count: n, Total: *total})
}

// fired handles a signal of the kernel's.
func (s *source) fired(events uint32) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	switch s.what {
	case pressureFile:
		if events&unix.EPOLLPRI != 0 && events&unix.EPOLLERR == 0 {
			w.tell(s.trigger.Kind, 1)
		}
	case levelNotice:
		if s.drain() > 0 {
			w.tell(EventMemoryPressure, 1)
		}
		s.rearm = time.AfterFunc(s.trigger.Window, s.again)
	case oomNotice:
		n := s.drain()
		before := w.notices
		w.notices += n
		w.look()
		if w.last.n[bits.TrailingZeros16(uint16(EventOOM))] != w.notices {
			w.notices = before // the group is gone, which is signalled, too
		}
	default:
		w.look()
	}
}

// again lets the next signal through after the window.
func (s *source) again() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if !s.w.closed {
		s.drain()
		rearm(s)
	}
}

// drain empties an eventfd.
func (s *source) drain() uint64 {
	var b [8]byte
	n, err := unix.Read(s.fd, b[:])
	if err != nil || n != 8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b[:])
}

// close ends the watch. The group may be there still.
func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	detach(w)
	w.release()
}

// removed ends the watch after the group has been removed.
func (w *watch) removed(ran bool) {
	w.mu.Lock()
	if !w.closed && ran && !w.emptied {
		w.tell(EventEmpty, 1) // it came and went between two looks
	}
	w.mu.Unlock()
	w.close()
	w.e.drop(w)
	if w.whole {
		w.e.end()
	}
}

func (w *watch) release() {
	for _, s := range w.sources {
		if s.rearm != nil {
			s.rearm.Stop()
		}
		unix.Close(s.fd)
	}
	closeAll(w.dirs)
	w.sources, w.dirs = nil, nil
}
