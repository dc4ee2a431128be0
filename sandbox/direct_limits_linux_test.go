package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
)

func init() {
	hosts["direct"] = func(args []string) { directHost(args[0], args[1]) }
}

const (
	forever = "sleep 1000"
	busily  = "while :; do :; done"
)

func limits(cpu, wall time.Duration) func(*Cmd) func() string {
	return func(c *Cmd) func() string {
		var out bytes.Buffer
		c.Stdout = &out
		c.Limits.CPUTime, c.Limits.WallTime = cpu, wall
		return func() string { return short(out.String()) }
	}
}

// Limits on time are what they are for a command that the zygote starts.
func TestDirectLimitsAlike(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	for name, c := range map[string]struct {
		script    string
		cpu, wall time.Duration
		want      string
	}{
		"neither reached": {"echo x; exit 3", time.Hour, time.Hour, `"x\n"; non-zero exit, exit 3`},
		"runs on":         {"sleep 0.03; echo x", time.Hour, time.Hour, `"x\n"; OK`},
		"wall":            {"echo x; " + forever, 0, 50 * time.Millisecond, `; wall time exceeded`},
		"a short wall":    {forever, 0, 5 * time.Millisecond, `; wall time exceeded`},
		"cpu":             {busily, 20 * time.Millisecond, time.Minute, `; CPU time exceeded`},
		"leftover":        {"(" + forever + ") & echo x", time.Hour, time.Hour, `"x\n"; OK`},
	} {
		direct, zygote, _ := bothWays(t, sb, c.script, limits(c.cpu, c.wall))
		assert.Contains(t, direct, c.want, name)
		assert.Contains(t, zygote, c.want, name)
	}
}

// Limits that are reached in next to no time the zygote sees to from the beginning.
func TestTooSoonForDirect(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	for _, l := range []Limits{{WallTime: time.Millisecond}, {WallTime: 2 * time.Millisecond}, {CPUTime: time.Millisecond, WallTime: time.Minute}} {
		offered(t, sb)
		before := startedDirectly(sb)
		c := sb.Command("/bin/sh", "-c", busily)
		c.Limits = l
		res, err := c.Run(inTime(t))
		require.NoError(t, err)
		assert.Contains(t, []Verdict{CPUTimeExceeded, WallTimeExceeded}, res.Verdict)
		assert.Equal(t, before, startedDirectly(sb))
	}
	assert.Less(t, lastMoment(Limits{WallTime: leastMoment - 1}), leastMoment)
	assert.Equal(t, leastMoment, lastMoment(Limits{WallTime: leastMoment}))
	assert.Equal(t, mostMoment, lastMoment(Limits{}))
}

// interfere has f be called before the steps of a sandbox's next direct start, until the returned function is called.
func interfere(sb *Sandbox, f func(step string, p *commandPlan) bool) (stop func()) {
	d := &sb.engine.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tamper = f
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.tamper, d.packet = nil, packet{}
	}
}

func isGone(pid int) bool {
	p, ok := leaktest.Lookup(strconv.Itoa(pid))
	return !ok || p.Zombie()
}

// directlyLate has a command started directly, between two steps of which this program does nothing until it is let.
func directlyLate(t *testing.T, sb *Sandbox, at string, until func(pid int) bool, script string, prepare func(*Cmd) func() string) (res *Result, saw string) {
	t.Helper()
	for {
		pid := offered(t, sb)
		before := startedDirectly(sb)
		stop := interfere(sb, func(step string, _ *commandPlan) bool {
			if step == at {
				eventually(t, "what is waited for", func() bool { return until(pid) })
			}
			return true
		})
		c := sb.Command("/bin/sh", "-c", script)
		look := prepare(c)
		res, err := c.Run(inTime(t))
		stop()
		if errors.Is(err, unix.ETIMEDOUT) { // the machine is slow, and the launch was given up for the limit's sake
			continue
		}
		require.NoError(t, err)
		if startedDirectly(sb) > before {
			return res, look()
		}
	}
}

// Limits on time hold although this program, having started a command, does nothing any more: not what becomes of it, nor when, is its to say.
func TestDirectLimitsWithoutHost(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	res, _ := directlyLate(t, sb, "wait", isGone, forever, limits(0, 30*time.Millisecond))
	assert.Equal(t, WallTimeExceeded, res.Verdict)
	assert.GreaterOrEqual(t, res.Usage.Wall, 30*time.Millisecond)
	res, _ = directlyLate(t, sb, "wait", isGone, forever, limits(0, leastMoment))
	assert.Equal(t, WallTimeExceeded, res.Verdict)
	res, _ = directlyLate(t, sb, "wait", isGone, busily, limits(30*time.Millisecond, 0))
	assert.Equal(t, CPUTimeExceeded, res.Verdict)
	res, out := directlyLate(t, sb, "wait", isGone, "echo x; sleep 0.02; exit 5", limits(0, time.Hour))
	assert.Equal(t, []any{5, `"x\n"`}, []any{res.ExitCode, out}, "its end is told afterwards")
	res, _ = directlyLate(t, sb, "wait", isGone, "exit 6", limits(0, time.Hour))
	assert.Equal(t, 6, res.ExitCode)
	// The control: without a limit it would run on.
	resumed := time.Now().Add(60 * time.Millisecond)
	after := func(int) bool { return time.Now().After(resumed) }
	res, _ = directlyLate(t, sb, "wait", after, "sleep 0.2; exit 7", limits(0, 0))
	assert.Equal(t, 7, res.ExitCode, "this program comes to itself before the end")
	resumed = time.Now().Add(60 * time.Millisecond)
	res, _ = directlyLate(t, sb, "wait", after, "sleep 0.1;"+forever, limits(0, 200*time.Millisecond))
	assert.Equal(t, WallTimeExceeded, res.Verdict)
	// It comes to itself before it has sent anything: the time of a program begins when it has something to do.
	resumed = time.Now().Add(60 * time.Millisecond)
	res, _ = directlyLate(t, sb, "send", after, "exit 8", limits(0, 40*time.Millisecond))
	assert.True(t, res.ExitCode == 8 || time.Since(resumed) >= 40*time.Millisecond, "%v", res.Verdict)
	resumed = time.Now().Add(60 * time.Millisecond)
	res, _ = directlyLate(t, sb, "send", after, forever, limits(0, 40*time.Millisecond))
	assert.Equal(t, WallTimeExceeded, res.Verdict)
	res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 9")
	require.NoError(t, err)
	assert.Equal(t, 9, res.ExitCode)
}

// A launch that the zygote gives up, while it goes with the command alone, is not repeated: whether the program was executed in the very moment nobody knows.
func TestDirectGivenUp(t *testing.T) {
	t.Parallel()
	for name, hears := range map[string]func(sb *Sandbox) (goOn bool){
		"told on the line": func(sb *Sandbox) bool { return sb.engine.direct.line.Wait(patience) },
		"asked for": func(sb *Sandbox) bool {
			_, err := sb.Stats() // the zygote goes with what runs
			assert.NoError(t, err)
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := limited(t)
			for hung := false; !hung; {
				pid := 0
				for pid == 0 {
					c := sb.Command("/bin/true")
					c.Limits.WallTime = leastMoment // the launch of one that is like it has not much longer
					if _, err := c.Run(inTime(t)); err != nil {
						require.ErrorIs(t, err, unix.ETIMEDOUT) // the machine is slow
					}
					time.Sleep(time.Millisecond)
					pid = offeredNow(t, sb)
				}
				stop := interfere(sb, func(step string, p *commandPlan) bool {
					switch step {
					case "fill":
						b := plan.After(p.Base)
						b.Call(unix.SYS_PRCTL, "prctl", "name", plan.Int(unix.PR_SET_NAME), b.Str("hangs"))
						b.Call(unix.SYS_PPOLL, "ppoll", "nothing", plan.Null, plan.Zero, plan.Null, plan.Null)
						p.Plan = b.Plan()
					case "wait":
						eventually(t, "it hangs", func() bool {
							p, ok := leaktest.Lookup(strconv.Itoa(pid))
							hung = ok && p.Name == "hangs"
							return hung || !ok || p.Zombie()
						})
						return hears(sb)
					}
					return true
				})
				_, err := sb.Run(inTime(t), "/bin/true")
				stop()
				if hung {
					require.ErrorIs(t, err, unix.ETIMEDOUT)
				}
			}
			_, err := sb.Stats() // what has been offered has as little time
			require.NoError(t, err)
			res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 5")
			require.NoError(t, err)
			assert.Equal(t, 5, res.ExitCode)
		})
	}
}

// A timer that was set for a command which is over does no harm to the next.
func TestDirectTimerOfAnother(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	pid := offered(t, sb)
	require.NoError(t, unix.TimerfdSettime(sb.engine.direct.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(1)}, nil))
	eventually(t, "what is nobody's is not gone with", func() bool { return isGone(pid) })
	res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 9")
	require.NoError(t, err)
	assert.Equal(t, 9, res.ExitCode)
	_, res = directly(t, sb, "/bin/sh", "-c", "exit 7")
	assert.Equal(t, 7, res.ExitCode)
}

// TestFaultDirect makes each step of a start fail, of this program and of the process that it sends the rest of a plan: the command is started by the zygote then, once.
func TestFaultDirect(t *testing.T) {
	require.NoError(t, limited(t).Close())
	before := settled(t)
	sb := limited(t)
	file := "/box/ran"
	script := "echo x >>" + file + "; exit 4"
	run := func(what string) {
		t.Helper()
		require.NoError(t, sb.WriteFile(file, nil, 0o666))
		c := sb.Command("/bin/sh", "-c", script)
		c.Limits.WallTime = time.Hour
		var out strings.Builder
		c.Stdout = &out
		res, err := c.Run(inTime(t))
		if errors.Is(err, injected) { // the zygote had been told of the command by then, and told what failed
			return
		}
		require.NoError(t, err, what)
		assert.Equal(t, 4, res.ExitCode, what)
		f, err := sb.FS().Open(file[1:])
		require.NoError(t, err)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		assert.Equal(t, "x\n", string(b), what)
	}
	for range 3 {
		run("before")
	}
	for _, fails := range []string{"null", "claim", "fill", "limit", "send", "wait"} {
		met := false
		for !met {
			offered(t, sb)
			stop := interfere(sb, func(step string, _ *commandPlan) bool {
				met = met || step == fails
				return step != fails
			})
			run(fails)
			stop()
		}
	}
	for i, n := 0, 1; i < n; i++ {
		met := false
		for !met {
			offered(t, sb)
			stop := interfere(sb, func(step string, p *commandPlan) bool {
				if step == "fill" {
					met, n = true, len(p.Child)
					p.Plan = p.Clone()
					require.True(t, p.Inject(i, injected))
				}
				return true
			})
			run(fmt.Sprintf("step %d", i))
			stop()
		}
	}
	require.NoError(t, sb.Close())
	unchanged(t, before, "at the end")
}

// launchGivenUp is how directHost ends on a machine that is slow: for the command's limit on time its program has not been executed.
const launchGivenUp = 77

// directHost is a host program to which something happens when it has started a command itself.
func directHost(what, script string) {
	sb, err := New(WithMemory("256m"), WithPids(20))
	check(err)
	sayZygote()
	script = strings.ReplaceAll(script, "_", " ")
	for {
		for range 3 {
			_, err := sb.Run(background, "/bin/true")
			check(err)
			time.Sleep(2 * time.Millisecond)
		}
		did := false
		stop := interfere(sb, func(step string, _ *commandPlan) bool {
			if step == "wait" {
				did = true
				say("ready")
				_ = unix.Kill(os.Getpid(), map[string]unix.Signal{"killed": unix.SIGKILL, "stopped": unix.SIGSTOP}[what])
			}
			return true
		})
		c := sb.Command("/bin/sh", "-c", script)
		c.Limits.WallTime = 50 * time.Millisecond
		var out strings.Builder
		c.Stdout = &out
		res, err := c.Run(context.Background())
		stop()
		switch {
		case errors.Is(err, unix.ETIMEDOUT) && did:
			os.Exit(launchGivenUp)
		case errors.Is(err, unix.ETIMEDOUT):
			continue
		}
		check(err)
		if did {
			os.Exit(int(res.Verdict))
		}
	}
}

// A host program that is stopped after it has started a command keeps no limit from holding.
func TestDirectHostStopped(t *testing.T) {
	grouped(t, standing(t, WithMemory("256m")))
	before := leaktest.Take()
	code := launchGivenUp
	for code == launchGivenUp {
		h := startHost(t, "direct stopped sleep_1000")
		asleep := func() (n int) {
			for _, p := range sandboxed(h.zygote) {
				if p.Name == "sleep" || p.Name == "sh" {
					n++
				}
			}
			return n
		}
		eventually(t, "it is ended in time", func() bool { return asleep() == 0 })
		p, ok := leaktest.Lookup(strconv.Itoa(h.cmd.Process.Pid))
		require.True(t, ok)
		require.NoError(t, unix.Kill(p.PID, unix.SIGCONT))
		_ = h.cmd.Wait()
		code = h.cmd.ProcessState.ExitCode()
	}
	assert.Equal(t, int(WallTimeExceeded), code, "it says so")
	assert.Empty(t, before.Await(patience))
}

// One that is killed takes the command with it.
func TestDirectHostKilled(t *testing.T) {
	grouped(t, standing(t, WithMemory("256m")))
	before := leaktest.Take()
	for range 3 {
		h := startHost(t, "direct killed sleep_1000")
		h.kill()
	}
	assert.Empty(t, before.Await(patience))
}

// How long a command ran is known whoever has gone with it since when: the host program has to say when it began.
func TestDirectWallTimeOfLate(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	nothing := func(*Cmd) func() string { return func() string { return "" } }
	for name, until := range map[string]func() func(int) bool{
		"told on the line": func() func(int) bool { return isGone },
		"followed late": func() func(int) bool {
			until := time.Now().Add(4 * mostMoment)
			return func(int) bool { return time.Now().After(until) }
		},
	} {
		for _, script := range []string{"sleep 0.1; exit 5", "sleep 1000 & sleep 0.1; exit 5"} {
			res, _ := directlyLate(t, sb, "wait", until(), script, nothing)
			assert.Equal(t, 5, res.ExitCode, name)
			assert.GreaterOrEqual(t, res.Usage.Wall, 100*time.Millisecond, "%s: %s", name, script)
		}
	}
}
