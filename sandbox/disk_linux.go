package sandbox

import (
	"os"
	"slices"
	"sync"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// disk is the places of a sandbox that the job may write to and that are bounded for it: memory-backed file systems, a scratch layer, and layers and
// volumes with a quota. Those of the host that are not bounded are no limit of the sandbox's.
type disk struct {
	targets []string

	mu   sync.Mutex
	open []*os.File // O_PATH, from the first question until the end
	done bool       // no more questions
}

// boundedPlaces are the paths of those places in a root of these operations.
func boundedPlaces(s *spec, ops []rootfs.Op) (targets []string) {
	if slices.Contains(s.caps, unix.CAP_SYS_ADMIN) {
		return nil // it may mount, also what never answers
	}
	if s.scratch > 0 || s.upperSize > 0 {
		targets = append(targets, "/")
	}
	bounded := map[string]bool{}
	for _, v := range s.volumes {
		bounded[v.Path()] = v.Size > 0
	}
	for _, op := range ops {
		switch op := op.(type) {
		case rootfs.Tmpfs:
			if op.Target != "/" && !op.ReadOnly {
				targets = append(targets, op.Target)
			}
		case rootfs.Dev:
			targets = append(targets, op.Target+"/shm")
		case rootfs.Bind:
			if bounded[op.Source] && op.Flags&rootfs.BindReadOnly == 0 {
				targets = append(targets, op.Target)
			}
		}
	}
	return targets
}

// diskFull asks the kernel whether one of the places is full at this moment.
func (e *engine) diskFull() bool {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	if e.disk.done || len(e.disk.targets) == 0 {
		return false
	}
	if e.disk.open == nil {
		files, err := e.do(compilePlaces(e.spec, e.ids, e.disk.targets))
		if err != nil {
			return false // the sandbox is ending
		}
		e.disk.open = files
	}
	for _, f := range e.disk.open {
		if isFull(f) {
			return true
		}
	}
	return false
}

// isFull tells whether a file system has no room left, or none for another file. Of one in memory every page can be had. A quota shows in statfs(2) of a
// directory that it is for; there the file system wants some blocks more than it writes, and refuses before the last ones are taken.
func isFull(f *os.File) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil || st.Blocks == 0 {
		return false
	}
	left := uint64(0)
	if st.Type != unix.TMPFS_MAGIC {
		left = quotaSlack / uint64(max(st.Bsize, 1))
	}
	return st.Bavail <= left || st.Files > 0 && st.Ffree == 0
}

// quotaSlack is how many bytes may be left of a quota that refuses to give any: ext4 wants one block with each write, xfs a dozen for its trees.
const quotaSlack = 64 << 10

func (e *engine) closeDisk() {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	for _, f := range e.disk.open {
		_ = f.Close()
	}
	e.disk.open, e.disk.done = nil, true
}

// compilePlaces makes the plan that opens mount points inside, to look at and no more.
func compilePlaces(s *spec, ids idPlan, targets []string) *plan.Plan {
	a := newAssembler()
	pidfd := a.Input("sandbox")
	a.Stage("files")
	a.enter(s, pidfd)
	if ids.wire != nil && ids.root {
		a.setIDs(0, 0)
	}
	for _, t := range targets {
		a.Output(a.openat2(plan.None, t, unix.O_PATH, "O_PATH", 0, t))
	}
	return a.Plan()
}
