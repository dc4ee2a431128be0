// Package sandbox runs untrusted programs in sandboxes, from inside a Go program.
//
// [New] makes a sandbox: namespaces, a root and a cgroup of its own. [Sandbox.Command] prepares a command in it, as os/exec does, and a [Result] tells
// how it ended, by the kernel's accounts. Importing the package is enough: there is no daemon, no helper program and no image to install.
//
//	sb, err := sandbox.New(sandbox.WithMemory("50m"), sandbox.WithPids(20))
//	if err != nil {
//		return err // an *Error: stage, call, object, errno; Explain(err) has the remedy
//	}
//	defer sb.Close()
//	out, err := sb.Command("/bin/sh", "-c", "echo $$").Output(ctx)
//
// # The zygote
//
// The first New, or [Prepare], executes the program's own binary once more. That process, the zygote, is taken over by this package before
// main runs; it sets sandboxes up and starts commands in them, and everything ends with it, as it ends with the program. Package-level variables of the program are
// initialized in it as far as they come before this package, so keep side effects out of them, as everywhere.
//
// # Defaults
//
// Without options everything is closed: see [New]. Options are requirements, checked by New; [BestEffort] wraps one that may be given up, and
// [Sandbox.Report] says what holds. What is promised against a hostile program, and what is not, is in SECURITY.md.
//
// # Limits
//
// Options such as [WithMemory] limit the sandbox as a whole; [Limits], in [WithCPUTime] and its like or in [Cmd], limit each command. What
// a command leaves behind is killed when its first process ends.
//
// # Concurrency
//
// A Sandbox may be used from many goroutines, and commands of one run side by side. A [Cmd] is like one of os/exec: made, started and waited for once.
//
// # Where time goes
//
// [Report].Stages tells it of a sandbox's set-up and end, [Result.Stages] of a command, without anything being switched on. In an execution trace (runtime/trace) New, Clone, Close,
// Restart, Pool.Get, Start, Run and Wait are regions, every command is a task from its start to its end, and the stages, most of which are spent in the
// zygote, are logged there. In profiles (runtime/pprof) the goroutines of this package that stay have labels: "sandbox", its [WithName] or the pid of its PID 1; "command",
// the program; "belljar", what the goroutine is there for.
//
// Linux 5.14 or newer, amd64 and arm64; elsewhere New returns [ErrUnsupported].
package sandbox
