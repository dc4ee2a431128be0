package cgroup

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Events is a subscription to what happens to a group. It is safe for
// concurrent use.
//
// On v2 the kernel tells of every kind. On v1 it tells of OOM and memory
// pressure at once; whatever else there is, is found by looking, every 50 ms
// and less often where that would take more than a hundredth of a CPU. Either way
// whoever has read the accounts ([Leaf.Totals], [Manager.Stats]) or has
// deleted a group finds the events that go with them here.
//
// Events that are not taken are kept, those of one kind and leaf as one. Nobody
// waits for the reader. The subscription holds some descriptors per group and
// leaf until it ends: with its context, or with the group.
type Events struct {
	opts   EventOptions
	kinds  EventKind // that can be told
	detach func()    // from the Manager or Leaf

	mu      sync.Mutex
	pending []Event
	ended   bool
	ready   chan struct{}
	watches map[*watch]struct{}
	cancel  func() bool // of the context's watch
}

func newEvents(o EventOptions) *Events {
	return &Events{opts: o, ready: make(chan struct{}, 1), watches: make(map[*watch]struct{})}
}

// Kinds is what can be told of here.
func (e *Events) Kinds() EventKind { return e.kinds }

// Ready has a value when Take has something to give, and is closed when
// nothing will be added any more; Take still gives what is left then.
func (e *Events) Ready() <-chan struct{} { return e.ready }

// Take returns what has happened and has not been taken, oldest first by the last time of each. It
// never blocks.
func (e *Events) Take() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.pending
	e.pending = nil
	return p
}

func (e *Events) pop() (Event, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.pending) == 0 {
		return Event{}, false
	}
	ev := e.pending[0]
	e.pending = e.pending[1:]
	return ev, true
}

func (e *Events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	ev.Time = time.Now()
	e.pending = addEvent(e.pending, ev)
	select {
	case e.ready <- struct{}{}:
	default:
	}
}

// Close ends the subscription and gives its descriptors back, as the end of
// the context does. What has not been taken can still be.
func (e *Events) Close() {
	e.detach()
	e.end()
}

// end is Close for who has detached it already.
func (e *Events) end() {
	e.mu.Lock()
	if e.ended {
		e.mu.Unlock()
		return
	}
	e.ended = true
	close(e.ready)
	watches := e.watches
	e.watches = nil
	if e.cancel != nil {
		e.cancel()
	}
	e.mu.Unlock()
	for w := range watches {
		w.close()
	}
}

// keep makes w part of the subscription, unless that has ended.
func (e *Events) keep(w *watch) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.watches[w] = struct{}{}
	}
	return !e.ended
}

func (e *Events) drop(w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watches, w)
}

// until ends the subscription with the context.
func (e *Events) until(ctx context.Context) {
	stop := context.AfterFunc(ctx, e.Close)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancel = stop
	if e.ended {
		stop()
	}
}

// audience is who watches one group.
type audience struct {
	mu      sync.Mutex
	watches []*watch
}

func (a *audience) list() []*watch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.watches[:len(a.watches):len(a.watches)]
}

// add makes w one of those who watch, unless its subscription is already.
func (a *audience) add(w *watch) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.watches {
		if o.e == w.e {
			return false
		}
	}
	a.watches = append(a.watches[:len(a.watches):len(a.watches)], w)
	return true
}

func (a *audience) remove(e *Events) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var left []*watch
	for _, w := range a.watches {
		if w.e != e {
			left = append(left, w)
		}
	}
	a.watches = left
}

// tell has the watchers look at the group.
func (a *audience) tell() {
	for _, w := range a.list() {
		w.update()
	}
}

// lastLook is had before the group is removed: once it has no process nothing
// can happen in it. Those that still end are waited for as the removal would
// do. It reports whether there has ever been a process in the group.
func (a *audience) lastLook(ps places, wait *backoff) (ran bool) {
	watches := a.list()
	if len(watches) == 0 {
		return false
	}
	for {
		if some, err := ps.populated(); err != nil || !some || !wait.wait() {
			break
		}
	}
	for _, w := range watches {
		w.update()
	}
	var c CPU
	return ps.cpu(&c) == nil && c.Total > 0
}

// removed is told after the group has been removed.
func (a *audience) removed(ran bool) {
	for _, w := range a.list() {
		w.removed(ran)
	}
}

// Events subscribes to what happens to the sandbox's group and to every leaf,
// those made later included. Nothing is told twice: what the kernel
// counts in a leaf is the leaf's alone. It ends when ctx is done or Delete has succeeded.
//
// The error is an *InvalidError, an *UnsupportedError if this host cannot tell
// of what was asked for, or an *Error with the errno.
func (m *Manager) Events(ctx context.Context, o EventOptions) (*Events, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.unlock()
	e := newEvents(o)
	e.detach = func() {
		m.audience.remove(e)
		m.lm.Lock()
		defer m.lm.Unlock()
		for _, l := range m.leaves {
			l.audience.remove(e)
		}
	}
	w := newWatch(e, "", m.ps, &hitCount{})
	w.whole = true
	if err := w.open(o.Kinds, false); err != nil {
		return nil, err
	}
	e.kinds = w.kinds
	m.audience.add(w)
	for _, l := range m.standing() {
		if err := l.watch(e, false); err != nil && !gone(err) {
			e.Close()
			return nil, err
		}
	}
	e.until(ctx)
	return e, nil
}

// errEnded: the subscription is over, whatever becomes of the group.
var errEnded = fmt.Errorf("events: %w", ErrClosed)

// leafEvents are those of a leaf within a subscription to its sandbox.
const leafEvents = EventOOMKill | EventOOM | EventMemoryLimit | EventMemoryHigh | EventPidsLimit | EventEmpty

// watch makes the leaf part of a subscription to its sandbox.
func (l *Leaf) watch(e *Events, isNew bool) error {
	kinds := e.kinds & leafEvents
	if kinds == 0 {
		return nil
	}
	w := newWatch(e, l.name, l.ps, &l.hits)
	if !l.audience.add(w) {
		return nil
	}
	if err := w.open(kinds, isNew); err != nil {
		l.audience.remove(e)
		if err == errEnded {
			return nil // meanwhile
		}
		return err
	}
	return nil
}

// watched makes a new leaf part of the subscriptions there are.
func (l *Leaf) watched() error {
	if len(l.m.audience.list()) == 0 {
		return nil
	}
	if err := l.lock(); err != nil {
		return err
	}
	defer l.unlock()
	for _, w := range l.m.audience.list() {
		if err := l.watch(w.e, true); err != nil {
			return err
		}
	}
	return nil
}

// Events subscribes to what happens to the leaf alone. It ends when ctx is
// done or Delete has succeeded. Errors are as for Manager.
func (l *Leaf) Events(ctx context.Context, o EventOptions) (*Events, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := l.lock(); err != nil {
		return nil, err
	}
	defer l.unlock()
	e := newEvents(o)
	e.detach = func() { l.audience.remove(e) }
	w := newWatch(e, l.name, l.ps, &l.hits)
	w.whole = true
	if err := w.open(o.Kinds, false); err != nil {
		return nil, err
	}
	e.kinds = w.kinds
	l.audience.add(w)
	e.until(ctx)
	return e, nil
}
