package seccomp

import (
	"fmt"
	"strconv"
	"syscall"
)

// Action is what happens to a call. The zero Action is none: a policy with it does not compile.
type Action uint32

// The values are the kernel's own (linux/seccomp.h, SECCOMP_RET_*).
const (
	// KillProcess ends the whole process with SIGSYS, which it cannot catch.
	KillProcess Action = 0x80000000
	// Trap sends the thread a SIGSYS it may catch.
	Trap Action = 0x00030000
	// Ask, by the kernel's name "notify", asks a supervisor that holds the filter's listener and waits for its answer. Where a filter was loaded without
	// a listener, or the listener is closed, the kernel answers ENOSYS.
	Ask Action = 0x7fc00000
	// Log lets the call through and writes it to the audit log.
	Log Action = 0x7ffc0000
	// Allow lets the call through.
	Allow Action = 0x7fff0000

	errnoAction Action = 0x00050000
	actionMask  Action = 0xffff0000
	// maxErrno is the greatest errno a kernel returns (include/linux/err.h); it cuts greater ones to this.
	maxErrno = 4095
)

// Linux's numbers of errors, which other systems number otherwise: policies can be made on any.
const (
	eperm  syscall.Errno = 1
	enosys syscall.Errno = 38
)

// Errno refuses the call with an error. Errors outside 0 to 4095 do not pass [Policy.Validate]; 0 makes the call seem to
// succeed without having been made.
func Errno(e syscall.Errno) Action {
	if e > maxErrno {
		e = 0xffff
	}
	return errnoAction | Action(e)
}

// Errno is the error an [Errno] action answers with.
func (a Action) Errno() (e syscall.Errno, ok bool) {
	return syscall.Errno(a &^ actionMask), a&actionMask == errnoAction
}

// String names the action: "allow", "errno 1", "kill process", "log", "notify", "trap".
func (a Action) String() string {
	switch a {
	case 0:
		return "no action"
	case KillProcess:
		return "kill process"
	case Trap:
		return "trap"
	case Ask:
		return "notify"
	case Log:
		return "log"
	case Allow:
		return "allow"
	}
	if e, ok := a.Errno(); ok {
		return "errno " + strconv.Itoa(int(e))
	}
	return "unknown action " + hex(uint64(a))
}

func (a Action) valid() bool {
	switch a {
	case KillProcess, Trap, Ask, Log, Allow:
		return true
	}
	e, ok := a.Errno()
	return ok && e <= maxErrno
}

func hex(v uint64) string { return fmt.Sprintf("%#x", v) }
