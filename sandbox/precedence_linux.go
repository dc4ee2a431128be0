package sandbox

import (
	"os"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// precedence is what the scheduler goes by, as far as it is inherited (sched(7)).
type precedence struct {
	policy, priority, nice int
}

// ownPrecedence is that of this program's first thread. What cannot be found out is taken for the usual.
func ownPrecedence() (p precedence) {
	attr, err := unix.SchedGetAttr(os.Getpid(), 0)
	if err != nil {
		return precedence{}
	}
	return precedence{int(attr.Policy), int(attr.Priority), int(attr.Nice)}
}

// unlikeJobs has whatever this process, which has that precedence, makes be like any other on the machine: no job is a realtime process, which limits on CPUs do not hold, or put before others, because the host program is.
func (p precedence) unlikeJobs(a assembler) {
	const fifo, rr, resetOnFork = 1, 2, 0x40000000
	if p.policy == fifo || p.policy == rr || p.nice < 0 {
		a.Call(unix.SYS_SCHED_SETSCHEDULER, "sched_setscheduler", "process", plan.Zero, plan.Int(p.policy|resetOnFork), a.Words("{priority}", uint64(p.priority))).Tolerate()
	}
}
