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

// spare is what a sandbox's next command finds ready: its leaf, which takes longer to make than all else that a command has to wait for, and a process that is in the sandbox's
// namespaces, made while the command before it runs; and, when nothing runs in the sandbox any more, the command's own process, in that leaf, up to where it has to be
// known what it is going to execute.
//
// Nothing else ever runs in the sandbox while that process waits: whoever starts a command takes it or ends it first. A job could send it signals, which it would find when it is the next command.
type spare struct {
	mu     sync.Mutex // held while something is made
	leaf   *cgroup.Leaf
	limits cgroup.Limits // that leaf was made with
	joiner *launch.Joiner
	ready  *launch.Ready // in leaf
	armed  *armed        // or the host program may start the next command itself, with a leaf of its own
	line   *line         // by which it is told so; nil: it has not asked for that
	over   bool          // the sandbox is being taken down: there will be nothing
}

const (
	// maxSpares bounds how many sandboxes have something spare: a dozen directories and open files, of which every launch copies the table, and a process.
	maxSpares = 32
	// spareFrom is which command of a sandbox is the first that makes something for the next. Many sandboxes run a single command.
	spareFrom = 2
	// spareMemory is the least limit on memory that leaves room for a leaf: the kernel's own memory for a group counts for the group above.
	spareMemory = 16 << 20
)

// take returns the spare leaf if it has just these limits, and what serves the plan. What is being made is waited for, which takes no longer than to make it.
func (s *spare) take(l *cgroup.Limits, p *plan.Plan) (leaf *cgroup.Leaf, ready *launch.Ready, joiner *launch.Joiner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.joiner != nil && p.Base != nil && s.joiner.Base() == p.Base {
		joiner = s.joiner
	}
	if rd, own, limits := s.withdraw(); rd != nil {
		if reflect.DeepEqual(*l, limits) && rd.Serves(p.Base) && own.Begin() == nil {
			return own, rd, joiner
		}
		rd.Discard()
		_ = own.Delete()
	}
	alike := s.leaf != nil && reflect.DeepEqual(*l, s.limits)
	if s.ready != nil && !(alike && s.ready.Serves(p.Base)) {
		s.unready()
	}
	if s.leaf == nil || !alike {
		return nil, nil, joiner
	}
	leaf, ready = s.leaf, s.ready
	s.leaf, s.ready = nil, nil
	if leaf.Begin() != nil {
		ready.Discard()
		_ = leaf.Delete()
		return nil, nil, joiner
	}
	return leaf, ready, joiner
}

// unready ends the process that is ready. Its leaf has accounts by now that are no command's.
func (s *spare) unready() {
	if rd, leaf, _ := s.withdraw(); rd != nil {
		rd.Discard()
		_ = leaf.Delete()
	}
	s.unreadyLeaf()
}

// unreadyLeaf is unready for that of the spare leaf only.
func (s *spare) unreadyLeaf() {
	if s.ready != nil {
		s.ready.Discard()
		s.ready = nil
		s.withoutLeaf()
	}
}

// dropReady leaves nothing in the sandbox but PID 1.
func (s *spare) dropReady() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unready()
}

// dropLeaf removes the spare leaf.
func (s *spare) dropLeaf() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unready()
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
func (s *spare) drop(over bool) { s.giveBack(over)() }

// giveBack is drop but for waiting for the joiner's end, which the returned function does: it takes as long as PID 1 to go if it is the last that has the namespaces.
func (s *spare) giveBack(over bool) (wait func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = s.over || over
	s.unready()
	j := s.joiner
	s.joiner = nil
	if j != nil {
		j.Kill()
	}
	s.withoutLeaf()
	s.line.closePort()
	return func() {
		if j != nil {
			j.Close()
		}
	}
}

func (s *spare) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// goMakeSpare makes ready what the next command needs, should it be like this one.
func (z *zygote) goMakeSpare(c *command) {
	z.handlers.Add(1)
	go func() {
		defer z.handlers.Done()
		if c.box.fillSpare(c, c.plan) {
			z.keepSpare(c.box)
		}
		z.makeReady(c, c.plan) // if the command has ended meanwhile
	}()
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	// Without a PID namespace a job could name it.
	if joins := b.ownPIDs && p.Base != nil && launch.Mode(c.req.Launch.Mode) == launch.Join && c.req.Listen == nil; joins &&
		(s.joiner == nil || s.joiner.Base() != p.Base || !s.joiner.Alive()) {
		s.unready()
		s.withoutJoiner()
		if j, err := launch.NewJoiner(p.Base, b.pidfd); err == nil {
			s.joiner, made = j, true
		}
	}
	l := c.limits
	if c.leaf == nil || l.Memory > 0 && l.Memory < spareMemory || s.leaf != nil && reflect.DeepEqual(l, s.limits) {
		return made
	}
	s.unreadyLeaf()
	s.withoutLeaf()
	leaf, err := b.group.NewLeaf(leafName(b.leafSeq.Add(1)), l)
	if err != nil {
		return made // whoever needs one is told why there can be none
	}
	leaf.KeepOpen()
	s.leaf, s.limits = leaf, l
	return true
}

// makeReady makes the process of the next command, should it be like this one, whose processes are all gone.
func (z *zygote) makeReady(c *command, p *plan.Plan) {
	b, base := c.box, p.Base
	if b.group == nil || base == nil || c.req.Socket < 0 {
		return
	}
	b.limits.RLock()
	defer b.limits.RUnlock()
	s := &b.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.leaf == nil || s.ready != nil || s.armed != nil || s.joiner == nil || s.joiner.Base() != base || !b.empty() {
		return
	}
	files := append([]int{b.pidfd}, s.leaf.TasksFDs()...)
	if c.req.Ruleset {
		files = append(files, b.ruleset)
	}
	var port *launch.Port
	if c.req.Offer {
		port = s.line.nextPort()
	}
	s.ready, _ = s.joiner.Prepare(&launch.Request{Cgroup: b.unified(s.leaf), Flags: c.req.Launch.Flags}, plan.Reg(c.req.Socket), port, files)
	z.arm(b, c)
}

// empty tells whether nothing of any command is left. Who starts another one finds out that there is a process ready, or keeps it from being made.
func (b *box) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing || b.frozen || b.told || len(b.kept) > 0 {
		return false
	}
	for _, c := range b.commands {
		if !c.over {
			return false
		}
	}
	some, err := b.group.Populated()
	return err == nil && !some
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
