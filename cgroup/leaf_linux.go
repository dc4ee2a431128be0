package cgroup

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Leaf is the group of one command. It is safe for concurrent use, except
// that who uses the descriptors of FD and TasksFDs must be done before Delete.
type Leaf struct {
	m      *Manager
	name   string
	use    []Controllers // per directory of the manager
	ps     places
	limits Limits       // the leaf's own; under m.lm
	memory atomic.Int64 // of limits

	// mu is held for reading while a descriptor is used, for writing while
	// one is opened or closed.
	mu      sync.RWMutex
	closed  bool
	dirFD   int // v2, or -1
	own     []int
	open    places // ps with files kept open; nil: see KeepOpen
	tasks   []int  // v1
	cpu     int    // open account files, -1: not yet
	oom     int
	base    aboveCounts // under m.lm
	last    tally       // under m.lm
	hits    hitCount    // of the limit on processes; see noteHits
	removed int         // directories which a Delete that failed later had removed already

	audience audience
}

// NewLeaf makes the group of one command, with limits of its own if l has any;
// those of the sandbox hold in any case. If any step fails, everything made is
// removed again.
func (m *Manager) NewLeaf(name string, l Limits) (*Leaf, error) {
	leaf, err := m.newLeaf(name, l)
	if err != nil {
		return nil, err
	}
	if err := leaf.watched(); err != nil {
		_ = leaf.Delete()
		return nil, err
	}
	return leaf, nil
}

func (m *Manager) newLeaf(name string, l Limits) (*Leaf, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.unlock()
	p, err := m.planLeaf(name, &l)
	if err != nil {
		return nil, err
	}
	b := newBuilder(m.dirs, m.fds, m.opts.Trace)
	if err := b.run(p.steps); err != nil {
		return nil, err
	}
	leaf := &Leaf{m: m, name: name, use: p.use, dirFD: -1, cpu: -1, oom: -1}
	leaf.own = append(b.group, b.tasks...)
	leaf.memory.Store(l.Memory)
	leaf.limits = l
	leaf.places(b)
	if _, err := leaf.ps.checkSets(l); err != nil {
		b.undo()
		return nil, err
	}
	leaf.base = m.above.read()
	m.lm.Lock()
	m.leaves[name] = leaf
	m.lm.Unlock()
	return leaf, nil
}

// Begin is for a leaf that has been made ahead of its command: what the sandbox's
// group counts on behalf of its leaves, see Stats, is counted from now on.
func (l *Leaf) Begin() error {
	if err := l.lock(); err != nil {
		return err
	}
	defer l.unlock()
	base := l.m.above.read()
	l.m.lm.Lock()
	l.base = base
	l.m.lm.Unlock()
	return nil
}

// planLeaf resolves l and plans a leaf that has what the sandbox's limits ask of one.
func (m *Manager) planLeaf(name string, l *Limits) (*plan, error) {
	if len(l.IO) > 0 || l.IOWeight != 0 {
		if err := l.validateLeaf(); err != nil {
			return nil, err
		}
		var err error
		if *l, err = l.resolved(m.dirs); err != nil {
			return nil, err
		}
	}
	own := m.Limits()
	*l = m.shown(*l, own)
	return planLeaf(m.dirs, name, *l, leafOptions{acc: m.acc, oomGroup: own.OOMGroup, low: own.MemoryLow > 0, min: own.MemoryMin > 0})
}

// LeafPlan lists the operations of NewLeaf, in order, and changes nothing.
func (m *Manager) LeafPlan(name string, l Limits) ([]Op, error) {
	p, err := m.planLeaf(name, &l)
	if err != nil {
		return nil, err
	}
	return p.ops(m.dirs), nil
}

// places collects what the leaf consists of, and how a process enters it.
func (l *Leaf) places(b *builder) {
	l.ps = make(places, 0, len(l.use))
	l.tasks = make([]int, 0, len(l.use))
	for i, use := range l.use {
		d := l.m.dirs[i]
		if use == 0 && d.Version == 1 {
			if l.m.tasks[i] >= 0 {
				l.tasks = append(l.tasks, l.m.tasks[i])
			}
			continue
		}
		d.Controllers, d.Path = use, d.Path+"/"+l.name
		l.ps = append(l.ps, place{Dir: d, fd: l.m.fds[i], prefix: l.name + "/", limit: &l.memory})
		if d.Version == 2 {
			l.dirFD = b.group[i]
		} else {
			l.tasks = append(l.tasks, b.tasks[i])
		}
	}
}

// Limits are the leaf's own, as given to NewLeaf and by Update since.
func (l *Leaf) Limits() Limits {
	l.m.lm.Lock()
	defer l.m.lm.Unlock()
	return l.limits
}

func (l *Leaf) setLimits(to Limits) {
	l.m.lm.Lock()
	l.limits = to
	l.m.lm.Unlock()
	l.memory.Store(to.Memory)
}

// Name is the name given to NewLeaf.
func (l *Leaf) Name() string { return l.name }

// FD is the leaf's directory in the unified hierarchy, for clone3 with
// CLONE_INTO_CGROUP, or -1 if nothing of the leaf is there. The leaf owns it.
func (l *Leaf) FD() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dirFD
}

// TasksFDs are the tasks files of v1, open for writing, into each of which the
// new process writes "0" to enter. Empty where everything is unified. The leaf
// owns them; they are close-on-exec.
//
// The process enters what counts before it is anybody else's program; on some
// hierarchies the file is the sandbox's and not the leaf's own.
func (l *Leaf) TasksFDs() []int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tasks
}

// Adopt moves a process of one thread into the leaf, which has to be the caller's to move.
// On a v1 hierarchy that may wait some milliseconds for the kernel (RCU).
func (l *Leaf) Adopt(pid int) error {
	if err := l.lock(); err != nil {
		return err
	}
	defer l.unlock()
	for _, fd := range l.tasks {
		if _, err := unix.Pwrite(fd, []byte(itoa(pid)), 0); err != nil {
			return &Error{Op: "write", Path: l.path() + "/tasks", Data: itoa(pid), Err: err}
		}
	}
	if l.dirFD < 0 {
		return nil
	}
	if err := writeAt(l.dirFD, "cgroup.procs", itoa(pid)); err != nil {
		return &Error{Op: "write", Path: l.path() + "/cgroup.procs", Data: itoa(pid), Err: err}
	}
	return nil
}

func (l *Leaf) lock() error {
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return &Error{Op: "use", Path: l.path(), Err: ErrClosed}
	}
	if err := l.m.lock(); err != nil {
		l.mu.RUnlock()
		return err
	}
	return nil
}

func (l *Leaf) unlock() {
	l.m.unlock()
	l.mu.RUnlock()
}

func (l *Leaf) path() string { return l.m.path() + "/" + l.name }

// Totals reads what remains when the processes have ended: CPU time, peaks,
// counters and bytes moved. It is the part of Stats a result needs and costs
// about half. Everything that is a present value is zero.
func (l *Leaf) Totals() (Stats, error) { return l.stats(false) }

// Stats reads the command's accounts. They can be read until Delete, also
// after all its processes have ended.
func (l *Leaf) Stats() (Stats, error) { return l.stats(true) }

func (l *Leaf) stats(now bool) (Stats, error) {
	var s Stats
	if err := l.lock(); err != nil {
		return s, err
	}
	defer l.unlock()
	ps := l.reading()
	if err := ps.totals(&s); err != nil {
		return s, err
	}
	if now {
		if err := ps.current(&s); err != nil {
			return s, err
		}
	}
	s.Pids.LimitHits = l.hits.upTo(s.Pids.LimitHits)
	l.m.lm.Lock()
	l.last = tally{s.Memory.OOMKills, s.Pids.LimitHits, s.IO}
	base := l.base
	l.m.lm.Unlock()
	l.audience.tell()
	// The kernel counts a charge into the leaf's peak on its way up to the
	// limit of the sandbox that refuses it.
	most := l.m.Limits()
	if most.Pids > 0 {
		s.Pids.Peak = min(s.Pids.Peak, most.Pids)
	}
	if most.Memory > 0 {
		s.Memory.Peak = min(s.Memory.Peak, most.Memory)
	}
	above := l.m.above.read()
	s.Pids.LimitHits += above.pids - base.pids
	s.CPU.Throttled += above.throttled - base.throttled
	return s, nil
}

// Procs lists the leaf's processes by their pids in this process's pid
// namespace, in ascending order.
func (l *Leaf) Procs() ([]int, error) {
	if err := l.lock(); err != nil {
		return nil, err
	}
	defer l.unlock()
	return l.ps.procs()
}

// Populated reports whether any process is in the leaf. Zombies do not count.
func (l *Leaf) Populated() (bool, error) {
	if err := l.lock(); err != nil {
		return false, err
	}
	defer l.unlock()
	return l.reading().populated()
}

// Kill ends every process of the leaf with SIGKILL, fork bombs included, and
// returns when the kernel counts no more of them, or ETIMEDOUT at the deadline
// (zero: 2 s). It works while the sandbox is frozen, without letting the
// other commands run. Limits on devices are lifted for that time, for all of
// the sandbox, if a process does not die at once. On v1 nothing can fork in the leaf afterwards. In a
// deleted leaf there is nothing to kill, and no error.
func (l *Leaf) Kill(deadline time.Time) error {
	if l.lock() != nil {
		return nil
	}
	defer l.unlock()
	k := killer{ps: l.ps}
	k.addLift(l.m.ps.of(IOController), l.m.Limits().IO)
	k.addLift(l.ps.of(IOController), l.Limits().IO)
	if f := l.m.ps.of(FreezerController); f != nil && f.Version == 1 {
		k.frozen = f.stuckBelow
		k.release = f.letOut
		k.hold, k.unhold = l.m.holdV1(f)
	}
	k.unforked = l.noteHits
	if err := k.run(deadline); err != nil {
		return err
	}
	l.audience.tell()
	return nil
}

// noteHits is called before forks are refused for no limit's sake, as killing has it on v1: they would count as if there were one.
func (l *Leaf) noteHits() {
	ps := l.reading()
	var s Pids
	if p := ps.of(PidsController); p != nil && p.Version == 1 && ps.pidsTotals(&s) == nil {
		l.hits.close(s.LimitHits)
	}
}

// hitCount bounds the hits of a limit once nothing can be one any more.
type hitCount struct{ most atomic.Uint64 } // and 1; 0: all count

func (h *hitCount) close(n uint64) { h.most.CompareAndSwap(0, n+1) }

func (h *hitCount) upTo(n uint64) uint64 {
	if most := h.most.Load(); most > 0 {
		return min(n, most-1)
	}
	return n
}

// letOut moves processes from a frozen v1 group to the one above, which lets
// them run: they have been sent SIGKILL and do nothing but die.
func (p *place) letOut(pids map[int]struct{}) {
	for pid := range pids {
		_ = writeAt(p.fd, p.prefix+"../cgroup.procs", itoa(pid))
	}
}

// Delete removes the leaf and closes its descriptors. Groups which others made
// in it go too. If there are processes in it, the error is EBUSY after a
// second, and Delete may be called again. Deleting twice is no error.
func (l *Leaf) Delete() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if err := l.remove(); err != nil {
		return err
	}
	l.closed = true
	closeAll(l.own)
	closeAll([]int{l.cpu, l.oom})
	l.open.closeKept()
	l.open = nil
	l.dirFD, l.tasks = -1, nil
	l.m.lm.Lock()
	defer l.m.lm.Unlock()
	l.m.gone.add(l.last)
	if l.m.leaves[l.name] == l {
		delete(l.m.leaves, l.name)
	}
	return nil
}

func (l *Leaf) remove() error {
	if l.m.lock() != nil {
		return nil // the manager has removed everything
	}
	defer l.m.unlock()
	wait := newBackoff(soon())
	ran := l.audience.lastLook(l.ps, wait)
	for ; l.removed < len(l.ps); l.removed++ {
		p := &l.ps[l.removed]
		if err := removeTree(p.fd, strings.TrimSuffix(p.prefix, "/"), wait); err != nil {
			return p.busy(err)
		}
	}
	l.audience.removed(ran)
	return nil
}
