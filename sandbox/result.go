package sandbox

import (
	"strconv"
	"syscall"

	"github.com/belljar-go/belljar/seccomp"
)

// Result is how a command ended and what it used. It is complete: nothing of the command
// is left when there is one.
type Result struct {
	// Verdict sums up how the command ended.
	Verdict Verdict
	// ExitCode is the program's exit status, or -1 if a signal ended it.
	ExitCode int
	// Signal is the signal that ended the program, or 0 if it exited. It is SIGSYS where the filter did, as the kernel has it, although
	// the command is ended by SIGKILL.
	Signal syscall.Signal
	// Syscall is the system call for which the command was ended, with its arguments, if the verdict is SyscallDenied:
	// "ptrace(request=16, pid=1, addr=NULL, data=NULL)". Pointers are printed as numbers.
	Syscall string
	// Denied is the same as a value, or nil.
	Denied *seccomp.Call
	// Usage is what the program and all it started have used.
	Usage Usage
	// Truncated reports that standard output or standard error was cut at the limit.
	Truncated bool

	// cause is why the command was stopped from outside, for errors.Is: the context's
	// error if the verdict is Canceled.
	cause error
	// stages is where the time went, see Stages.
	stages stageTimes
}

// Err returns nil if the verdict is OK, and an [*ExitError] if it is another.
func (r *Result) Err() error {
	if r.Verdict == OK {
		return nil
	}
	return &ExitError{Result: r}
}

// ExitError is a result that is not OK, as an error. The sandbox has worked; it is the
// program that did not end well.
type ExitError struct {
	*Result
}

// Error returns the verdict and what belongs to it: "exit status 2", "signal 11
// (segmentation fault)", "memory exceeded", "system call denied: mount(…)".
func (e *ExitError) Error() string {
	switch e.Verdict {
	case NonZeroExit:
		return "exit status " + strconv.Itoa(e.ExitCode)
	case Signaled:
		return "signal " + strconv.Itoa(int(e.Signal)) + " (" + e.Signal.String() + ")"
	case SyscallDenied:
		if e.Syscall != "" {
			return e.Verdict.String() + ": " + e.Syscall
		}
	}
	return e.Verdict.String()
}

// Unwrap returns the context's error if the verdict is Canceled, and nil otherwise.
func (e *ExitError) Unwrap() error { return e.cause }
