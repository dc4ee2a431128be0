package cgroup

import (
	"sort"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Manager is the group of one sandbox. It is safe for concurrent use. It owns
// a descriptor or two per hierarchy until Delete has succeeded.
type Manager struct {
	name    string
	limits  Limits // under lm
	opts    Options
	acc     accounts
	notes   []string
	missing Controllers

	// mu is held for reading while a descriptor is used, for writing while
	// they are closed.
	mu     sync.RWMutex
	closed bool
	dirs   []Dir
	fds    []int // of dirs
	tasks  []int // of dirs: v1 files a process enters by where leaves have no directory, else -1
	ps     places
	memory atomic.Int64 // the limit
	above  counters     // descriptors for what the sandbox counts on behalf of its leaves

	// Before 6.11 on v2, and always on v1, refused forks are counted only in
	// the group of the forking process; OOM kills of v1 likewise. The sum is
	// kept here. So is what v1 counts of devices in leaves, which its own sum
	// forgets with them, a while after they have gone.
	localPids, localOOM, localIO bool

	updating sync.Mutex // held by Update; before lm

	lm     sync.Mutex
	leaves map[string]*Leaf
	gone   tally // of leaves deleted

	audience audience
}

// tally has what must be added up over leaves.
type tally struct {
	oomKills, limitHits uint64
	io                  []DeviceIO
}

// New makes the group of one sandbox below parent, with limits for everything
// in it. No process is to be put into it directly on v2: make leaves. If any
// step fails, everything made is removed again.
//
// The error is an *InvalidError, an *UnsupportedError if a limit cannot be
// enforced below parent, or an *Error with the errno.
func New(parent Parent, name string, l Limits) (*Manager, error) {
	return NewWith(parent, name, l, Options{})
}

// NewWith is New with options.
func NewWith(parent Parent, name string, l Limits, o Options) (*Manager, error) {
	return newManager(parent, nil, name, l, o)
}

// newManager goes to the parent's directories by descriptors if it is given any.
func newManager(parent Parent, fds []int, name string, l Limits, o Options) (*Manager, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	l, err := l.resolved(parent.Dirs)
	if err != nil {
		return nil, err
	}
	p, err := planGroup(parent, name, l, o.accounts())
	if err != nil {
		return nil, err
	}
	b := newBuilder(parent.Dirs, fds, o.Trace)
	if err := b.run(p.steps); err != nil {
		return nil, err
	}
	m := &Manager{name: name, limits: l, opts: o, acc: o.accounts().with(l), leaves: make(map[string]*Leaf)}
	m.memory.Store(l.Memory)
	var have Controllers
	for i, use := range p.use {
		if use == 0 {
			continue
		}
		have |= use
		d := Dir{Version: parent.Dirs[i].Version, Controllers: use, Path: parent.Dirs[i].Path + "/" + name}
		if d.Version == 2 {
			d.Enabled = use & m.acc.leaves(d)
		}
		m.dirs = append(m.dirs, d)
		m.fds = append(m.fds, b.group[i])
		m.tasks = append(m.tasks, b.tasks[i])
		m.ps = append(m.ps, place{Dir: d, fd: b.group[i], limit: &m.memory})
	}
	notes, err := m.ps.checkSets(l)
	if err == nil {
		err = m.ps.of(MemoryController).protect(Limits{}, l)
	}
	if err != nil {
		b.undo()
		return nil, err
	}
	m.ps.countDevices(l.IO)
	m.missing = m.acc.v1 &^ have
	m.notes = append(append(p.notes, b.notes...), notes...)
	m.localOOM = versionOf(m.dirs, MemoryController) == 1
	m.localIO = versionOf(m.dirs, IOController) == 1 && !m.acc.flatIO
	m.above.open(m)
	return m, nil
}

// Notes says what is enforced in another way than asked for, and why. Fixed
// after New.
func (m *Manager) Notes() []string { return m.notes }

// Missing is what is not accounted for because the host has no such
// controller for us: the fields of Stats for it stay zero.
func (m *Manager) Missing() Controllers { return m.missing }

// KillsWholeLeaf reports whether the kernel ends a leaf as a whole when memory
// runs out, as Limits.OOMGroup asks. If not, the OOM killer ends one process,
// and the rest is for the caller to kill: see Leaf.OOMKills.
func (m *Manager) KillsWholeLeaf() bool {
	return m.Limits().OOMGroup && versionOf(m.dirs, MemoryController) == 2
}

// Name is the name given to New.
func (m *Manager) Name() string { return m.name }

// Limits are those in force, as given to New and Update.
func (m *Manager) Limits() Limits {
	m.lm.Lock()
	defer m.lm.Unlock()
	return m.limits
}

// lock keeps the descriptors open until unlock.
func (m *Manager) lock() error {
	m.mu.RLock()
	if m.closed {
		m.mu.RUnlock()
		return &Error{Op: "use", Path: m.path(), Err: ErrClosed}
	}
	return nil
}

func (m *Manager) unlock() { m.mu.RUnlock() }

func (m *Manager) path() string {
	if len(m.dirs) == 0 {
		return m.name
	}
	return m.dirs[0].Path
}

// Stats reads the accounts of everything in the sandbox, deleted leaves
// included. Where the kernel counts OOM kills and refused forks in the leaves
// only, a deleted leaf counts as of its last Stats or Totals.
func (m *Manager) Stats() (Stats, error) {
	var s Stats
	if err := m.lock(); err != nil {
		return s, err
	}
	defer m.unlock()
	if err := m.ps.totals(&s); err != nil {
		return s, err
	}
	if err := m.ps.current(&s); err != nil {
		return s, err
	}
	m.audience.tell()
	if !m.localOOM && !m.localPids && !m.localIO {
		return s, nil
	}
	t := m.tally()
	if m.localOOM {
		s.Memory.OOMKills += t.oomKills
	}
	if m.localPids {
		s.Pids.LimitHits += t.limitHits
	}
	if m.localIO {
		s.IO = t.io
	}
	return s, nil
}

// tally adds up the leaves, living and gone. m is locked.
func (m *Manager) tally() tally {
	m.lm.Lock()
	defer m.lm.Unlock()
	t := m.gone
	for _, l := range m.leaves {
		var s Stats
		// Read by path through our own descriptors, so l needs no lock; one
		// that is being deleted counts as of its last reading.
		if l.ps.memoryTotals(&s.Memory) != nil || l.ps.pidsTotals(&s.Pids) != nil || m.localIO && l.ps.io(&s) != nil {
			t.add(l.last)
			continue
		}
		t.add(tally{s.Memory.OOMKills, s.Pids.LimitHits, s.IO})
	}
	return t
}

func (t *tally) add(o tally) {
	t.oomKills += o.oomKills
	t.limitHits += o.limitHits
	t.io = addIO(t.io, o.io)
}

// Procs lists the processes in the sandbox, its leaves and any groups below,
// by their pids in this process's pid namespace, in ascending order.
func (m *Manager) Procs() ([]int, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.unlock()
	return m.ps.procs()
}

func (ps places) procs() ([]int, error) {
	all, err := ps.members()
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(all.pids))
	for p := range all.pids {
		pids = append(pids, p)
	}
	sort.Ints(pids)
	return pids, nil
}

// Populated reports whether there is any process in the sandbox. Zombies do
// not count.
func (m *Manager) Populated() (bool, error) {
	if err := m.lock(); err != nil {
		return false, err
	}
	defer m.unlock()
	return m.ps.populated()
}

// standing lists the leaves there are.
func (m *Manager) standing() []*Leaf {
	m.lm.Lock()
	defer m.lm.Unlock()
	leaves := make([]*Leaf, 0, len(m.leaves))
	for _, l := range m.leaves {
		leaves = append(leaves, l)
	}
	return leaves
}

// Delete removes the group with all leaves and closes the descriptors. Groups
// which others made below go too. Processes must have been killed before: if
// some are left after a second, the error is EBUSY and Delete may be called
// again. Deleting twice is no error.
func (m *Manager) Delete() error {
	for _, l := range m.standing() {
		if err := l.Delete(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	wait := newBackoff(soon())
	ran := m.audience.lastLook(m.ps, wait)
	for i := len(m.dirs) - 1; i >= 0; i-- {
		if err := removeTree(unix.AT_FDCWD, m.dirs[i].Path, wait); err != nil {
			return m.ps[i].busy(err)
		}
	}
	m.closed = true
	_ = m.ps.of(MemoryController).protect(m.Limits(), Limits{})
	closeAll(m.fds)
	closeAll(m.tasks)
	m.above.close()
	m.audience.removed(ran)
	return nil
}

// busy is the error of a removal, with the processes in the way.
func (p *place) busy(err error) error {
	e := &Error{Op: "rmdir", Path: p.Path, Err: err}
	var in members
	if in.addTree(p.fd, p.dirName()) == nil && len(in.pids)+in.foreign > 0 {
		e.Data = in.String()
	}
	return e
}
