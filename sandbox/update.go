package sandbox

import (
	"slices"

	"github.com/belljar-go/belljar/cgroup"
)

// updateOptions are the options that can change while the sandbox stands.
var updateOptions = []string{
	"WithMemory", "WithMemoryHigh", "WithMemoryLow", "WithMemoryMin", "WithSwap", "WithCPUs", "WithCPUWeight", "WithCPUSet", "WithMemoryNodes",
	"WithPids", "WithIO", "WithIOWeight", "WithHugepages", "WithCPUTime", "WithWallTime", "WithOutput",
}

// Update changes limits of the standing sandbox, and of the commands that run in it, each of which keeps to limits of its own that are tighter. What
// is not given stays as it is. All of it is changed or, if the error is not nil, nothing. What can change are the limits of cgroups, and
// WithCPUTime, WithWallTime and WithOutput, which are those of commands started afterwards; any other option, and BestEffort, is an ErrInvalid
// that names it. The Report has the new limits, and Restart and Clone keep them. What commands see of their groups follows; the files that WithProc made of
// the limits tell of the old ones until Restart.
//
// A limit needs the controller of one that New was given: to give a sandbox CPUs later, say, make it with a loose WithCPUs.
// Memory and pids can always be limited. Otherwise the error is ErrUnsupported, as where there is no cgroup.
//
// Memory may be limited below what is in use. The kernel then reclaims what it can; if that is not enough it kills on cgroup v2, and
// the verdict is MemoryExceeded, while on v1 the limit is refused with EBUSY. What a limit of processes finds too many
// goes on, and nothing new is started. Update blocks while the kernel reclaims.
func (sb *Sandbox) Update(opts ...Option) error {
	sb.updating.Lock()
	defer sb.updating.Unlock()
	e, err := sb.standing("update")
	if err != nil {
		return err
	}
	before := sb.asked()
	next, err := before.update(opts)
	if err != nil {
		return err
	}
	if next.run.CPUTime != before.run.CPUTime && !e.counted {
		return &Error{Stage: "cgroup", Op: "WithCPUTime", Path: next.run.CPUTime.String(), Err: errNoAccounts}
	}
	change := before.change(next, opts)
	held := e.without(next, change)
	if len(change.Fields()) > 0 {
		if err := e.update(held, change); err != nil {
			return sb.orClosed("update", e, err)
		}
	}
	sb.mu.Lock()
	if sb.engine != e || sb.state != Running && sb.state != Paused { // restarted or ended meanwhile
		sb.mu.Unlock()
		return &Error{Stage: "sandbox", Op: "update", Err: ErrClosed}
	}
	e.replaceLimits(held, change)
	sb.spec = next
	sb.mu.Unlock()
	return sb.ahead.renew()
}

// update is vary for a sandbox that stands.
func (s *spec) update(opts []Option) (*spec, error) {
	for _, o := range opts {
		switch o := o.(type) {
		case option:
			if !slices.Contains(updateOptions, o.label) {
				return nil, invalid(o.label, o.text, "cannot change while the sandbox stands: make another with New or Clone")
			}
		case bestEffort:
			return nil, invalid("BestEffort", o.of.name(), "an update is all or nothing")
		}
	}
	return s.vary(opts)
}

// change is what the cgroup has to be told.
func (s *spec) change(next *spec, opts []Option) cgroup.Limits {
	fields := map[string]bool{}
	for _, o := range opts {
		fields[o.name()[len("With"):]] = true
	}
	if fields["Memory"] || fields["Swap"] {
		fields["Memory"], fields["Swap"], fields["OOMGroup"] = true, true, true
	}
	l := next.limits
	for _, f := range l.Fields() {
		if !fields[f] {
			l = l.Without(f)
		}
	}
	if fields["Memory"] {
		l.Memory, l.Swap, l.OOMGroup = next.limits.Memory, next.limits.Swap, next.limits.OOMGroup
	}
	if fields["IO"] {
		l.IO = cgroup.IOChange(s.limits.IO, next.limits.IO)
	}
	return l
}
