package cgroup

import "time"

// Freeze stops every process in the sandbox, and those that enter later, and
// returns once all stand still. If that is not so by the deadline (zero: 2 s)
// they are let go again and the error is ETIMEDOUT.
func (m *Manager) Freeze(deadline time.Time) error {
	if err := m.lock(); err != nil {
		return err
	}
	defer m.unlock()
	return m.told(m.ps.freeze(true, deadline))
}

// Thaw lets the processes go on.
func (m *Manager) Thaw(deadline time.Time) error {
	if err := m.lock(); err != nil {
		return err
	}
	defer m.unlock()
	return m.told(m.ps.freeze(false, deadline))
}

// told has who watches the sandbox see what has just been done to it.
func (m *Manager) told(err error) error {
	m.audience.tell()
	return err
}

// Frozen reports whether all processes of the sandbox stand still because of
// Freeze.
func (m *Manager) Frozen() (bool, error) {
	if err := m.lock(); err != nil {
		return false, err
	}
	defer m.unlock()
	return m.ps.frozen()
}

func (ps places) frozen() (bool, error) {
	if p := ps.of(FreezerController); p != nil {
		return p.isFrozen()
	}
	return false, nil
}

// Kill ends every process in the sandbox with SIGKILL, frozen ones and fork
// bombs included, and returns when the kernel counts no more of them: or
// ETIMEDOUT at the deadline (zero: 2 s). Afterwards the group is not frozen
// and can be used again. In a deleted one there is nothing to kill, and no
// error.
func (m *Manager) Kill(deadline time.Time) error {
	if m.lock() != nil {
		return nil
	}
	defer m.unlock()
	k := killer{ps: m.ps}
	k.addLift(m.ps.of(IOController), m.Limits().IO)
	for _, l := range m.standing() {
		k.addLift(l.ps.of(IOController), l.Limits().IO)
	}
	if f := m.ps.of(FreezerController); f != nil && f.Version == 1 {
		k.frozen = f.stuckBelow
		k.release = func(map[int]struct{}) { thawTree(f.fd, f.dirName()) }
		k.hold, k.unhold = m.holdV1(f)
	}
	if err := k.run(deadline); err != nil {
		return err
	}
	return m.told(m.afterKill())
}

// holdV1 freezes and thaws all of the sandbox for a round of kills.
func (m *Manager) holdV1(f *place) (hold, unhold func()) {
	hold = func() { _ = places{*f}.freeze(true, time.Now().Add(holdWait)) }
	return hold, func() { _ = f.write("freezer.state", "THAWED") }
}

// afterKill undoes what a kill or a freeze before it has left behind.
func (m *Manager) afterKill() error {
	if f := m.ps.of(FreezerController); f != nil {
		if err := (places{*f}).freeze(false, time.Time{}); err != nil {
			return err
		}
	}
	p := m.ps.of(PidsController)
	if p == nil || p.Version == 2 {
		return nil
	}
	l := m.Limits().Pids
	if l == 0 {
		l = Max
	}
	return p.write("pids.max", maxOr(int64(l)))
}
