package sandbox

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// viewTurn counts the sandboxes whose commands are bound to some of the CPUs.
var viewTurn atomic.Int64

// hostCPUInfo is read once: the kernel takes its time over it, and no CPU changes its kind.
var hostCPUInfo = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	return string(b)
})

// viewOps decides what the sandbox is told of its machine, and returns the operations by which it is.
func (e *engine) viewOps() ([]rootfs.Op, error) {
	s := e.spec
	if s.view == ViewHost {
		return nil, nil
	}
	m := machine{now: time.Now().Unix(), memory: max(s.limits.Memory, 0), swap: max(s.limits.Swap, 0), cpuinfo: hostCPUInfo()}
	allowed, err := e.allowedCPUs()
	if err != nil {
		return nil, err
	}
	total := len(allowed)
	if set, err := parseCPUList(s.limits.CPUSet); err == nil && len(set) > 0 {
		allowed = slices.DeleteFunc(allowed, func(c int) bool { return !slices.Contains(set, c) })
	}
	turn := 0
	if s.limits.CPUs > 0 {
		turn = int(viewTurn.Add(1) & (1<<30 - 1))
	}
	m.cpus = pickCPUs(allowed, s.limits.CPUs, turn)
	if m.allCPUs = len(m.cpus) == total; !m.allCPUs {
		e.walls.cpus = m.cpus
	}
	if s.view == ViewSandbox || s.view == ViewLXCFS {
		var why error
		if m.lxcfs, why = e.findLXCFS(); why != nil && s.view == ViewLXCFS {
			if !s.mayGiveUp("WithProc") {
				return nil, &Error{Stage: "root", Op: "WithProc", Path: ViewLXCFS.String(), Err: why}
			}
			e.giveUp("WithProc", why)
		}
	}
	e.view = "of the sandbox as it was made, by files that do not change"
	if e.lxcfs = m.lxcfs != ""; e.lxcfs {
		e.view = "of the sandbox, by lxcfs at " + quotePath(m.lxcfs)
	}
	e.view += ", CPUs " + cpuList(m.cpus)
	return append(m.ops(s.ops), e.groupsOps()...), nil
}

// groupsOps makes room for what commands see of their own groups, for programs that find out by these what they may use.
func (e *engine) groupsOps() []rootfs.Op {
	if !e.spec.namespaces.Has(namespace.Mount) || !e.spec.namespaces.Has(namespace.Cgroup) {
		return nil
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	e.legacy = cgroup.LegacyHierarchies(string(text))
	ops := groupsOps(e.legacy, e.spec.ops)
	e.showing = ops != nil
	return ops
}

// triedGroup is the hierarchy that a mount of is tried before there are commands; "" where none is to be shown.
func (e *engine) triedGroup() string {
	switch {
	case !e.showing:
		return ""
	case len(e.legacy) > 0:
		return e.legacy[0]
	}
	return cgroup.UnifiedHierarchy
}

// describeGroups says in the report what commands see.
func (e *engine) describeGroups() {
	var names []string
	for _, g := range e.walls.shown {
		names = append(names, g.name)
	}
	switch {
	case len(names) > 0:
		e.report.Enforced = append(e.report.Enforced, "cgroup: a command sees its own group at "+groupsDir+", read-only: "+strings.Join(names, " "))
	case e.view != "":
		why := ""
		if e.groupsErr != nil {
			why = ", which cannot be mounted here (" + e.groupsErr.Error() + ")"
		}
		e.report.Notes = append(e.report.Notes, "proc: commands do not see their cgroup"+why+", so runtimes that look there for limits (Java's for memory) find none")
	}
}

// allowedCPUs are those that the host program may use, as its zygote does.
func (e *engine) allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(e.z.pid, &set); err != nil {
		return nil, &Error{Stage: "root", Op: "sched_getaffinity", Path: "zygote", Err: err}
	}
	var cpus []int
	for c := range len(set) * 64 {
		if set.IsSet(c) {
			cpus = append(cpus, c)
		}
	}
	return cpus, nil
}

// findLXCFS returns where lxcfs shows its files. They tell of the group that PID 1 of the reader's PID namespace is in.
func (e *engine) findLXCFS() (string, error) {
	if !e.spec.namespaces.Has(namespace.PID) {
		return "", errNoInit
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.FSType != "fuse.lxcfs" || m.Root != "/", false
	})
	if err != nil {
		return "", err
	}
	if len(mounts) == 0 {
		return "", errNoLXCFS
	}
	return strings.TrimSuffix(mounts[0].Mountpoint, "/"), nil
}

var (
	errNoLXCFS = fmt.Errorf("lxcfs is not mounted here: %w", ErrUnsupported)
	errNoInit  = fmt.Errorf("lxcfs tells of the PID namespace's first process, which is the host's: %w", ErrUnsupported)
)
