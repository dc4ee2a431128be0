//go:build linux

package launch

import (
	"sync"
	"sync/atomic"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// A new process must not keep the zygote's descriptors, of which there are ten for each sandbox that stands. To copy the table and to close what is in it would take
// milliseconds with a thousand of them. So the process shares the table until it takes one of its own, which ends where what it needs does: close_range(2) with CLOSE_RANGE_UNSHARE
// copies nothing from its first number on (Linux 5.11). What is needed is put at low numbers for as long: slots, which the zygote keeps for this.

const (
	slotsFrom = 16 // the first number
	slotsEach = 12 // of a set; whatever is below a set's end is copied along, so there are few
	setsMost  = 4
)

// slotSet are slots of one launch.
type slotSet struct {
	first int
	used  bool
}

var slots struct {
	sync.Mutex
	null int // what is at a slot that nobody uses
	sets []slotSet
}

// ReserveSlots keeps low descriptor numbers for launches, as far as nobody has them, and room for many launches at once. It is for a process that holds many descriptors, and comes before anything is
// launched.
func ReserveSlots() error {
	arenas.grow()
	slots.Lock()
	defer slots.Unlock()
	if slots.sets != nil {
		return nil
	}
	var err error
	if slots.null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	for set := range setsMost {
		s := slotSet{first: slotsFrom + set*slotsEach}
		for n := s.first; n < s.first+slotsEach; n++ {
			if got, err := unix.FcntlInt(uintptr(slots.null), unix.F_DUPFD_CLOEXEC, n); err != nil || got != n {
				if err == nil {
					_ = unix.Close(got)
				}
				s.used = true // by others
			}
		}
		if !s.used {
			slots.sets = append(slots.sets, s)
		}
	}
	return nil
}

// takeSlots returns the lowest set that is free, if it has room for n.
func takeSlots(n int) *slotSet {
	if n == 0 || n > slotsEach {
		return nil
	}
	slots.Lock()
	defer slots.Unlock()
	for i := range slots.sets {
		if s := &slots.sets[i]; !s.used {
			s.used = true
			return s
		}
	}
	return nil
}

// leave empties so many slots, from the first on, and gives the set back.
func (s *slotSet) leave(n int) {
	for i := range n {
		_ = dup3(slots.null, s.first+i)
	}
	slots.Lock()
	s.used = false
	slots.Unlock()
}

func dup3(from, to int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_DUP3, uintptr(from), uintptr(to), unix.O_CLOEXEC)
	if errno != 0 {
		return errno
	}
	return nil
}

// tableStep is the step with which the plan's process takes a table of its own, and the register of the number from which on it needs nothing.
func tableStep(p *plan.Plan) (at int, end plan.Reg) {
	steps := p.Child
	if p.Base != nil {
		steps = p.Base.Child
	}
	for i := range steps {
		if s := &steps[i]; s.Nr == unix.SYS_CLOSE_RANGE && s.Args[0].Kind == plan.FromReg {
			return i, plan.Reg(s.Args[0].Value)
		}
	}
	return -1, plan.None
}

// putFiles puts the request's descriptors into registers.
func (l *launch) putFiles(inputs []plan.Reg) {
	l.shareTable()
	for i, reg := range inputs {
		*l.reg(reg) = int64(l.Files[i])
	}
	if l.Started == nil && len(l.Plan.Parent) == 0 { // otherwise there are more to come
		l.setTable()
	}
}

// shareTable has the process share the table until it takes one of its own.
func (l *launch) shareTable() {
	l.tableAt, l.tableEnd = tableStep(l.Plan)
	l.shares = l.tableEnd != plan.None && l.Listen == nil
}

// looksThere tells whether the process may yet look into the table that it shares.
func (l *launch) looksThere() bool {
	return l.shares && l.busy() && atomic.LoadInt64(&l.ctl.progress) <= int64(l.tableAt)
}

// setTable moves what is in registers that the process reads to slots, if there are any, and tells it where that ends. At this moment a register that has a value has a
// descriptor.
func (l *launch) setTable() {
	if !l.shares {
		return
	}
	var high []*int64
	end := int64(slotsFrom)
	for r, used := range l.read() {
		if reg := l.reg(plan.Reg(r)); used && *reg >= slotsFrom {
			high, end = append(high, reg), max(end, *reg+1)
		}
	}
	if l.slots = takeSlots(len(high)); l.slots != nil {
		end = int64(l.slots.first + len(high))
		for i, reg := range high {
			to := l.slots.first + i
			if dup3(int(*reg), to) != nil {
				end = max(end, *reg+1) // it is no descriptor, as the process will find out
				continue
			}
			*reg = int64(to)
		}
		l.slotted = len(high)
	}
	atomic.StoreInt64(l.reg(l.tableEnd), end)
}

// read tells which registers the process's steps read.
func (l *launch) read() []bool {
	used := make([]bool, l.shape.regs)
	note := func(steps []plan.Step) {
		for i := range steps {
			for j := range steps[i].Args {
				if arg := &steps[i].Args[j]; arg.Kind == plan.FromReg && plan.Reg(arg.Value) != l.tableEnd {
					used[arg.Value] = true
				}
			}
		}
	}
	if l.Plan.Base != nil {
		note(l.Plan.Base.Child)
	}
	note(l.Plan.Child)
	return used
}

// leaveSlots gives back the launch's slots, later if its process may yet look into the table that it shares: then it has not come far, and cannot die yet.
func (l *launch) leaveSlots() {
	s, n := l.slots, l.slotted
	if s == nil {
		return
	}
	l.slots = nil
	if l.looksThere() {
		l.freed = func() { s.leave(n) }
		return
	}
	s.leave(n)
}
