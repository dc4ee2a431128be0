//go:build linux

package launch

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// seed is the process that all first processes of joins come from. It is a copy of this process that has given back all memory but the walk's code and the arenas, so that a copy
// of it costs next to nothing.
//
// Whatever is in a job's cgroup before its exec shares its memory with none but its own first process, and never with this one. For the OOM killer takes everybody along who shares
// the memory of its victim (__oom_kill_process in mm/oom_kill.c), and a job chooses when it strikes. It does spare what it knows as a vfork (in_vfork in include/linux/sched/mm.h), but
// that ends a moment before the old memory is left, at the exec as at the death, and at once where the parent of the vfork is killed (wait_for_vfork_done in kernel/fork.c).
//
// A copy of it is there before anybody needs one, so that a launch waits for no clone but its own second process's.
type seed struct {
	mu    sync.Mutex
	p     *cloner
	next  *cloner // the copy, which may not be there yet
	steps *plan.Plan
}

// SeedName is what ps(1) calls the seed, and what is nothing else yet.
const SeedName = "belljar-seed"

var theSeed seed

// MakeSeed makes what the first launch would, while there is little memory to copy.
func MakeSeed() {
	theSeed.mu.Lock()
	defer theSeed.mu.Unlock()
	if theSeed.live() == nil { // a launch is told why there can be none
		theSeed.restock()
	}
}

// start has a process walk the plan of c from its first step on. If there can be none, err says why; otherwise the caller sees to its end.
func (s *seed) start(c *control) (*cloner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.ready()
	if p == nil {
		var err error
		if p, err = s.copy(); err != nil {
			return nil, err
		}
	}
	p.become(c)
	s.restock()
	return p, nil
}

// ready returns the copy that was to be there; nil: there is none.
func (s *seed) ready() *cloner {
	p := s.next
	if s.next = nil; p == nil {
		return nil
	}
	if !p.idle() {
		s.settle()
	}
	if p.begun() != nil {
		return nil // it was never made, or somebody has killed it
	}
	if p.gone() {
		p.end()
		return nil
	}
	return p
}

// settle returns when the seed is making nothing, or is no more: what it has been told to make is there by then, or never will be.
func (s *seed) settle() {
	if s.p != nil && (!s.p.awaitIdle(clonerPatience) || s.p.gone()) { // somebody has killed it
		s.drop()
	}
}

func (s *seed) drop() {
	s.p.end()
	s.p = nil
}

// restock has the seed make another copy, without waiting for it.
func (s *seed) restock() {
	if s.p == nil || !s.p.idle() || s.p.gone() || s.next != nil {
		return
	}
	if p, err := s.blank(); err == nil { // a launch is told why there can be none
		s.p.ring(p.arena.ctl, &p.arena.ctl.clone, 0)
		s.next = p
	}
}

// blank is a copy before it is made.
func (s *seed) blank() (*cloner, error) {
	if s.steps == nil {
		s.steps = stay(&plan.Plan{Exec: -1}, SeedName, os.Getpid())
	}
	a, err := newClonerArena(s.steps)
	if err != nil {
		return nil, err
	}
	a.ctl.clone = clonerArgs(a.ctl)
	return &cloner{arena: a, pidfd: -1}, nil
}

// copy makes one that is nothing yet.
func (s *seed) copy() (*cloner, error) {
	p, err := s.blank()
	if err != nil {
		return nil, err
	}
	c := p.arena.ctl
	for range 2 {
		if err := s.live(); err != nil {
			p.arena.done()
			return nil, err
		}
		s.p.ring(c, &c.clone, 0)
		s.settle()
		if atomic.LoadUint32(&c.pid) != 0 {
			return p, p.begun()
		}
		if errno := atomic.LoadInt64(&c.errno); errno != 0 {
			p.arena.done()
			return nil, fmt.Errorf("clone3: %w", errnoFrom(int(-errno)))
		}
	}
	p.arena.done()
	return nil, unix.EAGAIN
}

// end ends the seed and what is nothing yet.
func (s *seed) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.ready(); p != nil {
		p.end()
	}
	if s.p != nil {
		s.drop()
	}
}

// live makes the process, unless it lives.
func (s *seed) live() error {
	if s.settle(); s.p != nil {
		return nil
	}
	p, err := newSeed()
	if err == nil {
		s.p = p
	}
	return err
}

func newSeed() (*cloner, error) {
	steps, err := seedPlan(os.Getpid())
	if err != nil {
		return nil, err
	}
	a, err := newClonerArena(steps)
	if err != nil {
		return nil, err
	}
	c := a.ctl
	// It is made by a process that shares memory, of which the kernel forgets where the C library has it keep the number of its CPU (rseq(2)): that is memory it gives back.
	c.clone = cloneArgs{flags: unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_CLEAR_SIGHAND, exitSignal: uint64(unix.SIGCHLD)}
	c.inner = clonerArgs(c)
	family.seeding.Lock()
	first := onMother(func() int { return cloneWalk(c) })
	if first > 0 {
		reap(first)
	}
	family.seeding.Unlock()
	if first < 0 {
		a.done()
		return nil, fmt.Errorf("clone3: %w", errnoFrom(first))
	}
	p := &cloner{arena: a}
	return p, p.begun()
}

// seedPlan has a copy of this process give back its memory.
func seedPlan(parent int) (*plan.Plan, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	reserved, err := arenas.whole()
	if err != nil {
		return nil, err
	}
	kept, top := kernelMaps(maps)
	code := walkAddr() &^ (pageSize - 1)
	kept = append(kept, span{code, code + walkRoom}, reserved)
	b := plan.NewBuilder()
	b.Stage("seed")
	b.Call(unix.SYS_CLONE3, "clone3", "process", plan.Cell(plan.CellInner), plan.Int(int(unsafe.Sizeof(cloneArgs{})))).Fork = true
	for _, s := range between(kept, top) {
		b.Call(unix.SYS_MUNMAP, "munmap", "memory", plan.Int(int(s.from)), plan.Int(int(s.to-s.from)))
	}
	return stay(b.Plan(), SeedName, parent), nil
}

const (
	// walkRoom is the size of the code of a walk, and more; what else lies on its pages does no harm.
	walkRoom = 2 * pageSize
	// pageSize is the largest there is on the machines that this runs on: arm64 has pages of up to 64 kB.
	pageSize = 64 << 10
)

type span struct{ from, to uintptr }

// kernelMaps reads proc_pid_maps(5): what the kernel has mapped of its own, which may be sealed (CONFIG_MSEAL_SYSTEM_MAPPINGS, Linux 6.16), and where the memory of this process ends.
func kernelMaps(maps []byte) (own []span, top uintptr) {
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		from, to, _ := strings.Cut(fields[0], "-")
		a, err := strconv.ParseUint(from, 16, 64)
		b, err2 := strconv.ParseUint(to, 16, 64)
		if err != nil || err2 != nil || a>>63 != 0 { // vsyscall is above all of it
			continue
		}
		top = max(top, uintptr(b))
		if name := fields[len(fields)-1]; strings.HasPrefix(name, "[v") {
			own = append(own, span{uintptr(a), uintptr(b)})
		}
	}
	return own, top
}

// between returns what lies below top beside the spans.
func between(kept []span, top uintptr) (gaps []span) {
	slices.SortFunc(kept, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	at := uintptr(0)
	for _, k := range kept {
		if k.from > at {
			gaps = append(gaps, span{at, k.from})
		}
		at = max(at, k.to)
	}
	if top > at {
		gaps = append(gaps, span{at, top})
	}
	return gaps
}
