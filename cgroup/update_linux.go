package cgroup

// Update changes the limits of the running sandbox. Fields that are zero stay
// as they are; Max takes a limit away. If one is refused those changed before
// it are set back. Controllers that New did not set up cannot be added:
// ErrUnsupported.
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
	if err := available(m.dirs, l.Controllers()); err != nil {
		return err
	}
	next := m.limits.with(l)
	if err := m.apply(next); err != nil {
		_ = m.apply(m.limits.backFrom(l))
		return err
	}
	m.limits = next
	m.memory.Store(next.Memory)
	return nil
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
		if err != nil && p.steps[i].rel == "memory.limit_in_bytes" && i+1 < len(p.steps) {
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
