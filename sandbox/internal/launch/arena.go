//go:build linux

package launch

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// Flags of a step as the walk reads them.
const (
	flagSoft = 1
	flagFork = 2
	flagWant = 4
)

// step is a plan.Step with every pointer made good. The assembly reads it by these names.
type step struct {
	nr      int64
	args    [6]uint64
	regMask uint64
	out     int64
	flags   uint64
	errnos  uint64
	skip    uint64
	want    int64
	store   uint64 // where the result goes as an int32; 0: nowhere
}

// cloneArgs is struct clone_args of <linux/sched.h>, as of Linux 5.7.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// control is the head of an arena: what the walk and its parent tell each other.
type control struct {
	done     uint32 // cleared by the kernel when the process execs or dies
	goOn     uint32 // CellGo
	pid      uint32 // CellPID
	pidfd    uint32
	clone    cloneArgs
	inner    cloneArgs // CellInner
	fullMask uint64
	oldMask  uint64
	steps    uintptr
	regs     uintptr
	nsteps   int64
	progress int64 // index of the step under way
	errno    int64 // of the step that ended the walk
	first    int64 // the step that what a cloner clones begins with

	iov [4]uint64 // of a process made ahead, see receive

	made uint32 // the first process, where it is a keeper that makes it

	// Of a cloner:
	stays uint32  // the walk does not end the process
	bell  uint32  // 1: there is a job
	ready uint32  // 1: it waits for one
	job   uintptr // the control block of what it is to clone
	call  uintptr // the arguments of clone3; 0: it is to walk on itself
}

// arena is memory outside the Go heap which the launched process reads and writes until its exec, whether it shares this process's memory or has but the region that all arenas lie in.
type arena struct {
	shape
	mem []byte
	ctl *control
	// held is set while a goroutine ends what a launch that was given up has left. The processes' own word, control.done, says nothing of
	// that goroutine, which reads and writes the arena after it.
	held atomic.Bool
	// freed, if set, is called when neither uses it any more.
	freed func()
}

// busy tells whether a process or a goroutine still uses it.
func (a *arena) busy() bool { return atomic.LoadUint32(&a.ctl.done) != 0 || a.held.Load() }

const (
	arenaAlign = 64
	smallArena = 128 << 10
	// littleArena is for the plans of reporters and joiners, which wait as long as a sandbox is idle.
	littleArena = 16 << 10
	// maxFree bounds how many of a size are kept that nobody uses.
	maxFree = 64
)

// pool keeps arenas of the usual size: mapping and faulting in one costs more than a launch's other work in the parent.
var pool arenaPool

type arenaPool struct {
	sync.Mutex
	free  []*arena
	spare []*arena // little ones
	stuck []*arena // their process has neither exec'd nor died: they belong to it until then
}

// reclaim takes back arenas whose process has come to an end since.
func (p *arenaPool) reclaim() {
	kept := p.stuck[:0]
	for _, a := range p.stuck {
		if a.busy() {
			kept = append(kept, a)
		} else {
			a.free()
		}
	}
	p.stuck = kept
}

func align(n int) int { return (n + arenaAlign - 1) &^ (arenaAlign - 1) }

// shape is where the parts of a plan lie in an arena.
type shape struct{ regs, stepsAt, dataAt, size int }

func shapeOf(p *plan.Plan) shape {
	regs, data := len(p.Regs), len(p.Data)
	if p.Base != nil {
		regs, data = regs+len(p.Base.Regs), data+len(p.Base.Data)
	}
	s := shape{regs: regs, stepsAt: regsAt + align(8*regs)}
	s.dataAt = s.stepsAt + align(p.Steps()*int(unsafe.Sizeof(step{})))
	s.size = s.dataAt + data + arenaAlign
	return s
}

var regsAt = align(int(unsafe.Sizeof(control{})))

func newArena(p *plan.Plan) (*arena, error) { return newArenaIn(p, grab) }

// newArenaIn writes a plan into memory of that much that it is given.
func newArenaIn(p *plan.Plan, grab func(size int) (*arena, error)) (*arena, error) {
	sh := shapeOf(p)
	a, err := grab(sh.size)
	if err != nil {
		return nil, err
	}
	a.write(sh, p)
	return a, nil
}

func (a *arena) write(sh shape, p *plan.Plan) {
	a.shape = sh
	c := a.ctl
	*c = control{fullMask: ^uint64(0)}
	c.done = 1
	c.regs = a.addr(regsAt)
	c.steps = a.addr(sh.stepsAt)
	c.nsteps = int64(p.Steps())
	for i := range sh.regs {
		*a.reg(plan.Reg(i)) = -1
	}
	steps := unsafe.Slice((*step)(unsafe.Pointer(&a.mem[sh.stepsAt])), p.Steps()+1)
	data := a.mem[sh.dataAt:]
	if p.Base != nil {
		steps, data = a.put(p.Base, steps, data)
	}
	a.put(p, steps, data)
}

// put writes a part of a plan into the arena and returns what is left of it.
func (a *arena) put(p *plan.Plan, steps []step, data []byte) ([]step, []byte) {
	for i := range p.Child {
		a.lower(&steps[i], &p.Child[i])
	}
	n := copy(data, p.Data)
	for _, r := range p.Relocs {
		*(*uintptr)(unsafe.Pointer(&a.mem[a.dataAt+int(r.At)])) = a.addr(a.dataAt + int(r.To))
	}
	return steps[len(p.Child):], data[n:]
}

func (a *arena) addr(off int) uintptr { return uintptr(unsafe.Pointer(&a.mem[0])) + uintptr(off) }

func (a *arena) reg(r plan.Reg) *int64 {
	return (*int64)(unsafe.Pointer(&a.mem[regsAt+8*int(r)]))
}

func (a *arena) regs() []int64 {
	out := make([]int64, a.shape.regs)
	for i := range out {
		out[i] = atomic.LoadInt64(a.reg(plan.Reg(i)))
	}
	return out
}

// lower turns a step of a plan into one with addresses.
func (a *arena) lower(l *step, s *plan.Step) {
	lower(l, s, func(off int64) uint64 { return uint64(a.addr(a.dataAt + int(off))) }, func(c int) uint64 { return uint64(a.cell(c)) })
}

// lower is that for whoever knows where data are and, unless cell is nil, cells.
func lower(l *step, s *plan.Step, data func(off int64) uint64, cell func(c int) uint64) bool {
	*l = step{nr: s.Nr, out: int64(s.Out), skip: uint64(s.Skip), want: s.Want}
	for i := range s.Args {
		arg := &s.Args[i]
		switch arg.Kind {
		case plan.Imm:
			l.args[i] = uint64(arg.Value)
		case plan.Data:
			l.args[i] = data(arg.Value)
		case plan.FromReg:
			l.args[i] = uint64(arg.Value)
			l.regMask |= 1 << i
		case plan.Control:
			if cell == nil {
				return false
			}
			l.args[i] = cell(int(arg.Value))
		}
	}
	if s.Stores {
		l.store = data(s.Store.Value)
	}
	if s.Soft {
		l.flags |= flagSoft
	}
	if s.Fork {
		l.flags |= flagFork
	}
	if s.HasWant {
		l.flags |= flagWant
	}
	for i, e := range s.Errnos {
		l.errnos |= uint64(e) << (16 * i)
	}
	return true
}

func (a *arena) cell(c int) uintptr {
	switch c {
	case plan.CellGo:
		return uintptr(unsafe.Pointer(&a.ctl.goOn))
	case plan.CellInner:
		return uintptr(unsafe.Pointer(&a.ctl.inner))
	default:
		return uintptr(unsafe.Pointer(&a.ctl.pid))
	}
}

func grab(size int) (*arena, error) {
	pool.Lock()
	pool.reclaim()
	if n := len(pool.free); n > 0 && size <= smallArena {
		a := pool.free[n-1]
		pool.free = pool.free[:n-1]
		pool.Unlock()
		return a, nil
	}
	pool.Unlock()
	return mapArena(max(size, smallArena))
}

// grabLittle is grab for what is short and stays for long.
func grabLittle(size int) (*arena, error) {
	if size > littleArena {
		return grab(size)
	}
	pool.Lock()
	if n := len(pool.spare); n > 0 {
		a := pool.spare[n-1]
		pool.spare = pool.spare[:n-1]
		pool.Unlock()
		return a, nil
	}
	pool.Unlock()
	return mapArena(littleArena)
}

// populate has all pages of an arena be there: one that a process in a job's cgroup were the first to touch would count as the job's.
func populate(mem []byte) {
	if unix.Madvise(mem, unix.MADV_POPULATE_WRITE) == nil { // Linux 5.14
		return
	}
	for i := 0; i < len(mem); i += os.Getpagesize() {
		mem[i] = 0
	}
}

func mapArena(size int) (*arena, error) {
	mem, err := arenas.take(size)
	if err != nil {
		return nil, err
	}
	populate(mem)
	return &arena{mem: mem, ctl: (*control)(unsafe.Pointer(&mem[0]))}, nil
}

// release gives the arena back, later if its process still uses it.
func (a *arena) release() {
	pool.Lock()
	defer pool.Unlock()
	if a.busy() {
		pool.stuck = append(pool.stuck, a)
		return
	}
	a.free()
}

func (a *arena) free() {
	if a.freed != nil {
		a.freed()
		a.freed = nil
	}
	switch {
	case len(a.mem) == smallArena && len(pool.free) < maxFree:
		pool.free = append(pool.free, a)
		return
	case len(a.mem) == littleArena && len(pool.spare) < maxFree:
		pool.spare = append(pool.spare, a)
		return
	}
	arenas.give(a.mem)
}
