//go:build linux

package zygote

import (
	"reflect"
	"slices"
	"sync"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
)

// spare is what a sandbox's next command finds ready, made while the one before it runs: its leaf, which takes longer to make than all else that a command has
// to wait for, and a process that is in the sandbox's namespaces.
type spare struct {
	mu     sync.Mutex // held while something is made
	leaf   *cgroup.Leaf
	limits cgroup.Limits // that leaf was made with
	joiner *launch.Joiner
	over   bool // the sandbox is being taken down: there will be nothing
}

const (
	// maxSpares bounds how many sandboxes have something spare: a dozen directories and open files, of which every launch copies the table, and a process.
	maxSpares = 32
	// spareFrom is which command of a sandbox is the first that makes something for the next. Many sandboxes run a single command.
	spareFrom = 2
	// spareMemory is the least limit on memory that leaves room for a leaf: the kernel's own memory for a group counts for the group above.
	spareMemory = 16 << 20
)

// take returns the spare leaf if it has just these limits. One that is being made is not waited for.
func (s *spare) take(l *cgroup.Limits) *cgroup.Leaf {
	if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	leaf := s.leaf
	if leaf == nil || !reflect.DeepEqual(*l, s.limits) {
		return nil
	}
	s.leaf = nil
	if leaf.Begin() != nil {
		_ = leaf.Delete()
		return nil
	}
	return leaf
}

// joins returns the process that serves commands of that plan, if there is one and it is not being made.
func (s *spare) joins(p *plan.Plan) *launch.Joiner {
	if p.Base == nil || !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	if s.joiner == nil || s.joiner.Base() != p.Base {
		return nil
	}
	return s.joiner
}

// dropLeaf removes the spare leaf.
func (s *spare) dropLeaf() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withoutLeaf()
}

func (s *spare) withoutLeaf() {
	if s.leaf != nil {
		_ = s.leaf.Delete()
		s.leaf = nil
	}
}

func (s *spare) withoutJoiner() {
	if s.joiner != nil {
		s.joiner.Close()
		s.joiner = nil
	}
}

// drop gives everything back; if over is set, for good.
func (s *spare) drop(over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = s.over || over
	s.withoutJoiner()
	s.withoutLeaf()
}

func (s *spare) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// makeSpare makes ready what the next command needs, should it be like this one.
func (z *zygote) makeSpare(c *command, p *plan.Plan) {
	b := c.box
	if b.fillSpare(c, p) {
		z.keepSpare(b)
	}
}

// firstLeaf makes a leaf for the first command, should it have these limits.
func (b *box) firstLeaf(l cgroup.Limits) {
	if l.Memory > 0 && l.Memory < spareMemory {
		return
	}
	s := &b.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	leaf, err := b.group.NewLeaf(leafName(b.leafSeq.Add(1)), l)
	if err != nil {
		return // the first command is told
	}
	leaf.KeepOpen()
	s.leaf, s.limits = leaf, l
}

// keepSpare counts the box among those that have something spare, of which there are not to be too many.
func (z *zygote) keepSpare(b *box) {
	if old := z.spares.add(b); old != nil {
		old.spare.drop(false)
	}
	if b.spare.isOver() {
		z.spares.remove(b)
	}
}

// fillSpare tells whether it has made anything.
func (b *box) fillSpare(c *command, p *plan.Plan) (made bool) {
	b.limits.RLock()
	defer b.limits.RUnlock()
	s := &b.spare
	if !s.mu.TryLock() {
		return false // somebody else does
	}
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	// Without a PID namespace a job could name it.
	if joins := b.ownPIDs && p.Base != nil && launch.Mode(c.req.Launch.Mode) == launch.Join && c.req.Listen == nil; joins &&
		(s.joiner == nil || s.joiner.Base() != p.Base || !s.joiner.Alive()) {
		s.withoutJoiner()
		if j, err := launch.NewJoiner(p.Base, b.pidfd); err == nil {
			s.joiner, made = j, true
		}
	}
	l := c.limits
	if c.leaf == nil || l.Memory > 0 && l.Memory < spareMemory || s.leaf != nil && reflect.DeepEqual(l, s.limits) {
		return made
	}
	s.withoutLeaf()
	leaf, err := b.group.NewLeaf(leafName(b.leafSeq.Add(1)), l)
	if err != nil {
		return made // whoever needs one is told why there can be none
	}
	leaf.KeepOpen()
	s.leaf, s.limits = leaf, l
	return true
}

// spares are the sandboxes that have something spare, the one that got it last at the end.
type spares struct {
	mu   sync.Mutex
	list []*box
}

// add returns which sandbox is to do without from now on.
func (s *spares) add(b *box) (old *box) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(slices.DeleteFunc(s.list, func(o *box) bool { return o == b }), b)
	if len(s.list) > maxSpares {
		old = s.list[0]
		s.list = slices.Delete(s.list, 0, 1)
	}
	return old
}

func (s *spares) remove(b *box) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(o *box) bool { return o == b })
}
