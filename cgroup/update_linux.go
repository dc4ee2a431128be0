package cgroup

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Update changes the limits of the running sandbox. Fields that are zero stay
// as they are, so do devices and sizes of pages that are not named; Max or
// AllOfThem takes a limit away. All are changed or none: if one is refused those
// changed before it are set back. Controllers that New did not set up cannot be
// added: ErrUnsupported.
//
// Memory below what is in use: the kernel reclaims first. If that is not
// enough it kills on v2, until the limit is met; on v1 it refuses with EBUSY.
func (m *Manager) Update(l Limits) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if err := m.lock(); err != nil {
		return err
	}
	defer m.unlock()
	m.lm.Lock()
	defer m.lm.Unlock()
	if err := available(m.dirs, l); err != nil {
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
	next := m.limits.with(l)
	if err := next.Validate(); err != nil { // what each allows but not both together
		return err
	}
	if err := m.change(next, l); err != nil {
		if undo := m.apply(m.limits.backFrom(l)); undo != nil {
			err = errors.Join(err, undo)
		}
		return err
	}
	m.limits = next
	m.memory.Store(next.Memory)
	return nil
}

// change writes what l has changed in next.
func (m *Manager) change(next, l Limits) error {
	if err := m.apply(next.only(l)); err != nil {
		return err
	}
	if _, err := m.ps.checkSets(l); err != nil {
		return err
	}
	return m.ps.of(MemoryController).protect(m.limits, next)
}

func (m *Manager) apply(l Limits) error {
	p := &plan{}
	for i, d := range m.dirs {
		if err := p.limits(i, d, "", l); err != nil {
			return err
		}
	}
	b := newBuilder(m.dirs, m.fds, m.opts.Trace)
	for i := 0; i < len(p.steps); i++ {
		err := b.step(&p.steps[i])
		// v1 keeps memory at or below memory and swap together, so which of
		// the two goes first depends on whether they grow or shrink.
		if errors.Is(err, unix.EINVAL) && p.steps[i].rel == "memory.limit_in_bytes" && i+1 < len(p.steps) {
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
