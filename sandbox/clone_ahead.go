package sandbox

import (
	"cmp"
	"context"
	"sync"
	"syscall"
	"time"
)

// cloneAhead keeps one clone of a sandbox ready, from the second on that was asked for without options. It belongs to that sandbox and goes with it. The next one is made when the
// last one handed out has ended, or after a moment, so that it does not take the CPU from that one's first command.
type cloneAhead struct {
	habit habit
	work  sync.WaitGroup // set-ups under way, and ends

	mu      sync.Mutex
	clones  int // so far
	closed  bool
	ready   *readyClone
	making  chan struct{} // closed when the set-up under way is over; nil: there is none
	awaited bool          // somebody waits for that
	lent    time.Time     // when the last one was handed out
	quiet   *time.Timer   // begins a set-up some time after that; nil: none is to be
	idle    *time.Timer   // ends the one that is ready
	vain    restraint     // when the host has changed under one

	patience time.Duration // for tests: instead of aheadPatience
	begun    func()        // for tests: a set-up begins
}

// readyClone is one that nobody has.
type readyClone struct {
	*Sandbox
	of   *spec    // what it was asked for by
	host hostView // what it has of the host
}

const (
	// aheadQuiet is how long a clone stands before the next one is made all the same.
	aheadQuiet = 20 * time.Millisecond
	// aheadIdle is how long one is kept that nobody asks for.
	aheadIdle = 30 * time.Second
	// aheadPatience is how long the end of a sandbox waits for a set-up under way, which takes longer only where the host does not answer. It comes to nothing then.
	aheadPatience = 5 * time.Second
)

// take hands out the clone that is ready, or just being made, if it is what a New would make now.
func (a *cloneAhead) take(s *spec) *Sandbox {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.work.Add(1)
	defer a.work.Done()
	if under := a.making; under != nil && !a.awaited {
		a.awaited = true
		a.mu.Unlock()
		<-under
		a.mu.Lock()
		a.awaited = false
	}
	c := a.ready
	a.ready = nil
	a.mu.Unlock()
	if c == nil {
		return nil
	}
	if c.of != s || c.State() != Running || !c.engine.sees(c.host) {
		a.mu.Lock()
		a.vain.failed()
		a.discard(c)
		a.mu.Unlock()
		return nil
	}
	a.mu.Lock()
	a.vain.worked()
	a.mu.Unlock()
	return c.Sandbox
}

// follow has another one made after c, which has been handed out.
func (a *cloneAhead) follow(of, c *Sandbox) {
	a.mu.Lock()
	a.clones++
	enough := a.clones > 1 && !a.closed
	if enough {
		a.lent = time.Now()
		if a.quiet == nil { // to set another one for each would wake a thread that waits for timers
			a.quiet = time.AfterFunc(aheadQuiet, func() { a.stood(of) })
		}
	}
	a.mu.Unlock()
	if enough {
		c.whenEnded(func() { a.next(of) })
	}
}

// stood begins to make one if the one handed out last has stood for long enough, and else looks again.
func (a *cloneAhead) stood(of *Sandbox) {
	a.mu.Lock()
	if left := aheadQuiet - time.Since(a.lent); left > 0 && !a.closed {
		a.quiet.Reset(left)
		a.mu.Unlock()
		return
	}
	a.quiet = nil
	a.mu.Unlock()
	a.next(of)
}

// next begins to make one, unless there is one.
func (a *cloneAhead) next(of *Sandbox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.ready != nil || a.making != nil || !a.vain.over() {
		return
	}
	a.making = make(chan struct{})
	a.work.Add(1)
	go func() {
		defer a.work.Done()
		label(context.Background(), "belljar", "clone ahead")
		c := a.make(of)
		a.mu.Lock()
		defer a.mu.Unlock()
		close(a.making)
		a.making = nil
		if c == nil {
			return
		}
		if a.closed {
			a.discard(c)
			return
		}
		a.ready = c
		if a.idle != nil {
			a.idle.Stop()
		}
		a.idle = time.AfterFunc(aheadIdle, func() { a.drop(c) })
		c.whenEnded(func() { a.drop(c) })
	}()
}

// make makes one; nil if there can be none, of which the next Clone says the reason.
func (a *cloneAhead) make(of *Sandbox) *readyClone {
	if a.begun != nil {
		a.begun()
	}
	s := of.asked()
	before, ok := viewFor(s)
	if !ok {
		return nil
	}
	sb, err := openSandbox(s)
	if err != nil {
		return nil
	}
	if !sb.engine.sees(before) {
		_ = sb.Close()
		return nil
	}
	sb.engine.warm(&a.habit)
	return &readyClone{sb, s, before}
}

// drop ends the clone that is ready if it is c.
func (a *cloneAhead) drop(c *readyClone) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ready == c && c != nil {
		a.ready = nil
		a.discard(c)
	}
}

// discard ends one in the background. The caller holds the lock.
func (a *cloneAhead) discard(c *readyClone) {
	a.work.Add(1)
	go func() { defer a.work.Done(); _ = c.Close() }()
}

// renew ends what was made of a sandbox that has changed, and returns when it has ended.
func (a *cloneAhead) renew() error {
	a.mu.Lock()
	c := a.ready
	a.ready = nil
	a.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.Close()
}

// close begins to end what is ready and being made, for good. The returned function waits for that.
func (a *cloneAhead) close() (wait func() error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, t := range []*time.Timer{a.quiet, a.idle} {
		if t != nil {
			t.Stop()
		}
	}
	c := a.ready
	a.ready = nil
	if c == nil && a.making == nil {
		return func() error { a.work.Wait(); return nil }
	}
	patience := cmp.Or(a.patience, aheadPatience)
	ended := make(chan error, 1)
	go func() {
		var err error
		if c != nil {
			err = c.Close()
		}
		a.work.Wait()
		ended <- err
	}()
	return func() error {
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return &Error{Stage: "close", Op: "wait", Path: "clone made ahead", Err: syscall.EBUSY}
		}
	}
}
