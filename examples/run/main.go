// Command run runs a program in a sandbox, with the flags and the manners of docker run.
//
//	run [FLAG…] [--] PROGRAM [ARG…]
//	run --plan [FLAG…]
//
// Its exit status is the program's; README.md has the others. Nothing of the sandbox outlives it.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	// A reader that went away must not end run before it has cleaned up: the write says EPIPE, and the program gets
	// the signal instead.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// command is main without the process, as far as that goes: signals and terminals are the process's own.
func command(args []string, stdin, stdout, stderr *os.File) int {
	r, err := parse(args)
	if err != nil {
		complain(stderr, "%v", err)
		fmt.Fprintln(stderr, "Try 'run --help'.")
		return exitRun
	}
	switch {
	case r.help:
		printHelp(stdout)
		return 0
	case r.version:
		fmt.Fprintln(stdout, "run", version())
		return 0
	case !r.runs() && !r.plan && !r.report:
		complain(stderr, "no program to run")
		fmt.Fprintln(stderr, "Try 'run --help'.")
		return exitRun
	}
	return run(r, stdin, stdout, stderr)
}

// complain writes a line to standard error.
func complain(stderr io.Writer, format string, args ...any) {
	fmt.Fprintf(stderr, "run: "+format+"\n", args...)
}

// version is that of the module the program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown version)"
}
