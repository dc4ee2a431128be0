//go:build linux

package zygote

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// cpus is how many CPUs a job can use at once.
var cpus = runtime.NumCPU()

// groups makes the cgroups of sandboxes, below one of this process's own in each parent.
type groups struct {
	mu     sync.Mutex
	places map[string]*groupPlace // by the parent as it was named; "" is where Base finds one
	lesser []*cgroup.Owner        // of sandboxes that need less than places[""] has
	noted  *cgroup.Owner          // see noting
	lost   bool                   // noted is no place for processes any more
	number int
	host   int             // the host program
	begun  time.Time       // when this process was
	asides []*cgroup.Aside // where it stepped aside for its sandboxes, with this process
}

// groupPlace is a group of this process's. That in a parent which a caller named goes with the last sandbox there; the other stays.
type groupPlace struct {
	owner *cgroup.Owner
	boxes int
	// ceiling is what the groups above allow, as of a moment ago.
	ceiling cgroup.Limits
	seen    time.Time
}

// sweepAgain is when a young process sweeps once more, and sweepLast on a host so busy that it takes longer. What the one before it had ready for commands shares that one's descriptors, and so keeps its lock for the moment
// that it takes to die.
const (
	sweepAgain = time.Second
	sweepLast  = 15 * time.Second
)

// ceilingAge is how old what is known of the limits above may be. It is only for a note, and costs as much as a part of the set-up.
const ceilingAge = 5 * time.Second

// beyond tells which limits are above those that hold in the named parent anyway.
func (g *groups) beyond(named string, l cgroup.Limits) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.places[named]
	if p == nil || len(l.Fields()) == 0 {
		return nil
	}
	if time.Since(p.seen) > ceilingAge {
		p.ceiling, p.seen = p.owner.Parent().Ceiling(), time.Now()
	}
	return l.Beyond(p.ceiling)
}

// enter returns the group below which those of the named parent are made. Whoever enters leaves again.
func (g *groups) enter(named string, need cgroup.Controllers) (*cgroup.Owner, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.places[named]
	if p != nil && named == "" && p.owner.Parent().Controllers().Has(need) {
		p.boxes++
		return p.owner, nil
	}
	// What is true of a caller's group can change: it is looked at each time.
	base, err := g.roomAt(named, need)
	if err != nil {
		return nil, err
	}
	if p != nil && named == "" { // found for sandboxes that needed less
		g.lesser = append(g.lesser, p.owner)
		p = nil
	}
	if p == nil {
		// What programs that are gone have left is removed before something is added to it.
		left := base
		if named == "" {
			left = withNoted(base)
		}
		_, _ = cgroup.SweepBase(left)
		if time.Since(g.begun) < sweepAgain {
			for _, later := range []time.Duration{sweepAgain, sweepLast} {
				time.AfterFunc(later, func() { _, _ = cgroup.SweepBase(left) })
			}
		}
		owner, err := cgroup.NewOwner(base, os.Getpid(), cgroup.Options{Number: g.number})
		if err != nil {
			return nil, err
		}
		g.number++
		p = &groupPlace{owner: owner}
		if g.places == nil {
			g.places = map[string]*groupPlace{}
		}
		g.places[named] = p
	}
	p.boxes++
	return p.owner, nil
}

// roomAt steps aside where the host program and this process are all that keeps a group of v2 from handing controllers down.
func (g *groups) roomAt(named string, need cgroup.Controllers) (cgroup.Parent, error) {
	base, err := parentAt(named, need)
	if err == nil || !errors.Is(err, unix.EBUSY) || os.Getppid() != g.host {
		return base, err
	}
	h, failed := cgroup.Detect()
	if failed != nil {
		return base, err
	}
	aside, failed := h.MoveAside(named, g.host, need)
	if failed != nil {
		if errors.Is(failed, unix.EBUSY) { // it says who is in the way
			err = failed
		}
		return base, err
	}
	if base, err = parentAt(named, need); err != nil {
		_ = aside.Return()
		return base, err
	}
	g.asides = append(g.asides, aside)
	return base, nil
}

// noting gives the group of v2 that commands are in or below, but for those in a group of the caller's: this process's in the usual place or, where that is all of v1, one that is made in v2 for nothing else, and taken away again
// by undo. It is always one of this process's own: nobody else is to be bothered by what is attached to it.
func (g *groups) noting() (dir string, undo func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.places[""]
	if p == nil {
		return "", nil, errNotYet
	}
	if dir := unifiedDir(p.owner.Parent().Dirs); dir != "" {
		return dir, func() {}, nil
	}
	h, err := cgroup.Detect()
	if err != nil {
		return "", nil, err
	}
	own, ok := h.Unified()
	if !ok {
		return "", nil, unix.ENOENT
	}
	owner, err := cgroup.NewOwner(own, os.Getpid(), cgroup.Options{Number: g.number})
	if err != nil {
		return "", nil, err
	}
	g.number++
	g.noted = owner
	return owner.Parent().Dirs[0].Path, g.unnote, nil
}

func (g *groups) unnote() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.noted != nil {
		_ = g.noted.Close()
		g.noted = nil
	}
}

// notedFD is the directory of the group that noting has made; -1: it has made none, or it is lost.
func (g *groups) notedFD() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.noted == nil || g.lost {
		return -1
	}
	return g.noted.FD()
}

// noNote is told that no process gets into that group, which whoever owns the one above may have removed. It stays open, as sandboxes have the descriptor's number.
func (g *groups) noNote() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost = true
}

// unifiedDir is the path of the directory that is of v2; "": there is none.
func unifiedDir(dirs []cgroup.Dir) string {
	for _, d := range dirs {
		if d.Version == 2 {
			return d.Path
		}
	}
	return ""
}

// withNoted is a place where programs that are gone have left their groups, with that of v2 where they may have left one too.
func withNoted(base cgroup.Parent) cgroup.Parent {
	if unifiedDir(base.Dirs) != "" {
		return base
	}
	if h, err := cgroup.Detect(); err == nil {
		if own, ok := h.Unified(); ok {
			base.Dirs = append(base.Dirs[:len(base.Dirs):len(base.Dirs)], own.Dirs...)
		}
	}
	return base
}

func parentAt(named string, need cgroup.Controllers) (cgroup.Parent, error) {
	h, err := cgroup.Detect()
	if err != nil {
		return cgroup.Parent{}, err
	}
	if named == "" {
		return h.Base(need)
	}
	return h.ParentAt(named, need)
}

// enterShown is enter for a sandbox whose commands may want to see their groups. What more that takes on v1 is no requirement.
func (g *groups) enterShown(req *wire.Group, need cgroup.Controllers, o *cgroup.Options) (*cgroup.Owner, error) {
	if o.Shown = req.Shown; o.Shown {
		if h, err := cgroup.Detect(); err == nil {
			if owner, err := g.enter(req.Parent, need|h.ShownOnV1()); err == nil {
				return owner, nil
			}
		}
	}
	return g.enter(req.Parent, need)
}

func (g *groups) leave(named string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.places[named]
	if p == nil {
		return
	}
	if p.boxes--; p.boxes == 0 && named != "" && p.owner.Close() == nil {
		delete(g.places, named)
	}
}

// needs are the controllers that a group takes.
func needs(req *wire.Group) cgroup.Controllers {
	need := req.Limits.Controllers()
	if req.IO {
		need |= cgroup.IOController
	}
	return need
}

// standing tells whether there is a place for such a group already, so that nobody has to be moved for it.
func (g *groups) standing(req *wire.Group) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.places[req.Parent]
	return req.Parent == "" && p != nil && p.owner.Parent().Controllers().Has(needs(req)) // what is true of a caller's can change
}

// make makes a sandbox's group; when that has been deleted, leave is to be called. Where there can be none and none is required, that is only noted.
func (g *groups) make(name string, req *wire.Group, a *wire.Answer) (_ *cgroup.Manager, leave func(), err error) {
	need, o := needs(req), cgroup.Options{Trace: failNth(req)}
	if req.IO {
		o.Accounts = cgroup.DefaultAccounts | cgroup.IOController
	}
	owner, err := g.enterShown(req, need, &o)
	if err != nil {
		return nil, nil, g.without(req, a, err)
	}
	leave = func() { g.leave(req.Parent) }
	m, err := owner.New(name, req.Limits, o)
	if err != nil {
		leave()
		return nil, nil, g.without(req, a, err)
	}
	const tracked = cgroup.MemoryController | cgroup.CPUAcctController | cgroup.PidsController
	if m.Missing()&tracked == tracked {
		// Such a group counts nothing and has no members to kill.
		_ = m.Delete()
		leave()
		return nil, nil, g.without(req, a, errNoController)
	}
	a.CPU = !m.Missing().Has(cgroup.CPUAcctController)
	a.Notes = append(append(a.Notes, m.Notes()...), g.beyond(req.Parent, req.Limits)...)
	if missing := m.Missing(); missing != 0 {
		a.Notes = append(a.Notes, "cgroup: not available here: "+missing.String())
	}
	return m, leave, nil
}

// countTasks is how many v1 hierarchies a command of the group enters by writing to a tasks file.
func countTasks(m *cgroup.Manager) int {
	n := 0
	if m != nil {
		for _, d := range m.Describe().Dirs {
			if d.Version == 1 {
				n++
			}
		}
	}
	return n
}

var errNoController = fmt.Errorf("no controller can be used by this user: %w", errors.ErrUnsupported)

func (g *groups) without(req *wire.Group, a *wire.Answer, err error) error {
	if req.Required {
		return err
	}
	a.Notes = append(a.Notes, "no cgroup: "+err.Error())
	return nil
}

// failNth makes one operation fail, for tests of the rollback.
func failNth(req *wire.Group) func(cgroup.Op) error {
	if req.Fail == 0 {
		return nil
	}
	n := 0
	return func(op cgroup.Op) error {
		if n++; n == req.Fail {
			return &cgroup.Error{Op: op.Call, Path: op.Path, Data: op.Data, Err: req.Errno}
		}
		return nil
	}
}

func (g *groups) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.places {
		_ = p.owner.Close()
	}
	for _, o := range g.lesser {
		_ = o.Close()
	}
	if g.noted != nil {
		_ = g.noted.Close()
	}
	g.places, g.lesser = nil, nil
	for _, a := range g.asides {
		_ = a.Return()
	}
	// Another zygote may have stepped aside with the host program, and been killed.
	if h, err := cgroup.Detect(); err == nil && len(g.asides) == 0 {
		if a := h.FindAside(g.host); a != nil {
			_ = a.Return()
		}
	}
}

// boxName is unique within this process.
func boxName(id uint64, name string) string {
	if name == "" {
		return fmt.Sprintf("sandbox-%d", id)
	}
	return fmt.Sprintf("sandbox-%d-%s", id, name)
}

// groupKill says that the kernel kills a single process of the command where memory runs out, and the rest has to be killed here: v1 has no
// memory.oom.group.
func (c *command) groupKill() bool {
	return c.leaf != nil && c.box.limits.oomGroup.Load() && !c.box.group.KillsWholeLeaf()
}

func (c *command) oomKilled() bool {
	n, err := c.leaf.OOMKills()
	return err == nil && n > 0
}

var errNoGroup = fmt.Errorf("the sandbox has no cgroup: %w", errors.ErrUnsupported)

func soon() time.Time { return time.Now().Add(endPatience) }
