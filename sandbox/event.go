package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// EventKind is what an [Event] tells of.
type EventKind int

const (
	// OOMKill: the kernel's OOM killer has ended processes. Count is the kernel's; where it ends all of a command at once (cgroup v2) it counts
	// the one it had chosen twice (oom_kill_process in mm/oom_kill.c).
	OOMKill EventKind = iota + 1
	// MemoryLimitHit: usage ran against the memory limit. Mostly the kernel makes room and no harm is done.
	MemoryLimitHit
	// PidsLimitHit: a fork was refused.
	PidsLimitHit
	// MemoryHigh: usage ran over WithMemoryHigh and the kernel slows the sandbox down.
	MemoryHigh
	// MemoryPressure: processes waited for memory for a tenth of two seconds. Hosts of cgroup v1 tell it at the level "medium" instead. Where
	// the kernel has no such account, Report says so.
	MemoryPressure
	// StateChange: [Sandbox.State] is another.
	StateChange
	// EventsLost: the kernel cannot be asked, and from now on nothing is told but changes of state. Err says why; it is
	// ErrUnsupported for a sandbox without a cgroup.
	EventsLost
)

var eventNames = [...]string{
	OOMKill: "OOM kill", MemoryLimitHit: "memory limit hit", PidsLimitHit: "pids limit hit", MemoryHigh: "memory high",
	MemoryPressure: "memory pressure", StateChange: "state change", EventsLost: "events lost",
}

// String returns the kind in words.
func (k EventKind) String() string {
	if k < OOMKill || int(k) >= len(eventNames) {
		return fmt.Sprintf("event %d", int(k))
	}
	return eventNames[k]
}

// Event is something that happened in a sandbox.
type Event struct {
	Kind EventKind
	// PID is the command it happened to, as [Cmd.PID]; 0 if it concerns the sandbox as a whole, or a command whose Start has not returned.
	PID int
	// Count is how often it has happened since the last event of this kind and command; at least 1.
	Count uint64
	// State is the new one, of StateChange.
	State State
	// Err is the reason, of EventsLost.
	Err error
	// Time is when the last of them was noticed.
	Time time.Time
}

// String returns the event in words.
func (e Event) String() string {
	s := e.Kind.String()
	switch {
	case e.Kind == StateChange:
		s += ": " + e.State.String()
	case e.Err != nil:
		s += ": " + e.Err.Error()
	case e.Count > 1:
		s += fmt.Sprintf(", %d times", e.Count)
	}
	if e.PID != 0 {
		s += fmt.Sprintf(" (pid %d)", e.PID)
	}
	return s
}

// Events tells what happens in the sandbox from now on. The channel is closed when ctx is done, or after the last event of a sandbox that
// has ended; a restart goes on with it. What happened to a command is in the channel before its Wait returns.
//
// Nothing waits for the reader. The channel holds 64 events; of one who reads more slowly, events of one kind and command become one, then
// those of one kind, and only the last changes of state are kept. Each call is a subscription of its own, which costs a
// few descriptors for each running command. Events blocks for a moment, and as long as a Restart or Close that is under way.
func (sb *Sandbox) Events(ctx context.Context) <-chan Event {
	q := newEventQueue()
	if ctx.Err() != nil {
		q.end()
		return q.out
	}
	sb.cycle.Lock()
	defer sb.cycle.Unlock()
	sb.mu.Lock()
	e := sb.engine
	if sb.state == Exited {
		sb.mu.Unlock()
		q.end()
		return q.out
	}
	if sb.listeners == nil {
		sb.listeners = map[*eventQueue]struct{}{}
	}
	sb.listeners[q] = struct{}{}
	sb.mu.Unlock()
	sb.attach(q, e)
	q.stopOn(ctx, func() {
		sb.mu.Lock()
		delete(sb.listeners, q)
		sb.mu.Unlock()
		q.end()
	})
	return q.out
}

// attach has a queue filled with what happens in e.
func (sb *Sandbox) attach(q *eventQueue, e *engine) {
	e.show() // they tell process IDs
	stop, missing, err := e.watchEvents(q.add)
	if err != nil {
		if !errors.Is(err, ErrClosed) {
			q.add(Event{Kind: EventsLost, Count: 1, Err: err, Time: time.Now()})
		}
		return
	}
	q.filledBy(stop)
	if missing == "" {
		return
	}
	note := "events: not told on this host: " + missing
	sb.mu.Lock()
	defer sb.mu.Unlock()
	for _, n := range e.report.Notes {
		if n == note {
			return
		}
	}
	e.report.Notes = append(e.report.Notes, note)
}

// attachAll has all queues filled by the engine of a restart. The caller holds cycle, so none is added meanwhile.
func (sb *Sandbox) attachAll(e *engine) {
	for _, q := range sb.queues() {
		sb.attach(q, e)
	}
}

func (sb *Sandbox) queues() []*eventQueue {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	list := make([]*eventQueue, 0, len(sb.listeners))
	for q := range sb.listeners {
		list = append(list, q)
	}
	return list
}

// tellState tells of a new state. The caller holds mu.
func (sb *Sandbox) tellState(s State) {
	for q := range sb.listeners {
		q.add(Event{Kind: StateChange, Count: 1, State: s, Time: time.Now()})
	}
}

// endEvents tells of the end, which is the last there is to tell.
func (sb *Sandbox) endEvents() {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	sb.tellState(Exited)
	for q := range sb.listeners {
		q.end()
	}
	sb.listeners = nil
}
