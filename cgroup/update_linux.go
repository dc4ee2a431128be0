package cgroup

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"
)

// Update changes the limits of the running sandbox. Fields that are zero stay
// as they are, so do devices and sizes of pages that are not named; Max or
// AllOfThem takes a limit away. All are changed or none: if one is refused those
// changed before it are set back. Controllers that New did not set up cannot be
// added, on either hierarchy: ErrUnsupported. On v1 that is another hierarchy,
// into which all running tasks would have to be moved while they fork; on v2 it
// would be enabled in the groups above, of which others live as well, and the
// accounts of what runs would begin in the middle.
//
// Memory below what is in use: the kernel reclaims first. If that is not
// enough it kills on v2, until the limit is met; on v1 it refuses with EBUSY.
func (m *Manager) Update(l Limits) error { return m.UpdateWith(l, nil) }

// UpdateWith is Update for leaves as well, all or nothing: leaf is asked for
// each that stands, by name, what is to change in it, which is of the kinds
// that NewLeaf takes. Nobody may make or delete leaves meanwhile.
func (m *Manager) UpdateWith(l Limits, leaf func(name string) Limits) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if err := m.lock(); err != nil {
		return err
	}
	defer m.unlock()
	m.updating.Lock()
	defer m.updating.Unlock()
	if err := available(m.dirs, l); err != nil {
		var lack *UnsupportedError
		if errors.As(err, &lack) {
			lack.Remedy = "make the sandbox with such a limit, a loose one if need be"
		}
		return err
	}
	l, err := l.resolved(m.dirs)
	if err != nil {
		return err
	}
	if l.hasRates() && versionOf(m.dirs, IOController) == 1 && !m.acc.flatIO {
		return &UnsupportedError{
			Feature: "IO", Reason: "on cgroup v1 devices can only be bounded for processes that began so, and this sandbox had no such limit when it was made",
			Remedy: "make it with a limit, a very high one if need be", Fields: []string{"IO"},
		}
	}
	now := m.Limits()
	next := now.with(l)
	if err := next.Validate(); err != nil { // what each allows but not both together
		return err
	}
	loosened, err := m.loosen(l)
	if err != nil {
		return err
	}
	err = m.change(now, next, l)
	if err == nil && (leaf != nil || m.opts.Shown) {
		_, err = m.updateLeaves(func(o *Leaf) Limits {
			var change Limits
			if leaf != nil {
				change = leaf(o.name)
			}
			return o.shownChange(change, l)
		})
		if err != nil {
			_ = m.ps.of(MemoryController).protect(next, now)
		}
	}
	if err != nil {
		return errors.Join(err, m.apply("", m.dirs, now.backFrom(l).only(l)), loosened())
	}
	m.lm.Lock()
	m.limits = next
	m.lm.Unlock()
	m.memory.Store(next.Memory)
	return nil
}

// change writes what l has changed in next.
func (m *Manager) change(now, next, l Limits) error {
	if err := m.apply("", m.dirs, next.only(l)); err != nil {
		return err
	}
	if _, err := m.ps.checkSets(l); err != nil {
		return err
	}
	return m.ps.of(MemoryController).protect(now, next)
}

// updateLeaves changes all or none.
func (m *Manager) updateLeaves(change func(*Leaf) Limits) (undo func() error, err error) {
	var done []func() error
	undo = func() error {
		var errs []error
		for _, undo := range done {
			errs = append(errs, undo())
		}
		return errors.Join(errs...)
	}
	for _, l := range m.standing() {
		back, err := l.update(change(l))
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		done = append(done, back)
	}
	return undo, nil
}

// update changes the leaf's own limits, or nothing. One that is being removed
// needs none.
func (l *Leaf) update(change Limits) (undo func() error, err error) {
	undo = func() error { return nil }
	// The manager is locked for all of the update: to lock it again, as lock
	// does, would wait for who waits to delete it.
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(change.Fields()) == 0 || l.closed {
		return undo, nil
	}
	if err := change.validateLeaf(); err != nil {
		return undo, err
	}
	dirs := make([]Dir, len(l.m.dirs))
	copy(dirs, l.m.dirs)
	for i := range dirs {
		dirs[i].Controllers = l.use[i]
	}
	if err := available(dirs, change); err != nil {
		return undo, err
	}
	now := l.Limits()
	next := now.with(change)
	back := func() error {
		if err := l.m.apply(l.name, dirs, now.backFrom(change).only(change)); !gone(err) {
			return err
		}
		return nil
	}
	if err := l.m.apply(l.name, dirs, next.only(change)); err != nil && !gone(err) {
		return undo, errors.Join(err, back())
	}
	l.setLimits(next)
	return func() error {
		l.setLimits(now)
		return back()
	}, nil
}

// apply writes limits to the group itself, or to a leaf, whose controllers are
// those of dirs.
func (m *Manager) apply(name string, dirs []Dir, l Limits) error {
	p := &plan{standing: true}
	for i, d := range dirs {
		if err := p.limits(i, d, name, l); err != nil {
			return err
		}
		if name != "" && l.OOMGroup && d.Version == 2 && d.Controllers.Has(MemoryController) {
			p.leafMemory(i, name, leafOptions{}, true)
		}
	}
	b := newBuilder(m.dirs, m.fds, m.opts.Trace)
	for i := 0; i < len(p.steps); i++ {
		err := b.step(&p.steps[i])
		// v1 keeps memory at or below memory and swap together, so which of
		// the two goes first depends on whether they grow or shrink.
		if errors.Is(err, unix.EINVAL) && path.Base(p.steps[i].rel) == "memory.limit_in_bytes" && i+1 < len(p.steps) {
			if err = b.step(&p.steps[i+1]); err == nil {
				err = b.step(&p.steps[i])
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
