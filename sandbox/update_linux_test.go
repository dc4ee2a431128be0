package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// holder uses up n MiB of memory and says so, then waits for a line.
func holder(n int) string {
	return fmt.Sprintf(`exec perl -e '$| = 1; my $x = "x" x (%d << 20); print "used\n"; <STDIN>; print length $x'`, n)
}

// started runs a script that waits for input, and returns when it has said its first word.
func started(t *testing.T, sb *Sandbox, script string, limits Limits) (cmd *Cmd, finish func() *Result) {
	t.Helper()
	cmd = sb.Command("/bin/sh", "-c", script)
	cmd.Limits = limits
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start(inTime(t)))
	b := make([]byte, 64)
	n, err := out.Read(b)
	require.NoError(t, err)
	require.NotZero(t, n)
	return cmd, func() *Result {
		_, _ = in.Write([]byte("\n"))
		_ = in.Close()
		res, err := cmd.Wait()
		require.NoError(t, err)
		return res
	}
}

// Limits of a running command grow with the sandbox's, up to its own.
func TestUpdateRaises(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("32m"), WithPids(10)))
	eat := "echo ready; read line; " + hog(20) + "; exit 3"
	_, finish := started(t, sb, eat, Limits{})
	_, tight := started(t, sb, eat, Limits{Memory: 24 << 20})
	require.NoError(t, sb.Update(WithMemory("512m")))
	assert.Equal(t, NonZeroExit, finish().Verdict, "it began under 32 MiB")
	assert.Equal(t, MemoryExceeded, tight().Verdict, "its own limit stays")
	_, res := try(t, sb, hog(20)+"; exit 3")
	assert.Equal(t, 3, res.ExitCode, "started afterwards")
	assert.Contains(t, sb.Report().Enforced, "memory: 512m")
	assert.NotContains(t, sb.Report().Enforced, "memory: 32m")
	assert.Contains(t, sb.Report().Enforced, "pids: 10")

	require.NoError(t, sb.Update(WithMemory("32m")))
	_, res = try(t, sb, hog(20)+"; exit 3")
	assert.Equal(t, MemoryExceeded, res.Verdict, "control")
}

// What a command has left behind is under the new limits too, and under its own.
func TestUpdateReachesLeftovers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		own  Limits
		want string
	}{
		"the sandbox's": {Limits{}, "0"},
		"its own":       {Limits{Memory: 32 << 20}, "killed"},
	} {
		sb := grouped(t, standing(t, WithMemory("32m")))
		leftover := func(id string, own Limits) {
			cmd := sb.Command("/bin/sh", "-c", "mkfifo /tmp/go"+id+"; (read line < /tmp/go"+id+"; "+hog(48)+"; echo $? > /tmp/done"+id+") & echo $! > /tmp/pid"+id)
			cmd.KeepLeftovers, cmd.Limits = true, own
			res, err := cmd.Run(inTime(t))
			require.NoError(t, err)
			require.NoError(t, res.Err())
		}
		let := func(id string) string {
			return sh(t, sb, "echo > /tmp/go"+id+"; read pid < /tmp/pid"+id+"; while [ ! -s /tmp/done"+id+" ] && kill -0 $pid 2> /tmp/null; do sleep 0.02; done; s=$(cat /tmp/done"+id+` 2> /tmp/null); case $s in 0) echo 0;; *) echo killed;; esac`)
		}
		leftover("a", c.own)
		leftover("b", c.own)
		assert.Equal(t, "killed", let("a"), "%s: control", name)
		require.NoError(t, sb.Update(WithMemory("512m")))
		assert.Equal(t, c.want, let("b"), name)
	}
}

// Memory below what is in use: killed on v2, refused on v1.
func TestUpdateBelowUsage(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("256m")))
	_, finish := started(t, sb, holder(48), Limits{})
	_, idle := started(t, sb, "echo ready; read line; exit 4", Limits{})
	err := sb.Update(WithMemory("32m"), WithPids(30)) // room enough for the other, also while the first one dies
	if errors.Is(err, unix.EBUSY) {
		assert.NotContains(t, sb.Report().String(), "pids: 30", "all or nothing")
		assert.Contains(t, sb.Report().Enforced, "memory: 256m")
		assert.Equal(t, OK, finish().Verdict)
		_, res := try(t, sb, hog(10)+"; exit 3")
		assert.Equal(t, 3, res.ExitCode, "the limits are the former")
	} else {
		require.NoError(t, err)
		assert.Equal(t, MemoryExceeded, finish().Verdict)
	}
	// Who used nothing goes on, unless the kernel has looked for another victim before the first one's memory was back.
	if res := idle(); res.Verdict != MemoryExceeded {
		assert.Equal(t, 4, res.ExitCode, res)
	}
}

// If one of several limits cannot be had, or one leaf cannot be changed, all are as before.
func TestUpdateIsAtomic(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("64m"), WithPids(20)))
	before := sb.Report().Enforced
	err := sb.Update(WithPids(5), WithCPUSet("0"))
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Contains(t, err.Error(), "loose")
	assert.Equal(t, before, sb.Report().Enforced)
	out, _ := try(t, sb, "for i in 1 2 3 4 5 6 7; do sleep 0.3 & done; wait; echo all")
	assert.Equal(t, "all", out)
}

// swapOf is how much a command's own group lets it swap, beyond its limit on memory: 0 is nothing, and -1 all there is.
func swapOf(t *testing.T, c *Cmd) int64 {
	t.Helper()
	number := func(dir, file string) int64 {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			skip(t, "needs accounts of swap")
		}
		require.NoError(t, err)
		text := strings.TrimSpace(string(b))
		if text == "max" {
			return -1
		}
		n, err := strconv.ParseInt(text, 10, 64)
		require.NoError(t, err)
		return n
	}
	for _, dir := range groupsOf(c.sandbox.engine.z.pid) {
		if b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || !slices.Contains(strings.Fields(string(b)), strconv.Itoa(c.PID())) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "memory.max")); err == nil {
			return number(dir, "memory.swap.max")
		}
		if _, err := os.Stat(filepath.Join(dir, "memory.limit_in_bytes")); err == nil {
			if both := number(dir, "memory.memsw.limit_in_bytes"); both < 1<<60 { // no limit is that, in whole pages
				return both - number(dir, "memory.limit_in_bytes")
			}
			return -1
		}
	}
	t.Fatal("no group of memory")
	return 0
}

// What a command may swap beyond a limit on memory, be it its own alone, is what the sandbox's commands may, before and after whatever else changes.
func TestUpdateSwap(t *testing.T) {
	const script = "echo ready; read line"
	sb := grouped(t, standing(t, WithPids(20)))
	own, finish := started(t, sb, script, Limits{Memory: 32 << 20})
	require.Zero(t, swapOf(t, own), "the control")
	for _, c := range []struct {
		change []Option
		want   int64
	}{
		{[]Option{WithPids(30)}, 0},
		{[]Option{WithMemory("256m"), WithSwap("8m")}, 8 << 20},
		{[]Option{WithSwap("1m")}, 1 << 20},
		{[]Option{WithSwap("0")}, 0},
		{[]Option{WithSwap("max")}, -1},
		{[]Option{WithMemory("max"), WithSwap("0")}, 0},
	} {
		require.NoError(t, sb.Update(c.change...))
		assert.Equal(t, c.want, swapOf(t, own), "%v: of one that runs", c.change)
		next, end := started(t, sb, script, Limits{Memory: 32 << 20})
		assert.Equal(t, c.want, swapOf(t, next), "%v: of one that is started now", c.change)
		_ = end()
	}
	_ = finish()
}

func TestUpdatePids(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithPids(50)))
	const script = "echo ready; read line; sleep 0 & sleep 0 & sleep 0 & sleep 0 & wait; exit 0"
	_, finish := started(t, sb, script, Limits{})
	_, control := started(t, sb, script, Limits{})
	assert.Equal(t, OK, control().Verdict)
	require.NoError(t, sb.Update(WithPids(2)))
	assert.Equal(t, PidsExceeded, finish().Verdict)
}

func TestUpdateRunLimits(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t))
	require.NoError(t, sb.Update(WithWallTime(50*time.Millisecond)))
	_, res := try(t, sb, "sleep 100")
	assert.Equal(t, WallTimeExceeded, res.Verdict)
	assert.Contains(t, sb.Report().Enforced, "wall time: 50ms")
	require.NoError(t, sb.Update(WithWallTime(2*time.Minute), WithOutput("4")))
	_, res = try(t, sb, "echo 12345678")
	assert.Equal(t, OutputExceeded, res.Verdict)
	assert.NotContains(t, sb.Report().Enforced, "wall time: 50ms")
	c, err := sb.Clone(WithWallTime(time.Minute))
	require.NoError(t, err)
	defer c.Close()
	assert.Contains(t, c.Report().Enforced, "output: 4")
	require.NoError(t, sb.Restart(context.Background()))
	assert.Contains(t, sb.Report().Enforced, "wall time: 2m0s")
}

func TestUpdateRefuses(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithWallTime(time.Minute))
	for _, c := range []struct {
		opt  Option
		name string
	}{
		{WithRootfs("/"), "WithRootfs"},
		{WithNet(), "WithNet"},
		{WithName("x"), "WithName"},
		{WithRlimit("nofile", 1, 1), "WithRlimit"},
		{WithCgroupParent("/x"), "WithCgroupParent"},
		{BestEffort(WithPids(5)), "BestEffort"},
		{WithPids(0), "WithPids"},
		{WithSwap("1m"), "WithSwap"},
		{nil, "Option"},
	} {
		err := sb.Update(WithWallTime(time.Second), c.opt)
		var e *Error
		require.ErrorAs(t, err, &e, c.name)
		require.ErrorIs(t, err, ErrInvalid)
		assert.Equal(t, c.name, e.Op)
	}
	require.ErrorIs(t, sb.Update(WithPids(5), WithPids(6)), ErrInvalid, "a contradiction")
	assert.Contains(t, sb.Report().Enforced, "wall time: 1m0s")
	require.NoError(t, sb.Update())
	require.NoError(t, sb.Close())
	require.ErrorIs(t, sb.Update(WithPids(5)), ErrClosed)
}

// Commands that are started while limits change are under one or the other, and under the new one afterwards.
func TestUpdateRaces(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithPids(100), WithMemory("64m")))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			assert.NoError(t, sb.Update(WithPids(50+i%2), WithMemory([]string{"48m", "64m"}[i%2])))
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		_, res := try(t, sb, "true")
		assert.Equal(t, OK, res.Verdict)
	}
	assert.Contains(t, sb.Report().Enforced, "pids: 51")
	st, err := sb.Stats()
	require.NoError(t, err)
	assert.Zero(t, st.Memory.OOMKills)
}

func TestTheChange(t *testing.T) {
	fold := func(opts ...Option) *spec {
		s, err := newSpec(opts)
		require.NoError(t, err)
		return s
	}
	dev := func(n int64) IOLimit { return IOLimit{Device: "8:0", ReadBytes: n << 20} }
	before := fold(WithMemory("64m"), WithSwap("8m"), WithPids(5), WithIO(dev(1), IOLimit{Device: "8:16", WriteOps: 7}))
	for _, c := range []struct {
		opts []Option
		want cgroup.Limits
	}{
		{nil, cgroup.Limits{}},
		{[]Option{WithWallTime(time.Second)}, cgroup.Limits{}},
		{[]Option{WithPids(6)}, cgroup.Limits{Pids: 6}},
		{[]Option{WithMemory("32m")}, cgroup.Limits{Memory: 32 << 20, Swap: 8 << 20, OOMGroup: true}},
		{[]Option{WithSwap("0")}, cgroup.Limits{Memory: 64 << 20, OOMGroup: true}},
		{[]Option{WithMemory("max"), WithSwap("0")}, cgroup.Limits{Memory: cgroup.Max}},
		{[]Option{WithIO(dev(2))}, cgroup.Limits{IO: []IOLimit{dev(2), {Device: "8:16", WriteOps: cgroup.Max}}}},
	} {
		next, err := before.update(c.opts)
		require.NoError(t, err)
		assert.Equal(t, c.want, before.change(next, c.opts))
	}
	_, err := before.update([]Option{WithMemoryHigh("65m")})
	require.ErrorIs(t, err, ErrInvalid, "above the limit that stays")
}

// Whatever step of an update fails, the limits are the former ones.
func TestUpdateFails(t *testing.T) {
	sb := grouped(t, standing(t, WithMemory("64m"), WithPids(20)))
	_, finish := started(t, sb, "echo ready; read line; "+hog(10)+"; exit 3", Limits{})
	f := func(r *request) {
		if req, ok := r.body.(wire.UpdateRequest); ok {
			req.Leaf.Pids = 1 << 30 // which no kernel takes
			r.body = req
		}
	}
	tamper.Store(&f)
	err := sb.Update(WithMemory("8m"), WithPids(5))
	tamper.Store(nil)
	require.Error(t, err)
	assert.Contains(t, err.Error(), "1073741824")
	assert.Contains(t, strings.Join(sb.Report().Enforced, "\n"), "memory: 64m")
	assert.Equal(t, 3, finish().ExitCode)
	_, res := try(t, sb, hog(10)+"; sleep 0 & sleep 0 & sleep 0 & sleep 0 & sleep 0 & wait; exit 3")
	assert.Equal(t, 3, res.ExitCode)
}
