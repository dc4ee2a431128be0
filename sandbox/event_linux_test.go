package sandbox

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// waiting takes what is in the channel by now.
func waiting(ch <-chan Event) (list []Event) {
	for {
		select {
		case ev, ok := <-ch:
			if !ok {
				return list
			}
			list = append(list, ev)
		default:
			return list
		}
	}
}

func told(list []Event, k EventKind, pid int) (n uint64) {
	for _, ev := range list {
		if ev.Kind == k && ev.PID == pid {
			n += ev.Count
		}
	}
	return n
}

// What happened to a command is there when its result is, though its cgroup went at once.
func TestEventsOfCommands(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("24m"), WithPids(30)))
	events := sb.Events(inTime(t))
	run := func(script string, l Limits) (int, *Result, []Event) {
		c := sb.Command("/bin/sh", "-c", "exec 2>/dev/null; "+script)
		c.Limits = l
		require.NoError(t, c.Start(inTime(t)))
		res, err := c.Wait()
		require.NoError(t, err)
		return c.PID(), res, waiting(events)
	}
	pid, res, list := run("exec "+hog(4), Limits{})
	assert.Equal(t, OK, res.Verdict)
	assert.Zero(t, told(list, OOMKill, pid), "control")
	assert.Zero(t, told(list, PidsLimitHit, pid), "control")
	for range 3 {
		pid, res, list = run("exec "+hog(60), Limits{})
		assert.Equal(t, MemoryExceeded, res.Verdict)
		assert.Equal(t, res.Usage.OOMKills, told(list, OOMKill, pid), list)
		assert.Zero(t, told(list, OOMKill, 0), "told once")
	}
	pid, res, list = run("exec "+hog(60), Limits{Memory: 12 << 20})
	assert.Equal(t, MemoryExceeded, res.Verdict)
	assert.Equal(t, res.Usage.OOMKills, told(list, OOMKill, pid), list)
	assert.Positive(t, told(list, MemoryLimitHit, pid), "the command's own limit")
	pid, res, list = run("sleep 1 & sleep 1 & sleep 1 & exit 2", Limits{Pids: 2})
	assert.Equal(t, PidsExceeded, res.Verdict)
	assert.Positive(t, told(list, PidsLimitHit, pid)+told(list, PidsLimitHit, 0), list)
	assert.Zero(t, told(list, OOMKill, pid))
}

// An event comes while its command still runs, too.
func TestEventsAreLive(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithPids(20)))
	events := sb.Events(inTime(t))
	l := sb.Command("/bin/sh", "-c", "(sleep 1 & sleep 1 & sleep 1 & sleep 1); exec sleep 1000")
	l.Limits.Pids = 3
	require.NoError(t, l.Start(inTime(t)))
	deadline := inTime(t)
	for seen := false; !seen; {
		select {
		case ev, ok := <-events:
			require.True(t, ok)
			seen = ev.Kind == PidsLimitHit
		case <-deadline.Done():
			t.Fatal("never: pids limit hit")
		}
	}
	require.NoError(t, l.Kill())
	_, err := l.Wait()
	require.NoError(t, err)
}

func TestEventsOfState(t *testing.T) {
	t.Parallel()
	sb, err := New()
	require.NoError(t, err)
	defer sb.Close()
	_, serr := sb.Stats()
	events, other := sb.Events(context.Background()), sb.Events(context.Background())
	if serr == nil {
		require.NoError(t, sb.Pause())
		require.NoError(t, sb.Pause(), "no change")
		require.NoError(t, sb.Resume())
	}
	require.NoError(t, sb.Restart(inTime(t)))
	require.NoError(t, sb.Close())
	var states []State
	for ev := range events { // closed by Close, though nobody has read until then
		if ev.Kind == StateChange {
			states = append(states, ev.State)
		} else if ev.Kind == EventsLost {
			assert.ErrorIs(t, ev.Err, ErrUnsupported)
		}
	}
	want := []State{Paused, Running, Restarting, Running, Exited}
	if serr != nil {
		want = want[2:]
	}
	assert.Equal(t, want, states)
	n := 0
	for ev := range other {
		if ev.Kind == StateChange {
			n++
		}
	}
	assert.Len(t, want, n, "every subscription is told")
	_, open := <-sb.Events(context.Background())
	assert.False(t, open, "of what has ended")
}

// A restart goes on with the subscription.
func TestEventsAfterRestart(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("24m")))
	events := sb.Events(inTime(t))
	require.NoError(t, sb.Restart(inTime(t)))
	c := sb.Command("/bin/sh", "-c", "exec "+hog(60))
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, MemoryExceeded, res.Verdict)
	assert.Equal(t, res.Usage.OOMKills, told(waiting(events), OOMKill, c.PID()))
}

// Without a cgroup there is nothing to tell of, and that is said.
func TestEventsWithoutGroup(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	sb.engine.grouped = false
	ev := <-sb.Events(inTime(t))
	sb.engine.grouped = true
	assert.Equal(t, EventsLost, ev.Kind)
	assert.ErrorIs(t, ev.Err, ErrUnsupported)
}

// The context ends a subscription that nobody reads, and nothing of it stays: neither here nor in the zygote.
func TestEventsLeaveNothing(t *testing.T) {
	sb := grouped(t, standing(t, WithMemory("64m")))
	z, err := currentZygote()
	require.NoError(t, err)
	zfiles := func() int { return leaktest.Count(lasting(z)) }
	stay := func() int { z.mu.Lock(); defer z.mu.Unlock(); return len(z.told) }
	files, goroutines, watches := zfiles(), runtime.NumGoroutine(), stay()
	for range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		var list []<-chan Event
		for range 4 {
			list = append(list, sb.Events(ctx))
		}
		require.NoError(t, sb.Pause())
		require.NoError(t, sb.Resume())
		cancel()
		for _, ch := range list {
			for range ch {
			}
		}
	}
	settles(t, "watches", func() bool { return stay() <= watches && len(sb.queues()) == 0 })
	settles(t, "goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
	settles(t, "descriptors", func() bool { return zfiles() <= files })
}

// lasting is what a zygote has open, without what comes and goes by itself: network namespaces for sandboxes to come, what is noted of them, and templates, and from the
// first of these on what tells of the host's mounts, and the way back there. It is nothing where the zygote may not be looked at by its own user.
func lasting(z *zygoteClient) map[string]int {
	files := leaktest.Files(strconv.Itoa(z.pid))
	for target, n := range files {
		if aboutNets(z, target, n) || target == "mnt" || target == "/" || strings.HasSuffix(target, "/mounts") {
			delete(files, target)
		}
	}
	return files
}

func settles(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b := make([]byte, 1<<16)
			t.Fatalf("%s stay\n%s", what, b[:runtime.Stack(b, true)])
		}
	}
}

// A kill does not wait for a pause, and a paused command uses no CPU time.
func TestKillOfThePaused(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithPids(20)))
	c := sb.Command("/bin/sh", "-c", "while :; do :; done")
	require.NoError(t, c.Start(inTime(t)))
	require.NoError(t, sb.Pause())
	used := func() time.Duration {
		s, err := c.Stats()
		require.NoError(t, err)
		return s.CPU.Total
	}
	// Whoever counts as frozen may need a moment to leave its processor, and then may not come back.
	eventually(t, "it stands still", func() bool {
		before := used()
		for range 5 {
			time.Sleep(60 * time.Millisecond)
			if used() != before {
				return false
			}
		}
		return true
	})
	require.NoError(t, sb.Kill())
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, res.Verdict)
	assert.Equal(t, Exited, sb.State())
}

// However Pause and Resume race, the state is what the last one did.
func TestPauseRace(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t))
	c := sb.Command("/bin/cat")
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(inTime(t)))
	for range 10 {
		done := make(chan error, 2)
		go func() { done <- sb.Pause() }()
		go func() { done <- sb.Resume() }()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		if sb.State() == Running {
			_, err := in.Write([]byte("x"))
			require.NoError(t, err)
			_, err = out.Read(make([]byte, 1)) // hangs if it is frozen
			require.NoError(t, err)
		}
	}
	require.NoError(t, sb.Resume())
	require.NoError(t, in.Close())
	_, err = c.Wait()
	require.NoError(t, err)
}

func TestEventText(t *testing.T) {
	for want, ev := range map[string]Event{
		"OOM kill (pid 7)":           {Kind: OOMKill, PID: 7, Count: 1},
		"pids limit hit, 3 times":    {Kind: PidsLimitHit, Count: 3},
		"state change: paused":       {Kind: StateChange, State: Paused, Count: 1},
		"events lost: " + "not here": {Kind: EventsLost, Err: errText("not here"), Count: 1},
		"event 0":                    {},
	} {
		assert.Equal(t, want, ev.String())
	}
}

type errText string

func (e errText) Error() string { return string(e) }
