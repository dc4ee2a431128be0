//go:build linux

package zygote

import (
	"sync"
	"sync/atomic"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// limits are what an update changes. The lock is held for reading while a leaf is made, so that an update finds every leaf, or the leaf the update.
type limits struct {
	sync.RWMutex
	leaf     *cgroup.Limits // of a command with no limits of its own; nil: as its request says
	oomGroup atomic.Bool    // running out of memory ends a command as a whole
}

// leafLimits are those of the command's leaf at the moment. The box's limits are locked.
func (c *command) leafLimits() cgroup.Limits {
	if c.box.limits.leaf == nil {
		return c.req.Limits
	}
	return tighten(*c.box.limits.leaf, c.req.OwnMemory, c.req.OwnPids)
}

// tighten is l with no more than a command's own limits, of which 0 is none. What may be swapped counts where memory is limited.
func tighten(l cgroup.Limits, memory int64, pids int) cgroup.Limits {
	if memory > 0 && (l.Memory <= 0 || memory < l.Memory) {
		l.Memory = memory
	}
	if pids > 0 && (l.Pids <= 0 || pids < l.Pids) {
		l.Pids = pids
	}
	if l.OOMGroup = l.Memory > 0; !l.OOMGroup {
		l.Swap = 0
	}
	return l
}

// keptLeaf is the leaf of a command that has ended with leftovers that may stay, and the command's own limits, which hold on.
type keptLeaf struct {
	leaf   *cgroup.Leaf
	memory int64
	pids   int
}

// leaves returns what the leaves get, those of commands that run and of leftovers, when the sandbox's limits have changed so that one without limits of its own gets l.
func (b *box) leaves(l cgroup.Limits) map[string]cgroup.Limits {
	m := map[string]cgroup.Limits{}
	for _, c := range b.list() {
		if c.leaf != nil {
			m[c.leaf.Name()] = explicit(tighten(l, c.req.OwnMemory, c.req.OwnPids))
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.kept {
		m[k.leaf.Name()] = explicit(tighten(l, k.memory, k.pids))
	}
	return m
}

// update changes limits of a sandbox and of the commands that run in it.
func (z *zygote) update(m *wire.Message) error {
	var req wire.UpdateRequest
	if err := m.Decode(&req); err != nil {
		return err
	}
	b, err := z.groupedBox(req.Box)
	if err != nil {
		return err
	}
	b.limits.Lock()
	defer b.limits.Unlock()
	if b.isClosing() {
		return errGone
	}
	b.spare.dropLeaf()           // it has the limits of before
	leaves := b.leaves(req.Leaf) // there are no others as long as the lock is held: a command is in the list until it is among the kept
	if b.initLeaf != nil {
		besideInit(&req.Limits)
	}
	if err := b.group.UpdateWith(req.Limits, func(name string) cgroup.Limits { return leaves[name] }); err != nil {
		return err
	}
	b.limits.leaf = &req.Leaf
	b.limits.oomGroup.Store(req.Leaf.Memory > 0)
	return nil
}

// explicit has "unlimited" where l has nothing: of leaves that stand, what was a limit before is to go.
func explicit(l cgroup.Limits) cgroup.Limits {
	if l.Memory == 0 {
		l.Memory, l.Swap = cgroup.Max, cgroup.Max
	}
	if l.Pids == 0 {
		l.Pids = cgroup.Max
	}
	return l
}
