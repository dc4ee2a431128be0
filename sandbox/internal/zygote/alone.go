//go:build linux

package zygote

import (
	"sync"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// alone is how the zygote goes with a command that the host program has started, or is about to, and has sent no Follow for: because the sandbox is wanted for something else, or because it should have by
// now. It may be stopped, or gone, and the command's limits are to hold all the same. The end is told where the host program looks for it when it comes to itself: on the line, or, if it sends a Follow after all before that, as that of a command like others.
type alone struct {
	launched chan struct{} // closed when it is known whether the program runs
	unrun    *wire.Answer  // what there is to say of one that does not; nil: it runs

	mu     sync.Mutex
	joined bool // a Follow has come
	told   bool // and before that the end
}

// each takes what lies in the line, until f fails.
func (l *line) each(f func(*wire.Message) error) error {
	defer l.Rest()
	for {
		m, err := l.Receive()
		if err != nil || m == nil {
			return err
		}
		err = f(m)
		m.CloseFiles()
		if err != nil {
			return err
		}
	}
}

// clear has nothing be left on a line of the commands before, no notice and no timer.
func (l *line) clear() error {
	if err := l.each(func(*wire.Message) error { return nil }); err != nil {
		return err
	}
	return unix.TimerfdSettime(l.timer, 0, &unix.ItimerSpec{}, nil)
}

// notice is what has been said of a command's limits; nothing of one that has none.
func (l *line) notice(id uint64) (n wire.LimitNotice, err error) {
	err = l.each(func(m *wire.Message) error {
		if m.Kind != wire.Limit || m.ID != id {
			return nil
		}
		return m.Decode(&n)
	})
	return n, err
}

// limit has the command have the limits that were said to be its own. The spare is locked.
func (a *armed) limit() (n wire.LimitNotice, err error) {
	n, err = a.line.notice(a.id)
	a.req.CPU, a.req.Wall = n.CPU, n.Wall
	return n, err
}

// goAlone begins it, for a command that has left its dormancy without a Follow. The spare is locked. That the host program has yet to send what is to be executed is no matter: what it has
// to say of limits it has said before.
func (a *armed) goAlone() {
	a.alone = &alone{launched: make(chan struct{})}
	a.followed = true
	received := a.ready.Received()
	a.z.handlers.Add(1)
	go func() {
		defer a.z.handlers.Done()
		if a.alone.unrun = unrun(a.accompany()); a.alone.unrun != nil {
			_ = a.line.Send(wire.Reply, a.id, a.alone.unrun, nil)
			close(a.alone.launched)
			a.neverRun()
			return
		}
		a.started = time.Now()
		a.box.spare.mu.Lock()
		n, err := a.limit()
		a.box.spare.mu.Unlock()
		if err != nil { // of which nobody knows what limits it has
			a.kill()
		}
		if received { // otherwise it has had nothing to do until now
			if a.late = n.Started == 0; !a.late {
				a.started = since(n.Started)
			}
		}
		a.asked = a.started
		close(a.alone.launched)
		a.z.follow(a.command, nil, nil)
		a.forget()
	}()
}

// tells has the end be told on the line, unless somebody waits for it elsewhere.
func (a *armed) tells(exit *wire.Exit) bool {
	if a == nil || a.alone == nil {
		return false
	}
	l := a.alone
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.joined {
		return false
	}
	l.told = true
	exit.PID = a.proc.Load().pid
	_ = a.line.Send(wire.Exited, a.id, exit, nil)
	return true
}

// joined answers a Follow of a command that we go with already. It is false if we do not.
func (a *armed) joined(conn *wire.Conn, id uint64, sent bool) bool {
	s := &a.box.spare
	s.mu.Lock()
	l := a.alone
	s.mu.Unlock()
	if l == nil {
		return false
	}
	if !sent {
		a.kill() // it waits for what never comes
	}
	<-l.launched
	l.mu.Lock()
	defer l.mu.Unlock()
	answer := &wire.Answer{}
	switch {
	case l.unrun != nil:
		answer = l.unrun
	case l.told:
		answer.OnLine = true
	default:
		answer.PID, l.joined = a.proc.Load().pid, true
	}
	_ = conn.Send(wire.Reply, id, answer, nil, nil)
	return true
}

// monotonic is the clock that this process and the host program share.
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano())
}

// since is our time of what was then by that clock.
func since(then int64) time.Time {
	return time.Now().Add(-max(monotonic()-time.Duration(then), 0))
}
