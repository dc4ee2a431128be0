package sandbox

import (
	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// eventKinds are the kernel's events which a sandbox tells of.
var eventKinds = map[cgroup.EventKind]EventKind{
	cgroup.EventOOMKill: OOMKill, cgroup.EventMemoryLimit: MemoryLimitHit, cgroup.EventPidsLimit: PidsLimitHit,
	cgroup.EventMemoryHigh: MemoryHigh, cgroup.EventMemoryPressure: MemoryPressure,
}

// watchEvents has add called with what happens in the sandbox from now on, until stop is called or the sandbox has ended. add must not
// block. missing names the kinds that this host cannot tell of.
func (e *engine) watchEvents(add func(Event)) (stop func(), missing string, err error) {
	if !e.grouped {
		return nil, "", &Error{Stage: "cgroup", Op: "events", Err: ErrUnsupported}
	}
	var kinds cgroup.EventKind
	for k := range eventKinds {
		kinds |= k
	}
	if e.inForce().limits.MemoryHigh == 0 {
		kinds &^= cgroup.EventMemoryHigh // is never crossed
	}
	told := func(list []wire.Event) {
		for _, ev := range list {
			add(Event{Kind: eventKinds[cgroup.EventKind(ev.Kind)], PID: ev.PID, Count: ev.Count, Time: ev.Time})
		}
	}
	id, reply, err := e.z.begin(request{kind: wire.Watch, body: wire.WatchRequest{Box: e.box, Kinds: uint16(kinds)}, told: told})
	if err != nil {
		return nil, "", err
	}
	a, _, err := e.z.answer(<-reply, nil)
	if err != nil {
		e.z.forget(id)
		return nil, "", err
	}
	if lack := kinds &^ cgroup.EventKind(a.Kinds); lack != 0 {
		missing = lack.String()
	}
	return func() {
		e.z.forget(id)
		_, _, _ = e.z.call(request{kind: wire.Unwatch, body: wire.WatchRequest{Box: e.box, Watch: id}})
	}, missing, nil
}
