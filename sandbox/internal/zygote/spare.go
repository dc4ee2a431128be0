//go:build linux

package zygote

import (
	"reflect"
	"slices"
	"sync"

	"github.com/belljar-go/belljar/cgroup"
)

// spare is a leaf for a sandbox's next command, made while the one before it runs: to make one takes longer than all else that a command has to wait for.
type spare struct {
	mu     sync.Mutex // held while one is made
	leaf   *cgroup.Leaf
	limits cgroup.Limits // that it was made with
	over   bool          // the sandbox is being taken down: there will be none
}

const (
	// maxSpares bounds how many sandboxes have a spare leaf: each is a directory and a dozen open files, and every launch copies the table of those.
	maxSpares = 32
	// spareFrom is which command of a sandbox is the first that makes one for the next. Many sandboxes run a single command.
	spareFrom = 2
	// spareMemory is the least limit on memory that leaves room for one: the kernel's own memory for a group counts for the group above.
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

// drop removes the spare leaf; if over is set, for good.
func (s *spare) drop(over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = s.over || over
	if s.leaf != nil {
		_ = s.leaf.Delete()
		s.leaf = nil
	}
}

func (s *spare) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// makeSpare makes a leaf for the next command, should it be like this one.
func (z *zygote) makeSpare(b *box, l cgroup.Limits) {
	if l.Memory > 0 && l.Memory < spareMemory {
		return
	}
	if b.fillSpare(&l) {
		if old := z.spares.add(b); old != nil {
			old.spare.drop(false)
		}
		if b.spare.isOver() {
			z.spares.remove(b)
		}
	}
}

func (b *box) fillSpare(l *cgroup.Limits) bool {
	b.limits.RLock()
	defer b.limits.RUnlock()
	s := &b.spare
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	if s.over || s.leaf != nil && reflect.DeepEqual(*l, s.limits) {
		return false
	}
	if s.leaf != nil {
		_ = s.leaf.Delete()
		s.leaf = nil
	}
	leaf, err := b.group.NewLeaf(leafName(b.leafSeq.Add(1)), *l)
	if err != nil {
		return false // whoever needs one is told why there can be none
	}
	leaf.KeepOpen()
	s.leaf, s.limits = leaf, *l
	return true
}

// spares are the sandboxes that have a spare leaf, the one that got its last first.
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
