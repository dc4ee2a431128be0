package main

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/belljar-go/belljar/sandbox"
)

// Exit statuses of run's own. The first three are docker's; 124 is timeout(1)'s; the others are what a shell makes of the
// signal that the kernel's own limits send (SIGKILL, SIGXCPU, SIGXFSZ, SIGSYS).
const (
	exitRun           = 125 // run itself could not do it
	exitNotExecutable = 126
	exitNotFound      = 127

	exitWallTime = 124
	exitKilled   = 128 + 9 // for memory, or with the sandbox
	exitCPUTime  = 128 + 24
	exitOutput   = 128 + 25
	exitDenied   = 128 + 31
)

// startStatus is the exit status for a program that could not be started.
func startStatus(err error) int {
	var e *sandbox.Error
	switch {
	case !errors.As(err, &e) || e.Stage != "exec" || e.Op != "execve":
		return exitRun
	case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR):
		return exitNotFound
	case errors.Is(err, sandbox.ErrInvalid):
		return exitRun
	}
	return exitNotExecutable
}

// status is the exit status for a program that ran. PidsExceeded and DiskExceeded are verdicts on programs that ended by
// themselves, so those keep their status.
func status(r *sandbox.Result) int {
	switch r.Verdict {
	case sandbox.WallTimeExceeded:
		return exitWallTime
	case sandbox.MemoryExceeded, sandbox.Killed, sandbox.Canceled:
		return exitKilled
	case sandbox.CPUTimeExceeded:
		return exitCPUTime
	case sandbox.OutputExceeded:
		return exitOutput
	case sandbox.SyscallDenied:
		return exitDenied
	}
	if r.Signal != 0 {
		return 128 + int(r.Signal)
	}
	return r.ExitCode
}

// sayVerdict says in a line what the exit status alone does not tell. How a program ended by itself is its own affair.
func sayVerdict(stderr io.Writer, r *sandbox.Result) {
	switch r.Verdict {
	case sandbox.OK, sandbox.NonZeroExit, sandbox.Signaled:
		return
	}
	complain(stderr, "%v", r.Err())
}

// sayError says what went wrong in the sandbox, and what can be done about it.
func sayError(stderr io.Writer, err error) {
	complain(stderr, "%s", inFlags(err))
	if remedy := sandbox.Explain(err); remedy != "" {
		complain(stderr, "hint: %s", flagNames().Replace(remedy))
	}
}

// inFlags words the error of an option as one of the flag that made it.
func inFlags(err error) string {
	var e *sandbox.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	flag := flagNames().Replace(e.Op)
	if e.Stage != "options" || flag == e.Op {
		named := *e
		named.Op = flag
		return named.Error()
	}
	if e.Path != "" {
		flag += " " + strconv.Quote(e.Path)
	}
	return flag + ": " + flagNames().Replace(e.Err.Error())
}

// flagNames puts the names of flags in the place of those of the library's options.
func flagNames() *strings.Replacer {
	pairs := []string{"BestEffort", "--best-effort"}
	for _, f := range flags {
		if f.option != "" && !slices.Contains(pairs, f.option) {
			pairs = append(pairs, f.option, "--"+f.long)
		}
	}
	return strings.NewReplacer(pairs...)
}
