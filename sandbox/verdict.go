package sandbox

import (
	"fmt"
	"syscall"
	"time"
)

// Verdict is how a command ended, in one word. It comes from the kernel's own accounts,
// not from the exit status: a program that exits with 137 has exited, and one that the
// kernel killed for its memory is MemoryExceeded whatever its parent made of it.
//
// The zero Verdict is none of the constants: a result nobody has judged is not OK.
type Verdict int

const (
	// OK: the program exited with status 0. What failed inside it without its minding,
	// such as a child that ran out of memory, shows in Usage alone.
	OK Verdict = iota + 1
	// NonZeroExit: the program exited with another status.
	NonZeroExit
	// Signaled: a signal ended the program that belljar did not send: its own fault, its
	// own kill, or another process inside.
	Signaled
	// CPUTimeExceeded: the command used more CPU time than its limit.
	CPUTimeExceeded
	// WallTimeExceeded: the command still ran at its deadline.
	WallTimeExceeded
	// MemoryExceeded: the kernel killed processes of the command for lack of memory, and
	// the program did not end well.
	MemoryExceeded
	// OutputExceeded: the command wrote more than its limit.
	OutputExceeded
	// PidsExceeded: the kernel refused the command a process or thread for its limit, and
	// the program did not end well.
	PidsExceeded
	// DiskExceeded: the program did not end well, and when it ended a place that it may write to and
	// that the sandbox bounds was full, of bytes or of files: one in memory (/tmp, /box, /dev/shm, WithTmpfs, WithScratch), or one with a
	// quota (WithUpper with a size, volumes with one). That is what the kernel's statfs says at the end; it keeps no
	// count of writes that it refused. So it is missed where the command freed room before it ended, as compilers do that remove an
	// incomplete output; where what filled the place were files without a name, which go with the process; and where a single request
	// for more than was left took nothing. And it stands too where the place was full for another reason than this command, or the command failed
	// for another. A full disk of the host is no limit of the sandbox's. Nor
	// is it given where the job may mount (CAP_SYS_ADMIN).
	DiskExceeded
	// SyscallDenied: a process of the command made a system call that the filter kills for, which ended all of the command. A
	// SIGSYS of other origin, be it the program's own or that of a trap, is Signaled.
	SyscallDenied
	// Canceled: the context was done before the command was.
	Canceled
	// Killed: the caller ended the command or its sandbox by Kill, Restart or Close.
	Killed
)

var verdictNames = [...]string{
	OK:               "OK",
	NonZeroExit:      "non-zero exit",
	Signaled:         "signaled",
	CPUTimeExceeded:  "CPU time exceeded",
	WallTimeExceeded: "wall time exceeded",
	MemoryExceeded:   "memory exceeded",
	OutputExceeded:   "output exceeded",
	PidsExceeded:     "pids exceeded",
	DiskExceeded:     "disk exceeded",
	SyscallDenied:    "system call denied",
	Canceled:         "canceled",
	Killed:           "killed",
}

// String returns the verdict in words, such as "memory exceeded".
func (v Verdict) String() string {
	if v < OK || v > Killed {
		return fmt.Sprintf("verdict %d", int(v))
	}
	return verdictNames[v]
}

// MarshalText returns String, for JSON and the like.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote. Other text is an ErrInvalid.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, name := range verdictNames {
		if name != "" && name == string(text) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("verdict %q: %w", text, ErrInvalid)
}

// verdictFacts is all that a verdict is made of. The supervisor sets a flag only for what
// it did itself while the program had not yet been seen to end; the counts are the
// kernel's, read from the command's own cgroup after its last process was gone.
type verdictFacts struct {
	exited bool           // the program exited, with code
	code   int            // exit status if exited
	signal syscall.Signal // what ended it if not exited

	canceled bool // the context was done and the command was killed for it
	killed   bool // the caller's Kill, Restart or Close ended it
	wall     bool // killed at its deadline
	output   bool // it wrote more than its limit
	denied   bool // the supervisor ended it for a call that the filter kills for
	disk     bool // what it may write to was full

	oomGroup bool // running out of memory ends the whole command

	cpuUsed, cpuLimit  time.Duration // limit 0: none
	oomKills, pidsHits uint64
}

// decideVerdict judges a command. It is the only place that does.
//
// The order is that of certainty about what ended the program first. The caller's own act
// comes before all, then the filter, which ends the command at its first denied call, whichever process made it and however the program ended at that
// moment. Output and CPU time
// are counts that went past a limit and so hold whatever happened next; the deadline is a
// clock, and comes after them: a spinning program whose monitor was starved until the
// deadline has exceeded its CPU time. With a memory limit the first OOM kill ends the whole
// command; where the kernel leaves the rest of it alive (cgroup v1) the supervisor kills it,
// and what the program did until then does not count, or the verdict would be a matter of
// chance. Other OOM kills and refused forks are things a program can
// survive, so they are blamed only if it did not end well.
func decideVerdict(f verdictFacts) Verdict {
	switch {
	case f.killed:
		return Killed
	case f.canceled:
		return Canceled
	case f.denied:
		return SyscallDenied
	case f.output:
		return OutputExceeded
	case f.cpuLimit > 0 && f.cpuUsed > f.cpuLimit:
		return CPUTimeExceeded
	case f.wall:
		return WallTimeExceeded
	case f.oomGroup && f.oomKills > 0:
		return MemoryExceeded
	case f.exited && f.code == 0:
		return OK
	case f.oomKills > 0:
		return MemoryExceeded
	case f.pidsHits > 0:
		return PidsExceeded
	case f.disk:
		return DiskExceeded
	case f.exited:
		return NonZeroExit
	}
	return Signaled
}

// sigSys is SIGSYS, which not every operating system's syscall package has.
const sigSys = syscall.Signal(31)
