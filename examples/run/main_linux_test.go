package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The test binary plays run itself, and what run runs: programs for which there is none on every machine.
const (
	playRun    = "BELLJAR_EXAMPLE_RUN"
	playVictim = "BELLJAR_EXAMPLE_VICTIM"
)

// patience bounds every wait. It is for hosts that emulate their CPU; nothing is expected to come near it.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(playVictim) != "" {
		os.Exit(victim(os.Getenv(playVictim)))
	}
	if os.Getenv(playRun) != "" {
		main()
	}
	// Orphans of run become this process's children, so that none gets away unseen.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	code := m.Run()
	if left := leftovers(); left != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

// victim makes a system call that the default filter denies, and says by its status what came of it.
func victim(name string) int {
	if name != "unshare" {
		return 99
	}
	switch err := unix.Unshare(unix.CLONE_NEWUSER); err {
	case unix.EPERM:
		return 3
	case nil:
		return 0
	}
	return 4
}

// leftovers names processes and mounts that outlived the tests.
func leftovers() string {
	var left []string
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		reap()
		left = left[:0]
		for _, p := range descendants(os.Getpid()) {
			left = append(left, p.String())
		}
		if len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "belljar") {
			left = append(left, line)
		}
	}
	return strings.Join(left, ", ")
}

// reap waits for children that are orphans of run's and have ended. Commands of exec.Cmd must have been waited for.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil)
		if err != nil || pid == 0 {
			return
		}
	}
}

// skip skips what this host cannot do, unless the environment says that it must.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("BELLJAR_MUST_WORK") == "1" {
		t.Fatal("not exercised: " + why)
	}
	t.Skip("not exercised: " + why)
}

// need skips the test if run cannot do with these flags what it can do for nobody on this host.
func need(t *testing.T, flags ...string) {
	t.Helper()
	if r := do(t, append(flags, "--", "/bin/true")...); r.code != 0 {
		r.mayLack(t)
		t.Fatalf("run %q: status %d: %s", flags, r.code, r.stderr)
	}
}

// mayLack skips the test if run could not do what it can do for nobody on this host.
func (r ran) mayLack(t *testing.T) {
	t.Helper()
	first, _, _ := strings.Cut(r.stderr, "\n")
	for _, why := range []string{"run: cgroup:", "unsupported", "User namespaces are refused"} {
		if r.code == exitRun && strings.Contains(r.stderr, why) {
			skip(t, first)
		}
	}
}

// ran is what came of run.
type ran struct {
	code           int
	stdout, stderr string
}

// program is run as a command, which ends after patience at the latest.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = "run"
	cmd.Env = append(os.Environ(), playRun+"=1")
	return cmd
}

func do(t *testing.T, args ...string) ran {
	t.Helper()
	return doWith(t, "", args...)
}

func doWith(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := program(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	_ = cmd.Run()
	require.NotNil(t, cmd.ProcessState)
	return ran{exitCode(cmd.ProcessState), out.String(), errs.String()}
}

// exitCode is as a shell has it.
func exitCode(s *os.ProcessState) int {
	if ws := s.Sys().(interface {
		Signaled() bool
	}); ws.Signaled() {
		return -1
	}
	return s.ExitCode()
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// proc is a process as /proc shows it.
type proc struct {
	pid, parent int
	name, state string
	start       string // in clock ticks: tells two processes of one number apart
}

func (p proc) String() string { return fmt.Sprintf("%d (%s) %s", p.pid, p.name, p.state) }

// readProc reads /proc/PID/stat; the name may contain anything, blanks and parentheses included.
func readProc(pid int) (proc, bool) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if err != nil || open < 0 || end < open {
		return proc{}, false
	}
	f := strings.Fields(string(b[end+1:]))
	parent, _ := strconv.Atoi(f[1])
	return proc{pid: pid, parent: parent, name: string(b[open+1 : end]), state: f[0], start: f[19]}, true
}

// descendants are the processes below one, without it.
func descendants(root int) []proc {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	below := map[int][]proc{}
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		if p, ok := readProc(pid); ok {
			below[p.parent] = append(below[p.parent], p)
		}
	}
	var found []proc
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		for _, p := range below[todo[0]] {
			found = append(found, p)
			todo = append(todo, p.pid)
		}
	}
	return found
}

// named returns the descendants of a process with that name.
func named(root int, name string) []proc {
	var found []proc
	for _, p := range descendants(root) {
		if p.name == name {
			found = append(found, p)
		}
	}
	return found
}

// gone tells whether a process has ended; one that only has not been waited for has.
func (p proc) gone() bool {
	now, ok := readProc(p.pid)
	return !ok || now.start != p.start || now.state == "Z" || now.state == "X"
}
