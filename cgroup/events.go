package cgroup

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EventKind is what happened to a group. Kinds are bits, so that several can
// be asked for at once.
type EventKind uint16

const (
	// EventOOMKill: the kernel's OOM killer has ended processes of the group.
	// Counted by the kernel everywhere. v1 gives notice a moment before the
	// kill, so there the event may come at the next look, see [Events].
	EventOOMKill EventKind = 1 << iota
	// EventOOM: the group's memory limit could not be met by reclaim. Where an
	// allocation may fail instead, no process is killed for it. On v1 it is
	// the notice of memory.oom_control, which a leaf gets also where it is the
	// sandbox's limit that could not be met.
	EventOOM
	// EventMemoryLimit: usage ran against the group's hard limit. Mostly
	// reclaim follows and no harm. On v1 it is counted once at most where the
	// kernel does not count, see Memory.LimitHits.
	EventMemoryLimit
	// EventMemoryHigh: usage ran over MemoryHigh and the group was slowed down
	// and reclaimed. v2 only.
	EventMemoryHigh
	// EventPidsLimit: a fork was refused. It belongs to the group whose limit
	// it was from Linux 6.11 on v2, elsewhere to the group of the process.
	EventPidsLimit
	// EventMemoryPressure, EventCPUPressure and EventIOPressure: tasks of the
	// group were stalled for longer than a PressureTrigger allows. The kernel
	// tells of each trigger once per window. v1 has memory pressure only, and
	// tells it by how hard reclaim is instead of by time. v2 needs a kernel
	// with PSI that was not booted with psi=0.
	EventMemoryPressure
	EventCPUPressure
	EventIOPressure
	// EventFrozen and EventThawed: all processes of the group stand still, or
	// go on again. On v1 a leaf has no freezer of its own.
	EventFrozen
	EventThawed
	// EventEmpty: the last process of the group, and of those below, has
	// ended.
	EventEmpty

	eventBits = iota
)

// pressureEvents are those with triggers.
const pressureEvents = EventMemoryPressure | EventCPUPressure | EventIOPressure

// AllEvents is every kind.
const AllEvents EventKind = 1<<eventBits - 1

var eventNames = [eventBits]string{
	"OOM kill", "OOM", "memory limit", "memory high", "pids limit",
	"memory pressure", "CPU pressure", "IO pressure", "frozen", "thawed", "empty",
}

// Has reports whether all of x are in k.
func (k EventKind) Has(x EventKind) bool { return k&x == x }

// String is the name of one kind, or of several with commas between.
func (k EventKind) String() string {
	var s []string
	for i, n := range eventNames {
		if k&(1<<i) != 0 {
			s = append(s, n)
		}
	}
	if rest := k &^ AllEvents; rest != 0 {
		s = append(s, "event 0x"+strconv.FormatUint(uint64(rest), 16))
	}
	return strings.Join(s, ",")
}

// Event is something that happened to a group, one or more times.
type Event struct {
	Kind EventKind // one bit
	// Leaf is the name of the leaf it happened to, "" for the sandbox's own
	// group.
	Leaf string
	// Count is how often it has happened since the last event of this kind
	// and leaf that was taken: at least 1.
	Count uint64
	// Total is Count and all before it, back to when the group was made for
	// kinds which the kernel counts, and to the subscription for others.
	Total uint64
	// Time is when the last of them was noticed.
	Time time.Time
}

// EventOptions say what a subscription is to.
type EventOptions struct {
	// Kinds are the events wanted; one that this host cannot tell of is an
	// error. 0 stands for all that it can.
	Kinds EventKind
	// Optional leaves out such kinds instead, see [Events.Kinds].
	Optional bool
	// Pressure has the triggers for the kinds of pressure. Kinds without one
	// have DefaultTrigger.
	Pressure []PressureTrigger
}

// PressureTrigger is how long tasks must be stalled for an event.
type PressureTrigger struct {
	// Kind is EventMemoryPressure, EventCPUPressure or EventIOPressure.
	Kind EventKind
	// Full asks for all tasks to be stalled at once rather than some. On v1
	// it stands for the level "critical", and its lack for "medium".
	Full bool
	// Stall in every Window of real time is an event. The kernel allows
	// windows of 500 ms to 10 s; without CAP_SYS_RESOURCE only multiples of 2 s
	// (Linux 6.4; before, the capability was needed). On v1 there is at most one event per Window.
	Stall, Window time.Duration
}

// DefaultTrigger is a tenth of two seconds, which needs no privilege.
func DefaultTrigger(k EventKind) PressureTrigger {
	return PressureTrigger{Kind: k, Stall: 200 * time.Millisecond, Window: 2 * time.Second}
}

// Validate reports the first field that no kernel would take, as an
// *InvalidError.
func (o EventOptions) Validate() error {
	if o.Kinds&^AllEvents != 0 {
		return &InvalidError{"Kinds", o.Kinds.String(), "unknown"}
	}
	for _, t := range o.Pressure {
		bad := func(field, value, why string) error { return &InvalidError{"Pressure." + field, value, why} }
		switch {
		case t.Kind&pressureEvents == 0 || t.Kind&(t.Kind-1) != 0:
			return bad("Kind", t.Kind.String(), "is not one kind of pressure")
		case t.Window < 500*time.Millisecond || t.Window > 10*time.Second:
			return bad("Window", t.Window.String(), "outside of 500 ms to 10 s")
		case t.Stall < time.Microsecond || t.Stall > t.Window:
			return bad("Stall", t.Stall.String(), "not between a microsecond and the window")
		}
	}
	return nil
}

// trigger is the one for a kind of pressure.
func (o EventOptions) trigger(k EventKind) PressureTrigger {
	for _, t := range o.Pressure {
		if t.Kind == k {
			return t
		}
	}
	return DefaultTrigger(k)
}

// maxPending bounds what a reader who has fallen behind leaves unread.
const maxPending = 1024

// addEvent adds an event to those not yet taken. One of a kind and a leaf
// counts up and moves to the end, so that the last of EventFrozen and
// EventThawed tells how it stands. A reader far behind is spared the leaves:
// the oldest entries become the sandbox's own. No count and no kind is lost.
func addEvent(pending []Event, ev Event) []Event {
	same := func(o Event) bool { return o.Kind == ev.Kind && o.Leaf == ev.Leaf }
	if i := slices.IndexFunc(pending, same); i >= 0 {
		ev.Count += pending[i].Count
		return append(slices.Delete(pending, i, i+1), ev)
	}
	if len(pending) >= maxPending {
		pending = withoutLeaves(pending)
	}
	return append(pending, ev)
}

func withoutLeaves(pending []Event) []Event {
	var merged []Event
	for _, ev := range pending {
		i := slices.IndexFunc(merged, func(o Event) bool { return o.Kind == ev.Kind })
		if i >= 0 {
			ev.Count += merged[i].Count
			ev.Total += merged[i].Total
			merged = slices.Delete(merged, i, i+1)
		}
		ev.Leaf = ""
		merged = append(merged, ev)
	}
	return merged
}

// All waits for events and yields them, until the group is deleted or the
// context is done and everything that happened until then has been yielded.
// A loop that is left keeps what it has not been given.
func (e *Events) All() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for open := true; open; {
			_, open = <-e.Ready()
			for ev, ok := e.pop(); ok; ev, ok = e.pop() {
				if !yield(ev) {
					return
				}
			}
		}
	}
}
