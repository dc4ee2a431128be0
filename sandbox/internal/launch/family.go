//go:build linux

package launch

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// family knows the children of this process that it made itself.
//
// There are others: the first process of a command is a child of ours (CLONE_PARENT), so that with a clone(CLONE_PARENT) of its own it makes
// more of them. Nobody would wait for those; as zombies they would fill the host's process table and keep the PID namespace they are from,
// and with it the sandbox, from ever ending.
var family = struct {
	cloning sync.RWMutex // held for writing while strangers are looked for: no child is unknown then
	seeding sync.Mutex   // so is this. Who makes a seed has it, and may have cloning for reading already, which cannot be had twice while somebody waits to write
	mu      sync.Mutex
	own     map[int]int      // launched, not yet waited for
	active  map[*launch]bool // launches under way
}{own: map[int]int{}, active: map[*launch]bool{}}

func (l *launch) begin() {
	family.mu.Lock()
	family.active[l] = true
	family.mu.Unlock()
}

// finish ends the launch's own watch over its processes; p, if not nil, is left to the caller.
func (l *launch) finish(p *Process) {
	family.mu.Lock()
	defer family.mu.Unlock()
	if p != nil {
		family.own[p.PID]++
	}
	delete(family.active, l)
}

// clone makes the first process.
func (l *launch) clone() int {
	family.cloning.RLock()
	defer family.cloning.RUnlock()
	var pid int
	switch {
	case l.Listen != nil:
		pid = l.cloneApart()
	case l.seeded():
		var err error
		if l.seedling, err = theSeed.start(l.ctl); err != nil {
			return -int(errnoOf(err))
		}
		pid = int(l.seedling.arena.ctl.pid)
	case l.mourns == forever:
		pid = onMother(l.cloneThere)
	default:
		pid = l.cloneThere()
	}
	if pid > 0 && l.Mode != Direct {
		l.first.Store(int64(pid))
	}
	return pid
}

func known(pid int) bool {
	family.mu.Lock()
	defer family.mu.Unlock()
	if family.own[pid] > 0 {
		return true
	}
	for l := range family.active {
		if int(l.first.Load()) == pid || int(atomic.LoadUint32(&l.ctl.pid)) == pid {
			return true
		}
	}
	return false
}

// Wait is wait4(2) for the end of a process that was launched. Whoever launched it must wait for it in this way.
func Wait(pid int, ws *unix.WaitStatus, flags int, ru *unix.Rusage) (int, error) {
	if ws == nil {
		ws = new(unix.WaitStatus)
	}
	for {
		got, err := unix.Wait4(pid, ws, flags|unix.WALL, ru)
		if err == unix.EINTR || got == pid && stops(*ws) {
			continue
		}
		if got == pid || err == unix.ECHILD {
			family.mu.Lock()
			if family.own[pid]--; family.own[pid] <= 0 {
				delete(family.own, pid)
			}
			family.mu.Unlock()
		}
		return got, err
	}
}

// stops tells whether a status is that of a process which has not ended. It may have this process trace it (PTRACE_TRACEME), if its filter allows that, so that
// wait4(2) tells of its stops, unasked, as of ends. Each is told once.
func stops(ws unix.WaitStatus) bool { return !ws.Exited() && !ws.Signaled() }

// ReapStrangers waits for children that have ended and were not made by this package, and returns how many they were. It does not block. It sees only those
// that ended before any of our own that is still to be waited for, so that it has to be called again.
func ReapStrangers() int {
	family.cloning.Lock()
	defer family.cloning.Unlock()
	family.seeding.Lock()
	defer family.seeding.Unlock()
	for n := 0; ; n++ {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
		if err != nil || info.Signo == 0 {
			return n
		}
		pid := childOf(&info)
		if info.Code > cldDumped { // see stops; it would be in the way of those that come after it
			_ = unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG|unix.WALL, nil)
			continue
		}
		if known(pid) {
			return n
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG|unix.WALL, nil); err != nil {
			return n
		}
	}
}

// cldDumped is the last si_code of a child that has ended (CLD_DUMPED, sigaction(2)).
const cldDumped = 3

// childOf reads si_pid, which on 64-bit machines follows three ints and their padding (sigaction(2)).
func childOf(info *unix.Siginfo) int {
	return int(int32(binary.NativeEndian.Uint32((*[20]byte)(unsafe.Pointer(info))[16:])))
}
