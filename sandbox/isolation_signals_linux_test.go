package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Nothing that a program leaves behind outlives it, however it hides.
func TestNothingSurvivesItsCommand(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for name, script := range map[string]string{
		"background":   "sleep 1000 & sleep 1000 &",
		"setsid":       "setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' & sleep 0.05",
		"double fork":  "(setsid sh -c '(trap \"\" TERM HUP INT QUIT; sleep 1000 &) &' &) & sleep 0.05",
		"stopped":      "sleep 1000 & kill -STOP $!",
		"ignoring":     "sh -c 'trap \"\" TERM HUP INT QUIT USR1; while :; do sleep 1; done' & sleep 0.05",
		"orphan storm": "i=0; while [ $i -lt 40 ]; do (setsid sleep 1000 &) & i=$((i+1)); done; wait",
	} {
		out, res := try(t, sb, script)
		assert.Equal(t, OK, res.Verdict, "%s: %s", name, out)
		assert.Equal(t, "1", sh(t, sb, "kill -CONT -1 2>/dev/null; n=0; for d in /proc/[0-9]*; do case ${d#/proc/} in $$) ;; *) n=$((n+1));; esac; done; echo $n"), name)
	}
}

func TestLeftoversThatMayStay(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t))
	c := sb.Command("/bin/sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")
	c.KeepLeftovers = true
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict)
	eventually(t, "the leftover is seen", func() bool { out, _ := try(t, sb, "cat /proc/*/comm"); return strings.Contains(out, "sleep") })
	sh(t, sb, "true")
	assert.Contains(t, sh(t, sb, "cat /proc/*/comm"), "sleep", "it stays beside other commands")
	pid := hostPIDs(sb)
	require.NotEmpty(t, pid)
	require.NoError(t, sb.Close())
	for _, p := range pid {
		assert.ErrorIs(t, syscall.Kill(p, 0), syscall.ESRCH)
	}
}

// hostPIDs lists the processes of a sandbox as the host numbers them.
func hostPIDs(sb *Sandbox) []int {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", sb.PID()))
	if err != nil {
		return []int{sb.PID()}
	}
	var list []int
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		var pid int
		if n, _ := fmt.Sscan(d.Name(), &pid); n == 1 {
			if ns, err := os.Readlink("/proc/" + d.Name() + "/ns/pid"); err == nil && ns == own {
				list = append(list, pid)
			}
		}
	}
	return list
}

// A job that kills or stops all it can reach hurts itself only.
func TestSignalsStayInside(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]Option{"job": nil, "root": {WithCredential(0, 0)}} {
		sb := standing(t, opts...)
		for _, sig := range []string{"KILL", "STOP", "TERM", "SEGV"} {
			c := sb.Command("/bin/sh", "-c", fmt.Sprintf("kill -%s -1; kill -%s 1; kill -%s 0; sleep 1000", sig, sig, sig))
			c.Limits.WallTime = 500 * time.Millisecond
			res, err := c.Run(inTime(t))
			require.NoError(t, err)
			assert.Contains(t, []Verdict{Signaled, WallTimeExceeded}, res.Verdict, "%s %s", name, sig)
			assert.Equal(t, "alive", sh(t, sb, "echo alive"), name)
			assert.Equal(t, Running, sb.State())
		}
	}
}

// A program starts with default dispositions and an empty mask, whatever the host program has set.
func TestSignalsAreReset(t *testing.T) {
	signal.Ignore(unix.SIGCHLD, unix.SIGPIPE, unix.SIGUSR2, unix.SIGTERM)
	defer func() {
		// Reset alone leaves them ignored: the runtime sets its handler again only for a signal that is asked for.
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGCHLD, unix.SIGPIPE, unix.SIGUSR2, unix.SIGTERM)
		signal.Reset(unix.SIGCHLD, unix.SIGPIPE, unix.SIGUSR2, unix.SIGTERM)
	}()
	out, err := standing(t).Command("/bin/cat", "/proc/self/status").Output(inTime(t))
	require.NoError(t, err)
	for _, set := range []string{"SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"} {
		assert.Contains(t, string(out), set+":\t"+noCaps, set)
	}
	host, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	assert.NotContains(t, string(host), "SigIgn:\t"+noCaps, "control: the host program does ignore signals")
}

// The ways to end with 137, or by SIGKILL, are told apart.
func TestEndsAreToldApart(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	res := func(script string) *Result { _, r := try(t, sb, script); return r }
	r := res("exit 137")
	assert.Equal(t, []any{NonZeroExit, 137, syscall.Signal(0)}, []any{r.Verdict, r.ExitCode, r.Signal})
	r = res("kill -9 $$")
	assert.Equal(t, []any{Signaled, -1, syscall.SIGKILL}, []any{r.Verdict, r.ExitCode, r.Signal})
	r = res("sh -c 'kill -9 $$'; exit $?")
	assert.Equal(t, []any{NonZeroExit, 137, syscall.Signal(0)}, []any{r.Verdict, r.ExitCode, r.Signal})
	r = res("kill -ABRT $$")
	assert.Equal(t, []any{Signaled, syscall.SIGABRT}, []any{r.Verdict, r.Signal})
	c := sb.Command("/bin/sleep", "1000")
	c.Limits.WallTime = 50 * time.Millisecond
	r, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, []any{WallTimeExceeded, syscall.SIGKILL}, []any{r.Verdict, r.Signal})
}

// Typing into the terminal one was started from is how su and others were escaped (CVE-2017-5226). There is nothing to type into: the
// job has a session of its own, and TIOCSTI is filtered.
func TestTerminalOfTheHost(t *testing.T) {
	t.Parallel()
	needsTool(t, "/usr/bin/perl")
	const sti = `perl -e 'require "sys/ioctl.ph" if 0; my $c = "x"; print ioctl(STDIN, 0x5412, $c) ? "typed" : "$!"'`
	var out bytes.Buffer
	run := func(sb *Sandbox) string {
		out.Reset()
		c := sb.Command("/bin/sh", "-c", sti)
		c.TTY, c.Stdout = &WindowSize{Rows: 24, Cols: 80}, &out
		_, err := c.Run(inTime(t))
		require.NoError(t, err)
		return out.String()
	}
	assert.Contains(t, run(standing(t)), "Operation not permitted")
	if b, err := os.ReadFile("/proc/sys/dev/tty/legacy_tiocsti"); err == nil && strings.TrimSpace(string(b)) == "0" {
		t.Log("not exercised: dev.tty.legacy_tiocsti is 0, so that the kernel refuses by itself")
	} else {
		assert.Contains(t, run(standing(t, openPolicy())), "typed", "control")
	}
	assert.Equal(t, "1 1", sh(t, standing(t), "set -- $(cut -d' ' -f5,6 /proc/self/stat); echo $(($1 == $$)) $(($2 == $$))"), "a group and session of its own")
}

// Without a PID namespace the end of a command is the end of its cgroup.
func TestNothingSurvivesWithHostPIDs(t *testing.T) {
	t.Parallel()
	needRoot(t)
	sb := standing(t, WithHost(namespace.PID))
	var out bytes.Buffer
	c := sb.Command("/bin/sh", "-c", "setsid sleep 1000 >/dev/null & echo $!; exit 0")
	c.Stdout = &out
	_, err := c.Run(inTime(t))
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(out.String(), &pid)
	require.NoError(t, err)
	eventually(t, "it is dead", func() bool { return dead(pid) })
	c = sb.Command("/bin/sh", "-c", "setsid sleep 1000 & sleep 1000")
	require.NoError(t, c.Start(inTime(t)))
	require.NoError(t, sb.Close())
	_, err = c.Wait()
	require.NoError(t, err)
}

// A job's first process is a child of the zygote, and so are those that it makes with CLONE_PARENT. They are killed like all others, and somebody
// waits for them: the host keeps no zombie, and PID 1 can end.
func TestChildrenOfTheZygote(t *testing.T) {
	t.Parallel()
	needsTool(t, "/usr/bin/perl")
	sb, err := New(WithPID())
	require.NoError(t, err)
	const attack = `exec perl -e '$| = 1; unlink "/tmp/n"; for (1..10) { my $p = syscall(%d, %d, 0, 0, 0, 0); if ($p == 0) { print "parent ", getppid, "\n"; open F, ">>", "/tmp/n"; syswrite F, "x"; sleep 1000 if %d; exit 0 } }
		select(undef, undef, undef, 0.01) until (-s "/tmp/n" || 0) == 10; sleep 1000 if $ARGV[0]' `
	for _, stay := range []int{0, 1} {
		out, _ := try(t, sb, fmt.Sprintf(attack, unix.SYS_CLONE, unix.CLONE_PARENT|int(unix.SIGCHLD), stay))
		assert.Equal(t, 10, strings.Count(out, "parent 0"), "control: their parent is outside: "+out)
	}
	c := sb.Command("/bin/sh", "-c", fmt.Sprintf(attack, unix.SYS_CLONE, unix.CLONE_PARENT|int(unix.SIGCHLD), 1)+" stay")
	require.NoError(t, c.Start(inTime(t)))
	require.NoError(t, sb.Close(), "with some of them alive")
	_, err = c.Wait()
	require.NoError(t, err)
	z, err := currentZygote()
	require.NoError(t, err)
	eventually(t, "the zygote has no child called perl", func() bool { return !hasChild(z.pid, "perl") })
}

// hasChild looks for a child by name, a zombie as well.
func hasChild(parent int, name string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		_, rest, found := strings.Cut(string(b), " ("+name+") ")
		if fields := strings.Fields(rest); found && fields[1] == fmt.Sprint(parent) {
			return true
		}
	}
	return false
}

// dead tells whether a process has ended; whose init does not reap it remains as a zombie.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}
