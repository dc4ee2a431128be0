package cgroup

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killWait is the deadline of a kill, freeze or thaw which was given none.
const killWait = 2 * time.Second

func orDefault(deadline time.Time) time.Time {
	if deadline.IsZero() {
		return time.Now().Add(killWait)
	}
	return deadline
}

// killer ends all processes of a group.
type killer struct {
	ps places
	// frozen is where a v1 freezer may hold the processes: SIGKILL reaches a
	// frozen task of v1 only after it has been thawed.
	frozen func() bool
	// release lets the processes go which are frozen on v1, once they have been sent
	// SIGKILL.
	release func(pids map[int]struct{})
	// hold and unhold stop everything for one round of kills, where forking
	// cannot be forbidden.
	hold, unhold func()
	// unforked, if not nil, is called before forks are refused.
	unforked func()
	// threaded are groups of v2 that cgroup.kill refuses (cgroup-v2.rst): their
	// processes are killed one by one, standing still meanwhile.
	threaded places
	// lifts are of devices that processes may be waiting for.
	lifts []*lifter
}

// run returns when the group is empty, or with ETIMEDOUT.
func (k *killer) run(deadline time.Time) error {
	deadline = orDefault(deadline)
	some, err := k.ps.members()
	if err != nil || len(some.pids)+some.foreign == 0 {
		return err
	}
	atOnce, err := k.atOnce()
	if err != nil {
		return err
	}
	for _, l := range k.lifts {
		defer l.restore()
	}
	for wait := newBackoff(deadline); ; {
		for _, l := range k.lifts {
			l.lift()
		}
		if !atOnce {
			if err := k.round(some); err != nil {
				return err
			}
		}
		if some, err = k.ps.members(); err != nil {
			return err
		}
		if len(some.pids)+some.foreign == 0 {
			return nil
		}
		if !wait.wait() {
			return k.survivors(some)
		}
	}
}

// atOnce uses cgroup.kill (5.14), which reaches processes that are being
// forked too. It reports whether that covers every place.
func (k *killer) atOnce() (bool, error) {
	all := true
	for i := range k.ps {
		p := &k.ps[i]
		if p.Version == 1 {
			all = false
			// An empty budget ends every fork bomb: what lives now is all there will be.
			if k.unforked != nil {
				k.unforked()
			}
			if err := p.noForks(); err != nil {
				return false, err
			}
			continue
		}
		switch err := p.write("cgroup.kill", "1"); {
		case errors.Is(err, unix.EOPNOTSUPP):
			all = false
			k.threaded = append(k.threaded, *p)
		case err != nil:
			return false, err
		}
	}
	return all, nil
}

func (p *place) noForks() error {
	if !p.Controllers.Has(PidsController) {
		return nil
	}
	return p.write("pids.max", "0")
}

// round sends SIGKILL to every member once.
func (k *killer) round(some members) error {
	mayFork := k.ps.of(PidsController) == nil && k.hold != nil
	if mayFork {
		k.hold()
		defer k.unhold()
	}
	for i := range k.threaded {
		defer k.threaded[i].standStill()()
	}
	if mayFork || len(k.threaded) > 0 {
		var err error
		if some, err = k.ps.members(); err != nil { // what was forked before it stood still
			return err
		}
	}
	if err := k.signal(some); err != nil {
		return err
	}
	if k.frozen != nil && k.frozen() {
		k.release(some.pids)
	}
	return nil
}

// standStill freezes a group of v2 for a round of kills, which frozen processes
// do not outlive there, and returns what lets it go.
func (p *place) standStill() (release func()) {
	for wait := newBackoff(time.Now().Add(holdWait)); p.write("cgroup.freeze", "1") == nil; {
		if is, err := p.isFrozen(); is || err != nil || !wait.wait() {
			break
		}
	}
	return func() { _ = p.write("cgroup.freeze", "0") }
}

// holdWait is for how long a round of kills waits until all stand still: whoever
// does not by then is killed running.
const holdWait = 100 * time.Millisecond

// signal kills by pidfd. A pid from the list may belong to somebody else by
// the time of the kill; so the descriptors are opened first, the list is read
// again, and only who is a member still is signalled.
func (k *killer) signal(first members) error {
	fds := make(map[int]int, len(first.pids))
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	var failed error
	for pid := range first.pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			if err == unix.EMFILE || err == unix.ENFILE {
				break // the rest has its turn in the next round
			}
			continue // ended meanwhile
		}
		fds[pid] = fd
	}
	again, err := k.ps.members()
	if err != nil {
		return err
	}
	for pid, fd := range fds {
		if _, ok := again.pids[pid]; !ok {
			continue
		}
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
			failed = &Error{"kill", k.path(), fmt.Sprint("pid ", pid), err}
		}
	}
	return failed
}

func (k *killer) path() string {
	if p := k.ps.main(); p != nil {
		return p.Path
	}
	return ""
}

func (k *killer) survivors(m members) error {
	return &Error{"kill", k.path(), m.String(), errDeadline}
}

// String lists some pids for a message.
func (m members) String() string {
	var pids []int
	for p := range m.pids {
		pids = append(pids, p)
	}
	sort.Ints(pids)
	s := make([]string, 0, 9)
	for i, p := range pids {
		if i == 8 {
			s = append(s, "...")
			break
		}
		s = append(s, fmt.Sprint(p))
	}
	if m.foreign > 0 {
		s = append(s, fmt.Sprint(m.foreign, " of other pid namespaces"))
	}
	return "pids " + strings.Join(s, " ")
}
