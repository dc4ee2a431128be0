package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/belljar-go/belljar/sandbox"
)

// run makes the sandbox, runs the program in it, and returns run's exit status.
func run(r *request, stdin, stdout, stderr *os.File) int {
	var term *terminal
	if r.tty {
		var err error
		if term, err = openTerminal(stdin); err != nil {
			complain(stderr, "-t: %v", err)
			return exitRun
		}
		defer term.restore() // also when this function panics
	}
	signals := catchSignals(term)
	defer signals.stop()
	if r.learn != "" && len(r.command) > 0 {
		return r.learnFrom(signals, term, stdin, stdout, stderr)
	}
	sb, err := sandbox.New(r.sandboxOptions(os.Getenv("TERM"))...)
	if err != nil {
		sayError(stderr, err)
		return exitRun
	}
	r.describe(sb, stdout, stderr)
	code := 0
	var res *sandbox.Result
	if r.runs() {
		code, res = r.execute(sb, signals, term, stdin, stdout, stderr)
	}
	if err := sb.Close(); err != nil {
		complain(stderr, "%v", err)
	}
	if res != nil && r.stats {
		printStats(stderr, res)
	}
	return code
}

// runs tells whether there is a program to run: an image has one, which --plan or --report alone do not run.
func (r *request) runs() bool {
	return len(r.command) > 0 || r.image != "" && !r.plan && !r.report
}

// describe prints what was asked for about the sandbox: to standard output if that is all there is to do, else out of
// the program's way. What was given up is always said.
func (r *request) describe(sb *sandbox.Sandbox, stdout, stderr io.Writer) {
	out := stderr
	if !r.runs() {
		out = stdout
	}
	report := sb.Report()
	if r.report {
		fmt.Fprint(out, report)
	} else {
		for _, g := range report.GivenUp {
			complain(stderr, "given up: %s: %s", flagNames().Replace(g.Option), g.Reason)
		}
	}
	if r.plan {
		fmt.Fprintln(out, strings.TrimRight(sb.Plan(), "\n"))
	}
}

// execute runs the program. The result is nil if it could not be started or waited for.
func (r *request) execute(sb *sandbox.Sandbox, signals *relay, term *terminal, stdin, stdout, stderr *os.File) (int, *sandbox.Result) {
	cmd := sb.Entrypoint()
	if len(r.command) > 0 {
		cmd = sb.Command(r.command[0], r.command[1:]...)
	}
	r.connect(cmd, term, stdin, stdout, stderr)
	if r.tty && r.stdin {
		if err := term.makeRaw(); err != nil {
			complain(stderr, "-t: %v", err)
			return exitRun, nil
		}
	}
	if err := cmd.Start(context.Background()); err != nil {
		term.restore()
		sayError(stderr, err)
		return startStatus(err), nil
	}
	signals.forward(sb, cmd)
	res, err := cmd.Wait()
	signals.ended()
	term.restore()
	switch {
	case res == nil:
		sayError(stderr, err)
		return exitRun, nil
	case err != nil && !errors.Is(err, syscall.EPIPE):
		complain(stderr, "copying: %v", err)
		return exitRun, res
	}
	sayVerdict(stderr, res)
	return status(res), res
}

// connect joins the program's streams to run's own. None of run's descriptors is handed over: a program that has one of a
// terminal can type into it (CVE-2017-5226), and one of a file can be opened again for more than it was opened for.
func (r *request) connect(cmd *sandbox.Cmd, term *terminal, stdin, stdout, stderr *os.File) {
	if r.stdin {
		cmd.Stdin = struct{ io.Reader }{stdin}
	}
	out := &struct{ io.Writer }{stdout}
	cmd.Stdout = out
	switch {
	case r.tty:
		size := term.size()
		cmd.TTY = &size
	case sameFile(stdout, stderr):
		cmd.Stderr = out // one pipe keeps the order of the two
	default:
		cmd.Stderr = &struct{ io.Writer }{stderr}
	}
}

func sameFile(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
