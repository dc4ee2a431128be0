package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/seccomp"
)

func init() {
	parts["held"] = func([]string) { // ends, and another keeps that from being known
		c := exec.Command(victimPath)
		c.Env = []string{partEnv + "=holds " + strconv.Itoa(os.Getpid())}
		out, err := c.StdoutPipe()
		check(err)
		_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0) // for Yama
		check(c.Start())
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
			os.Exit(4)
		}
		os.Exit(3)
	}
	parts["holds"] = func(args []string) {
		runtime.LockOSThread()
		pid, err := strconv.Atoi(args[0])
		check(err)
		if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0); errno != 0 {
			check(errno)
		}
		say("held")
		sleep()
	}
}

// startedDirectly is how many commands the program has started itself.
func startedDirectly(sb *Sandbox) int {
	d := &sb.engine.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun
}

// offered returns the process that stands ready to be started by this program itself.
func offered(t testing.TB, sb *Sandbox) (pid int) {
	t.Helper()
	eventually(t, "an offer", func() bool {
		if pid = offeredNow(t, sb); pid == 0 {
			res, err := sb.Run(inTime(t), "/bin/true")
			require.NoError(t, err)
			require.NoError(t, res.Err())
			time.Sleep(time.Millisecond)
		}
		return pid != 0
	})
	return pid
}

// offeredNow is the process that stands ready for that; 0: there is none.
func offeredNow(t testing.TB, sb *Sandbox) (pid int) {
	t.Helper()
	d := &sb.engine.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.line == nil {
		return 0
	}
	o, _, err := d.look()
	require.NoError(t, err)
	return o.pid
}

// directly has a command started by this program itself, however often that takes.
func directly(t testing.TB, sb *Sandbox, name string, args ...string) (*Cmd, *Result) {
	t.Helper()
	for {
		offered(t, sb)
		before := startedDirectly(sb)
		cmd := sb.Command(name, args...)
		res, err := cmd.Run(inTime(t))
		require.NoError(t, err)
		if startedDirectly(sb) > before {
			return cmd, res
		}
	}
}

func limited(t testing.TB, opts ...Option) *Sandbox {
	t.Helper()
	return grouped(t, standing(t, append([]Option{WithMemory("256m"), WithPids(20)}, opts...)...))
}

// A command that this program has started itself is what one is that the zygote has started.
func TestDirectAlike(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	sb := grouped(t, standing(t, WithMemory("64m"), WithPids(20), WithBind(dir, "/dir")))
	for script, want := range map[string]func(*Result) bool{
		"exit 0":              func(r *Result) bool { return r.Verdict == OK },
		"exit 7":              func(r *Result) bool { return r.Verdict == NonZeroExit && r.ExitCode == 7 },
		"kill -9 $$":          func(r *Result) bool { return r.Verdict == Signaled && r.Signal == unix.SIGKILL },
		"kill -6 $$":          func(r *Result) bool { return r.Verdict == Signaled && r.Signal == unix.SIGABRT },
		"test \"$*\" = 'a b'": func(r *Result) bool { return r.Verdict == OK },
		"i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; exit 5": func(r *Result) bool { return r.ExitCode == 5 && r.Usage.CPU.Total > 0 },
		"sleep 1000 & exit 4":               func(r *Result) bool { return r.ExitCode == 4 && r.Usage.PeakPids == 2 },
		"sleep 0.0005; sleep 1000 & exit 2": func(r *Result) bool { return r.ExitCode == 2 && r.Usage.Wall >= 500*time.Microsecond },
		"sleep 0.05; exit 9":                func(r *Result) bool { return r.ExitCode == 9 && r.Usage.Wall >= 50*time.Millisecond },
		hog(60):                             func(r *Result) bool { return r.Verdict == MemoryExceeded },
	} {
		cmd, res := directly(t, sb, "/bin/sh", "-c", script, "x", "a", "b")
		assert.Truef(t, want(res), "%s: %+v", script, res)
		assert.Positive(t, cmd.PID(), script)
		assert.Positive(t, res.Usage.Wall, script)
		assert.Positive(t, res.Usage.PeakMemory, script)
		assert.Positive(t, res.Usage.PeakPids, script)
	}
	pid := offered(t, sb)
	cmd, _ := directly(t, sb, "/bin/true")
	if cmd.PID() != pid { // on a busy machine it took more than one
		t.Logf("offered %d, was %d", pid, cmd.PID())
	}
	// What it sees and may do.
	out := filepath.Join(dir, "out")
	look := func(direct bool) string {
		for {
			before := startedDirectly(sb)
			if direct {
				offered(t, sb)
			} else {
				_, err := sb.Stats() // takes back what is offered
				require.NoError(t, err)
			}
			c := sb.Command("/bin/sh", "-c", `exec >/dir/out; set -- /proc/[0-9]*; echo $A $# processes; pwd; ls -l /proc/self/fd | sed 's/.*[0-9] ->/->/'
				grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid|SigBlk|SigIgn|SigCgt|SigPnd|ShdPnd|Umask|Cpus_allowed:)' /proc/self/status; cat /proc/self/limits /proc/self/cgroup
				readlink /proc/self/ns/* /proc/self/root /proc/self/cwd`)
			c.Env, c.Dir = []string{"A=b c", "PATH=/bin:/usr/bin"}, "/tmp"
			res, err := c.Run(inTime(t))
			require.NoError(t, err)
			require.NoError(t, res.Err())
			if direct == (startedDirectly(sb) > before) {
				text, err := os.ReadFile(out)
				require.NoError(t, err)
				return regexp.MustCompile(`cgroup:\[\d+\]|/proc/\d+/fd|pipe:\[\d+\]`).ReplaceAllString(string(text), "")
			}
		}
	}
	require.NotEmpty(t, look(false))
	assert.Equal(t, look(false), look(true))

	offered(t, sb)
	_, err := sb.Run(inTime(t), "/no/such/program")
	require.ErrorIs(t, err, unix.ENOENT)
	offered(t, sb)
	_, err = sb.Run(inTime(t), "no-such-program")
	require.ErrorIs(t, err, unix.ENOENT)
	offered(t, sb)
	c := sb.Command("/bin/true")
	c.Dir = "/no/such/directory"
	_, err = c.Run(inTime(t))
	require.ErrorIs(t, err, unix.ENOENT)
}

// Commands that the zygote has to watch from their beginning, or for which something else was made, are not started so.
func TestNotDirect(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	for _, with := range []struct {
		name   string
		change func(*Cmd)
	}{
		{"memory", func(c *Cmd) { c.Limits.Memory = 64 << 20 }},
		{"pids", func(c *Cmd) { c.Limits.Pids = 3 }},
		{"extra", func(c *Cmd) { c.ExtraFiles = []*os.File{nil} }},
		{"keep", func(c *Cmd) { c.KeepLeftovers = true }}, // after which there are no offers
	} {
		offered(t, sb)
		before := startedDirectly(sb)
		c := sb.Command("/bin/sh", "-c", "exit 6")
		with.change(c)
		res, err := c.Run(inTime(t))
		require.NoError(t, err, with.name)
		assert.Equal(t, 6, res.ExitCode, with.name)
		assert.Equal(t, before, startedDirectly(sb), with.name)
	}
}

// What is offered is taken back when the sandbox is wanted for something else, and nobody notices that it was there.
func TestOfferTakenBack(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	gone := func(why string, pid int) {
		t.Helper()
		assert.True(t, isGone(pid), why)
		res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 8")
		require.NoError(t, err)
		assert.Equal(t, 8, res.ExitCode, why)
	}
	pid := offered(t, sb)
	eventually(t, "it is nobody's, so nobody is told of it", func() bool {
		s, err := sb.Stats()
		require.NoError(t, err)
		return s.Pids.Current == 0
	})
	gone("accounts", pid)

	pid = offered(t, sb)
	require.NoError(t, sb.Update(WithMemory("64m")))
	gone("limits", pid)
	_, res := directly(t, sb, "/bin/sh", "-c", hog(100))
	assert.Equal(t, MemoryExceeded, res.Verdict, "limits of now hold")

	pid = offered(t, sb)
	require.NoError(t, sb.Pause())
	assert.True(t, isGone(pid), "paused")
	require.NoError(t, sb.Resume())
	gone("resumed", pid)

	pid = offered(t, sb)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil { // on a slow machine another may be on its way
		require.ErrorIs(t, err, unix.ESRCH)
	}
	res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 8")
	require.NoError(t, err)
	assert.Equal(t, 8, res.ExitCode, "somebody has killed it")

	pid = offered(t, sb)
	cmd, finish := started(t, sb, "echo up; read line; exit 4", Limits{})
	if cmd.PID() != pid { // on a slow machine another may be on its way
		assert.True(t, isGone(pid), "another command takes it, or ends it")
	}
	assert.Equal(t, 4, finish().ExitCode)

	pid = offered(t, sb)
	require.NoError(t, sb.Close())
	assert.True(t, isGone(pid), "closed")
}

// A program that runs for longer is ended with its context, and with its sandbox, as others are.
func TestDirectCanceled(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	for _, after := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 30 * time.Millisecond} {
		offered(t, sb)
		ctx, cancel := context.WithCancel(inTime(t))
		time.AfterFunc(after, cancel)
		res, err := sb.Run(ctx, "/bin/sleep", "1000")
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		} else {
			assert.Equal(t, Canceled, res.Verdict)
		}
	}
	offered(t, sb)
	cmd := sb.Command("/bin/sleep", "1000")
	got := make(chan *Result, 1)
	go func() {
		res, err := cmd.Run(inTime(t))
		if err != nil { // it had not begun
			assert.ErrorIs(t, err, ErrClosed)
		}
		got <- res
	}()
	eventually(t, "it runs", func() bool {
		s, err := sb.Stats()
		return err == nil && s.Pids.Current > 0
	})
	require.NoError(t, sb.Close())
	if res := <-got; res != nil {
		assert.Equal(t, Killed, res.Verdict)
	}
}

// Whatever is done to a sandbox at the same time, each command that is reported has run, once.
func TestDirectRaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	file := filepath.Join(dir, "runs")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	require.NoError(t, os.Chmod(file, 0o666))
	sb := limited(t, WithBind(dir, "/runs"))
	rounds := 150
	if testing.Short() {
		rounds = 40
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for _, f := range []func(){
		func() { _, _ = sb.Stats() },
		func() { _ = sb.Update(WithPids(20 + rand.IntN(5))) },
		func() { _ = sb.Pause(); _ = sb.Resume() },
		func() { _, _ = sb.Run(inTime(t), "/bin/false") },
		func() { _, _ = sb.Command("/bin/echo").Output(inTime(t)) },
		func() {
			d := &sb.engine.direct
			if d.mu.TryLock() {
				if d.line != nil {
					if o, ok, _ := d.look(); ok {
						if p, ok := leaktest.Lookup(strconv.Itoa(o.pid)); ok && p.Name == launch.JoinerName {
							_ = unix.Kill(p.PID, unix.SIGKILL)
						}
					}
				}
				d.mu.Unlock()
			}
		},
	} {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.IntN(40)) * time.Millisecond):
					f()
				}
			}
		})
	}
	var runs atomic.Int64
	for i := range rounds {
		if i%10 == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		script := fmt.Sprintf("echo %d >>/runs/runs; %s echo out; exit %d", i, []string{"", "", "", "sleep 0.004;"}[i%4], i%7)
		c := sb.Command("/bin/sh", "-c", script)
		var out strings.Builder
		if i%2 == 0 {
			c.Stdout, c.Stdin = &out, strings.NewReader("in")
		}
		if i%3 == 0 {
			c.Limits.WallTime, c.Limits.CPUTime = time.Duration(i)*time.Hour+time.Hour, time.Hour
		}
		res, err := c.Run(inTime(t))
		if err != nil || res.Verdict == Signaled { // somebody has killed what it was to be
			continue
		}
		assert.Equal(t, i%7, res.ExitCode)
		assert.Equal(t, map[bool]string{true: "out\n"}[i%2 == 0], out.String())
		runs.Add(1)
	}
	close(stop)
	others.Wait()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := strings.Fields(string(text))
	seen := map[string]int{}
	for _, l := range lines {
		seen[l]++
		assert.Equal(t, 1, seen[l], l)
	}
	assert.GreaterOrEqual(t, len(lines), int(runs.Load()))
	t.Logf("%d of %d were started directly", startedDirectly(sb), rounds)
	require.NoError(t, sb.Close())
}

// The end of a program that another one in the sandbox keeps from being waited for, by tracing it, holds nobody up: it runs until that one has ended too.
func TestDirectTraced(t *testing.T) {
	t.Parallel()
	sb := limited(t, WithSeccomp(seccomp.Default().Allow("ptrace")), asVictim(t))
	o := claim(sb)
	e := sb.engine
	began := e.direct.monotonic()
	c := &commandSpec{path: victimPath, args: []string{victimPath}, env: []string{partEnv + "=held"}, dir: "/", whole: true}
	req, sent := o.start(e, c)
	require.True(t, sent)
	eventually(t, "it has ended", func() bool {
		p, ok := leaktest.Lookup(strconv.Itoa(o.pid))
		require.True(t, ok)
		return p.Zombie()
	})
	time.Sleep(20 * time.Millisecond) // for the zygote to hear of it
	ctx, cancel := context.WithCancel(inTime(t))
	p, err := e.followDirect(ctx, c, o, req, began, true)
	require.NoError(t, err)
	cancel()
	p.kill()
	x, err := p.wait()
	require.NoError(t, err)
	assert.True(t, x.killed)
	assert.Equal(t, 3, x.code)
	e.direct.mu.Unlock()
	res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 6")
	require.NoError(t, err)
	assert.Equal(t, 6, res.ExitCode)
}

// Who waits for an offer in vain does not wait again before there has been one.
func TestNoOffer(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("8m"))) // for which nothing is made ahead
	for range 8 {
		res, err := sb.Run(inTime(t), "/bin/true")
		require.NoError(t, err)
		require.NoError(t, res.Err())
	}
	d := &sb.engine.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	assert.Zero(t, d.begun)
	assert.True(t, d.vain)
}

// A zygote that dies takes what it has offered with it, and its death is told.
func TestDirectZygoteDies(t *testing.T) {
	sb := limited(t)
	pid := offered(t, sb)
	killZygote(t)
	_, err := sb.Run(inTime(t), "/bin/true")
	require.ErrorIs(t, err, ErrClosed)
	eventually(t, "gone", func() bool { leaktest.ReapOrphans(); return unix.Kill(pid, 0) == unix.ESRCH })
	newBox(t) // a zygote that sweeps
}

// Who waits for commands that this program starts itself costs nothing while there are none.
func TestOfferIsIdle(t *testing.T) {
	sb := limited(t)
	offered(t, sb)
	time.Sleep(50 * time.Millisecond) // what is made for the next command is made
	switches := func() (n int) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", sb.engine.z.pid))
		require.NoError(t, err)
		require.NotEmpty(t, tasks)
		for _, f := range tasks {
			b, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			for _, line := range strings.Split(string(b), "\n") {
				var k int
				if _, err := fmt.Sscanf(line, "voluntary_ctxt_switches: %d", &k); err == nil {
					n += k
				}
			}
		}
		return n
	}
	eventually(t, "a moment in which nobody wakes up", func() bool { // the zygote has other things to do now and then
		before := switches()
		time.Sleep(300 * time.Millisecond)
		return switches()-before <= 12
	})
}
