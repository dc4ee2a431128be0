package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// limitOptions are the options that a cgroup enforces, each named after the field of cgroup.Limits that it sets.
var limitOptions = []string{
	"WithMemory", "WithMemoryHigh", "WithMemoryLow", "WithMemoryMin", "WithSwap", "WithCPUs", "WithCPUWeight", "WithCPUSet",
	"WithMemoryNodes", "WithPids", "WithIO", "WithIOWeight",
}

// softLimits are the options among those given that may be given up. WithHugepages has the size behind it.
func (e *engine) softLimits() []string {
	var soft []string
	for _, o := range limitOptions {
		if e.spec.explicit[o] && e.spec.mayGiveUp(o) {
			soft = append(soft, o)
		}
	}
	for _, h := range e.spec.limits.Hugepages {
		if o := hugepagesKey(h); e.spec.mayGiveUp(o) {
			soft = append(soft, o)
		}
	}
	return soft
}

// lostOptions returns those of the soft options that cannot be had because of an error. All of them, if it is about no limit in particular. None,
// if something is lost that may not be, or could not be done without them: swap beyond a memory limit, say.
func (e *engine) lostOptions(soft []string, err error) []string {
	var where *Error
	if err == nil || !errors.As(err, &where) || where.Stage != "cgroup" || len(soft) == 0 {
		return nil
	}
	var remote *remoteError
	if !errors.As(err, &remote) || len(remote.limits) == 0 {
		if where.Op == "parent" { // where the sandbox is to be is no wish
			return nil
		}
		return slices.Clone(soft)
	}
	var lost []string
	for _, o := range soft {
		if slices.Contains(remote.limits, fieldOf(o)) {
			lost = append(lost, o)
		}
	}
	if slices.Contains(lost, "WithMemory") && e.spec.explicit["WithSwap"] && !slices.Contains(lost, "WithSwap") {
		if !slices.Contains(soft, "WithSwap") {
			return nil
		}
		lost = append(lost, "WithSwap")
	}
	return lost
}

// fieldOf is the field of cgroup.Limits that an option sets.
func fieldOf(option string) string {
	label, _, _ := strings.Cut(option, " ")
	return strings.TrimPrefix(label, "With")
}

func withoutOption(l cgroup.Limits, option string) cgroup.Limits {
	if fieldOf(option) != "Hugepages" {
		return l.Without(fieldOf(option))
	}
	l.Hugepages = slices.DeleteFunc(slices.Clone(l.Hugepages), func(h cgroup.HugepageLimit) bool { return hugepagesKey(h) == option })
	return l
}

// needsGroup tells whether the sandbox cannot do without a cgroup: for a limit, because nothing else could end all of it, or because the
// caller said where it has to be.
func (e *engine) needsGroup(l cgroup.Limits) bool {
	return l.Controllers() != 0 || e.spec.parent != "" || e.lxcfs || !e.spec.namespaces.Has(namespace.PID)
}

// checkAccounts refuses what only a cgroup's accounts could enforce.
func (e *engine) checkAccounts() error {
	if e.counted || e.spec.run.CPUTime == 0 {
		return nil
	}
	if e.spec.mayGiveUp("WithCPUTime") {
		e.giveUp("WithCPUTime", errNoAccounts)
		e.spec.run.CPUTime = 0
		return nil
	}
	_ = e.close()
	return &Error{Stage: "cgroup", Op: "WithCPUTime", Path: e.spec.run.CPUTime.String(), Err: errNoAccounts}
}

var errNoAccounts = fmt.Errorf("needs the accounts of a cgroup, and none can be made here: %w", ErrUnsupported)

// limitLines are the limits for people.
func limitLines(s *spec) []string {
	var lines []string
	l := s.limits
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, v := range []struct {
		name string
		n    int64
	}{
		{"memory", l.Memory},
		{"memory high", l.MemoryHigh},
		{"memory low", l.MemoryLow},
		{"memory min", l.MemoryMin},
		{"swap", l.Swap},
		{"output", s.run.Output},
	} {
		if v.n > 0 {
			add("%s: %s", v.name, FormatSize(v.n))
		}
	}
	if l.CPUs > 0 {
		add("cpus: %g", l.CPUs)
	}
	if l.CPUWeight > 0 {
		add("cpu weight: %d", l.CPUWeight)
	}
	if l.CPUSet != "" && l.CPUSet != cgroup.AllOfThem {
		add("cpu set: %s", l.CPUSet)
	}
	if l.MemoryNodes != "" && l.MemoryNodes != cgroup.AllOfThem {
		add("memory nodes: %s", l.MemoryNodes)
	}
	if l.Pids > 0 {
		add("pids: %d", l.Pids)
	}
	for _, d := range l.IO {
		add("io: %v", d)
	}
	if l.IOWeight > 0 {
		add("io weight: %d", l.IOWeight)
	}
	for _, h := range l.Hugepages {
		add("huge pages of %s: %s", FormatSize(h.Size), FormatSize(h.Limit))
	}
	if s.run.CPUTime > 0 {
		add("cpu time: %v", s.run.CPUTime)
	}
	if s.run.WallTime > 0 {
		add("wall time: %v", s.run.WallTime)
	}
	return lines
}

// leafLimits are the limits of a command's own group. They repeat the sandbox's, so that the kernel counts what a command runs into for
// the command.
func (e *engine) leafLimits(l Limits) cgroup.Limits {
	if !e.grouped {
		return cgroup.Limits{}
	}
	limits := cgroup.Limits{Memory: l.Memory, Pids: l.Pids, OOMGroup: l.Memory > 0}
	if l.Memory > 0 {
		limits.Swap = e.inForce().limits.Swap
	}
	return limits
}

// firstLeaf are the limits of a command of a sandbox with these limits that has none of its own.
func (e *engine) firstLeaf(of cgroup.Limits) *cgroup.Limits {
	l := cgroup.Limits{Memory: max(of.Memory, 0), Pids: of.Pids, OOMGroup: of.Memory > 0}
	if l.Memory > 0 {
		l.Swap = of.Swap
	}
	return &l
}

// without is a spec without the limits that were given up when the sandbox was made, but for those that change now.
func (e *engine) without(s *spec, change cgroup.Limits) *spec {
	held := s.clone()
	for _, g := range e.report.GivenUp {
		if !slices.Contains(change.Fields(), fieldOf(g.Option)) {
			held.limits = withoutOption(held.limits, g.Option)
		}
	}
	return held
}

// replaceLimits takes over limits that hold from now on, also into the report.
func (e *engine) replaceLimits(held *spec, change cgroup.Limits) {
	old := limitLines(e.inForce())
	lines := slices.DeleteFunc(slices.Clone(e.report.Enforced), func(l string) bool { return slices.Contains(old, l) })
	e.report.Enforced = append(lines, limitLines(held)...)
	e.report.GivenUp = slices.DeleteFunc(e.report.GivenUp, func(g GivenUp) bool {
		return slices.Contains(change.Fields(), fieldOf(g.Option))
	})
	e.updated.Store(held)
}

// inForce is the spec with the limits as they are now.
func (e *engine) inForce() *spec {
	if s := e.updated.Load(); s != nil {
		return s
	}
	return e.spec
}

// update has the zygote change the limits.
func (e *engine) update(next *spec, change cgroup.Limits) error {
	if !e.grouped {
		return &Error{Stage: "cgroup", Op: "update", Err: errNoAccounts}
	}
	leaf := cgroup.Limits{Memory: max(next.limits.Memory, 0), Pids: next.limits.Pids, Swap: next.limits.Swap, OOMGroup: next.limits.Memory > 0}
	_, _, err := e.z.call(request{kind: wire.Update, body: wire.UpdateRequest{Box: e.box, Limits: change, Leaf: leaf}})
	return err
}
