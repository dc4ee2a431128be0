//go:build linux

package launch

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// joinBase is a base whose steps before the fork leave a mark that the second process has too: a limit on the size of core files, which the mark is.
func joinBase(mark uint64) *plan.Plan {
	b := builder(Direct)
	b.Call(unix.SYS_PRLIMIT64, "prlimit64", "mark", plan.Zero, plan.Int(unix.RLIMIT_CORE), b.Words("{mark}", mark, 1<<30), plan.Null)
	forkStep(b)
	return b.Plan()
}

// after makes a plan with that base.
func after(base *plan.Plan, steps func(b *plan.Builder)) *plan.Plan {
	b := plan.After(base)
	b.Stage("test")
	steps(b)
	execTrue(b, "/bin/true")
	return b.Plan()
}

// sleeper executes a program that stays.
func sleeper(base *plan.Plan) *plan.Plan {
	b := plan.After(base)
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", "/bin/sleep", b.Str("/bin/sleep"), b.Strings([]string{"sleep", "100"}), b.Strings(nil))
	return b.Plan()
}

func joiner(t *testing.T, base *plan.Plan) *Joiner {
	t.Helper()
	j, err := NewJoiner(base)
	require.NoError(t, err)
	t.Cleanup(j.Close)
	return j
}

// procLine is a line of /proc/PID/status or limits.
func procLine(t *testing.T, pid int, file, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
	require.NoError(t, err)
	for _, l := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(l, name); ok {
			return strings.Join(strings.Fields(rest), " ")
		}
	}
	return ""
}

func (j *Joiner) number() int { return int(j.arena.ctl.pid) }

func TestJoiner(t *testing.T) {
	base := joinBase(12345)
	j := joiner(t, base)
	served := func() bool { return j.arena.ctl.job != 0 }
	ignored := procLine(t, os.Getpid(), "status", "SigIgn:")
	for range 20 {
		for !waits(j) {
			time.Sleep(time.Millisecond) // it notices an exec a moment later
		}
		j.arena.ctl.job = 0
		p, err := Launch(&Request{Plan: sleeper(base), Mode: Join, Cgroup: -1, Joiner: j})
		require.NoError(t, err)
		assert.Equal(t, "12345 1073741824 bytes", procLine(t, p.PID, "limits", "Max core file size"), "what came before the fork is inherited")
		assert.Equal(t, strconv.Itoa(os.Getpid()), procLine(t, p.PID, "status", "PPid:"), "it is this process's child")
		assert.Equal(t, ignored, procLine(t, p.PID, "status", "SigIgn:"), "what this process was started with")
		require.NoError(t, unix.PidfdSendSignal(p.PIDFD, unix.SIGKILL, nil, 0))
		wait(t, p)
		assert.True(t, served())
	}
	// No signal reaches it but SIGKILL and SIGSTOP.
	assert.Equal(t, "fffffffffffbfeff", procLine(t, j.number(), "status", "SigBlk:"), "all but the two that cannot be blocked")
}

// children are those that somebody has to wait for: all but the seed and its copy.
func children(t *testing.T) []leaktest.Process {
	t.Helper()
	theSeed.mu.Lock()
	defer theSeed.mu.Unlock()
	theSeed.settle()
	own := map[int]bool{}
	for _, p := range []*cloner{theSeed.p, theSeed.next} {
		if p != nil {
			own[int(p.arena.ctl.pid)] = true
		}
	}
	return slices.DeleteFunc(leaktest.Descendants(os.Getpid()), func(p leaktest.Process) bool { return own[p.PID] })
}

// childless fails the test unless nobody is left to be waited for. What a launch that was given up has left somebody else waits for, who may come to it a moment later.
func childless(t *testing.T) {
	t.Helper()
	var left []leaktest.Process
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if left = children(t); len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	assert.Empty(t, left)
}

func waits(j *Joiner) bool { return j.arena.ctl.ready != 0 }

// A plan with another base, or that fails, or hangs, gets what it would without a joiner.
func TestJoinerServesItsBaseOnly(t *testing.T) {
	base := joinBase(1)
	j := joiner(t, base)
	other := joinBase(2)
	for name, r := range map[string]*Request{
		"other base": {Plan: sleeper(other), Mode: Join},
		"copy":       {Plan: sleeper(base), Mode: Copy},
		"no base":    {Plan: sleeper(base).Whole(), Mode: Join},
	} {
		t.Run(name, func(t *testing.T) {
			r.Cgroup, r.Joiner = -1, j
			p, err := Launch(r)
			require.NoError(t, err)
			assert.Zero(t, j.arena.ctl.job)
			require.NoError(t, unix.PidfdSendSignal(p.PIDFD, unix.SIGKILL, nil, 0))
			wait(t, p)
		})
	}
}

func TestJoinerFailures(t *testing.T) {
	base := joinBase(1)
	j := joiner(t, base)
	works := func() {
		t.Helper()
		p, err := Launch(&Request{Plan: after(base, func(*plan.Builder) {}), Mode: Join, Cgroup: -1, Joiner: j})
		require.NoError(t, err)
		assert.Equal(t, 0, wait(t, p).ExitStatus())
	}
	works()
	_, err := Launch(&Request{Plan: after(base, func(b *plan.Builder) {
		b.Call(unix.SYS_CHDIR, "chdir", "/nonexistent", b.Str("/nonexistent"))
	}), Mode: Join, Cgroup: -1, Joiner: j})
	var se *StepError
	require.ErrorAs(t, err, &se)
	assert.Equal(t, 2, se.Step, "counted as ever")
	assert.ErrorIs(t, err, unix.ENOENT)
	works()

	// The clone itself: a namespace that cannot be made together with a shared parent.
	_, err = Launch(&Request{Plan: after(base, func(*plan.Builder) {}), Mode: Join, Cgroup: -1, Joiner: j, Flags: unix.CLONE_THREAD | unix.CLONE_NEWUSER})
	require.ErrorAs(t, err, &se)
	assert.Equal(t, 1, se.Step)
	assert.ErrorIs(t, err, unix.EINVAL)
	works()

	for !waits(j) {
		time.Sleep(time.Millisecond)
	}
	_, err = Launch(&Request{Plan: after(base, hangForever), Mode: Join, Cgroup: -1, Joiner: j, Until: time.Now().Add(20 * time.Millisecond)})
	require.ErrorIs(t, err, unix.ETIMEDOUT)
	assert.Eventually(t, j.gone, patience, time.Millisecond, "what sleeps with a launch that is given up goes too")
	works()
}

// Whatever becomes of the joiner, a launch succeeds, but that nothing tells of the exec of a process whose joiner has been killed: it is ended.
func TestJoinerKilled(t *testing.T) {
	base := joinBase(1)
	for i := range 40 {
		j, err := NewJoiner(base)
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Duration(i*10) * time.Microsecond)
			if i%2 == 0 {
				j.Close()
			} else {
				j.kill()
			}
		})
		for range 3 {
			p, err := Launch(&Request{Plan: after(base, func(*plan.Builder) {}), Mode: Join, Cgroup: -1, Joiner: j})
			require.NoError(t, err)
			if ws := wait(t, p); i%2 == 0 || ws.Exited() {
				assert.Equal(t, 0, ws.ExitStatus())
			} else {
				assert.Equal(t, unix.SIGKILL, ws.Signal())
			}
		}
		wg.Wait()
		j.Close()
	}
}

// A joiner is busy as long as its process has not called execve: others are launched beside it.
func TestJoinerBusy(t *testing.T) {
	base := joinBase(1)
	j := joiner(t, base)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			p, err := Launch(&Request{Plan: after(base, func(*plan.Builder) {}), Mode: Join, Cgroup: -1, Joiner: j})
			if assert.NoError(t, err, i) {
				var ws unix.WaitStatus
				_, err := unix.Wait4(p.PID, &ws, unix.WALL, nil)
				assert.NoError(t, err)
				assert.Equal(t, 0, ws.ExitStatus())
				assert.NoError(t, unix.Close(p.PIDFD))
			}
		})
	}
	wg.Wait()
}

// Steps before the fork that fail leave nothing.
func TestJoinerCannotBe(t *testing.T) {
	b := builder(Direct)
	b.Call(unix.SYS_CHDIR, "chdir", "/nonexistent", b.Str("/nonexistent"))
	forkStep(b)
	_, err := NewJoiner(b.Plan())
	require.ErrorIs(t, err, unix.ENOENT)
	_, err = NewJoiner(builder(Direct).Plan())
	require.ErrorIs(t, err, errNoFork)
	childless(t)
}

func BenchmarkJoiner(bm *testing.B) {
	base := joinBase(1)
	j, err := NewJoiner(base)
	require.NoError(bm, err)
	defer j.Close()
	for name, j := range map[string]*Joiner{"joiner": j, "none": nil} {
		bm.Run(name, func(bm *testing.B) {
			for bm.Loop() {
				p, err := Launch(&Request{Plan: after(base, func(*plan.Builder) {}), Mode: Join, Cgroup: -1, Joiner: j})
				if err != nil {
					bm.Fatal(err)
				}
				_, _ = unix.Wait4(p.PID, nil, unix.WALL, nil)
				_ = unix.Close(p.PIDFD)
			}
		})
	}
}
