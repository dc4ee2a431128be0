package cgroup

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// log gathers what a subscription tells, as a reader who is always there.
type eventLog struct {
	e    *Events
	seen []Event
}

func subscribe(t *testing.T, m *Manager, o EventOptions) *eventLog {
	t.Helper()
	e, err := m.Events(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return &eventLog{e: e}
}

// count is how often a kind has been told of a leaf by now.
func (g *eventLog) count(k EventKind, leaf string) (n uint64) {
	g.seen = append(g.seen, g.e.Take()...)
	for _, ev := range g.seen {
		if ev.Kind == k && ev.Leaf == leaf {
			n += ev.Count
		}
	}
	return n
}

// sees waits until the subscription knows of a process in the leaf: v1 groups are looked at now and then, and who has come and gone
// in between was never there.
func (g *eventLog) sees(t *testing.T, leaf string) {
	t.Helper()
	eventually(t, "it is seen", func() bool {
		for _, name := range []string{leaf, ""} {
			if !g.knows(name) {
				return false
			}
		}
		return true
	})
}

func (g *eventLog) knows(leaf string) bool {
	g.e.mu.Lock()
	watches := slices.Collect(maps.Keys(g.e.watches)) // whose locks come before this one
	g.e.mu.Unlock()
	for _, w := range watches {
		w.mu.Lock()
		yes := w.leaf == leaf && w.last.populated
		w.mu.Unlock()
		if yes {
			return true
		}
	}
	return false
}

// await waits for the kernel or the next look, without reading an account.
func (g *eventLog) await(t *testing.T, k EventKind, leaf string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for g.count(k, leaf) == 0 {
		select {
		case _, open := <-g.e.Ready():
			if !open && g.count(k, leaf) == 0 {
				t.Fatalf("ended without %v of %q: %+v", k, leaf, g.seen)
			}
		case <-deadline:
			t.Fatalf("never: %v of %q in %+v", k, leaf, g.seen)
		}
	}
}

// oomKilled runs what must die of SIGKILL, not of a thread that was refused.
func oomKilled(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(t, run(cmd), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), exit.String())
}

func TestEventOOMKill(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int64
		want  uint64
	}{{"limited", 32 << 20, 1}, {"control", 512 << 20, 0}} {
		t.Run(c.name, func(t *testing.T) {
			m := testManager(t, Limits{Memory: c.limit})
			before := testLeaf(t, m, "before", Limits{})
			log := subscribe(t, m, EventOptions{})
			// Well below the sandbox's, which counts what else is in it.
			after := testLeaf(t, m, "after", Limits{Memory: c.limit * 3 / 4})
			for _, l := range []*Leaf{before, after} {
				cmd := self(l, "hog 128")
				err := run(cmd)
				assert.Equal(t, c.want == 0, err == nil, err)
				if c.want > 0 {
					log.await(t, EventOOMKill, l.Name())
				}
			}
			_, err := m.Stats()
			require.NoError(t, err)
			for _, l := range []*Leaf{before, after} {
				assert.Equal(t, c.want, log.count(EventOOMKill, l.Name()), l.Name())
			}
			assert.Zero(t, log.count(EventOOMKill, ""), "told once, of the leaf")
			assert.Equal(t, c.want > 0, log.count(EventOOM, "before")+log.count(EventOOM, "") > 0)
			assert.Equal(t, c.want > 0, log.count(EventOOM, "after") > 0, "the leaf's own limit")
			assert.Equal(t, c.want > 0, log.count(EventMemoryLimit, "after") > 0)
			assert.Zero(t, log.count(EventPidsLimit, "after"))
		})
	}
}

// What happened right before the group went is told all the same, and nobody
// had to read the accounts for it.
func TestEventsOfWhatIsGone(t *testing.T) {
	// The zombies of one command, which the machine's init has yet to reap, must not keep the next from making threads.
	m := testManager(t, Limits{Memory: 32 << 20, Pids: 200})
	log := subscribe(t, m, EventOptions{Kinds: EventOOMKill | EventPidsLimit | EventEmpty})
	rounds := some(5, 2)
	var single []*Events
	for i := range rounds {
		l := testLeaf(t, m, fmt.Sprint("cmd", i), Limits{Pids: 15})
		e, err := l.Events(context.Background(), EventOptions{Kinds: EventOOMKill})
		require.NoError(t, err)
		single = append(single, e)
		oomKilled(t, self(l, "hog 128"))
		require.Error(t, run(command(l, "/bin/sh", "-c", forks, "20")))
		require.NoError(t, l.Kill(late()))
		require.NoError(t, l.Delete())
	}
	for i := range rounds {
		leaf := fmt.Sprint("cmd", i)
		assert.EqualValues(t, 1, log.count(EventOOMKill, leaf), leaf)
		assert.Positive(t, log.count(EventPidsLimit, leaf), leaf)
		assert.Positive(t, log.count(EventEmpty, leaf), leaf)
		// A subscription to the leaf has ended with it, and gives what it has.
		var all []Event
		for ev := range single[i].All() {
			all = append(all, ev)
		}
		require.Len(t, all, 1)
		assert.Equal(t, Event{Kind: EventOOMKill, Leaf: leaf, Count: 1, Total: 1, Time: all[0].Time}, all[0])
		assert.WithinDuration(t, time.Now(), all[0].Time, time.Hour)
	}
	require.NoError(t, m.Delete())
	_, open := <-log.e.Ready()
	for open {
		_, open = <-log.e.Ready()
	}
}

// The sum of what is told is what the accounts say.
func TestEventsAddUp(t *testing.T) {
	m := testManager(t, Limits{Memory: 256 << 20, Pids: 50})
	log := subscribe(t, m, EventOptions{})
	for i := range 3 {
		l := testLeaf(t, m, fmt.Sprint("cmd", i), Limits{Memory: 32 << 20, Pids: 15})
		for range i { // before there are zombies in the way of its threads
			oomKilled(t, self(l, "hog 128"))
		}
		for range i {
			require.Error(t, run(command(l, "/bin/sh", "-c", forks, "20")))
			require.NoError(t, l.Kill(late()))
		}
		_, err := l.Totals()
		require.NoError(t, err)
		require.NoError(t, l.Delete())
	}
	s, err := m.Stats()
	require.NoError(t, err)
	var kills, refused uint64
	for i := range 3 {
		kills += log.count(EventOOMKill, fmt.Sprint("cmd", i))
		refused += log.count(EventPidsLimit, fmt.Sprint("cmd", i))
	}
	assert.EqualValues(t, 3, kills)
	assert.Equal(t, s.Memory.OOMKills, kills)
	assert.Positive(t, refused)
	if m.localPids {
		assert.Equal(t, s.Pids.LimitHits, refused)
	}
}

func TestEventPids(t *testing.T) {
	m := testManager(t, Limits{Pids: 6})
	log := subscribe(t, m, EventOptions{Kinds: EventPidsLimit})
	l := testLeaf(t, m, "cmd", Limits{Pids: 6})
	require.NoError(t, run(command(l, "/bin/sh", "-c", "true & true & wait")))
	require.NoError(t, l.Kill(late()))
	assert.Zero(t, log.count(EventPidsLimit, "cmd"), "control")
	start(t, l, "/bin/sh", "-c", `trap "" TERM; while :; do sleep 0.1 & sleep 0.1 & sleep 0.1 & sleep 0.1 & sleep 0.1 & sleep 0.1 & wait; done`)
	log.await(t, EventPidsLimit, "cmd")
}

func TestEventFreeze(t *testing.T) {
	m := testManager(t, Limits{Pids: 20})
	log := subscribe(t, m, EventOptions{Kinds: EventFrozen | EventThawed | EventEmpty})
	l := testLeaf(t, m, "cmd", Limits{})
	start(t, l, "sleep", "100")
	log.sees(t, "cmd")
	for i := range uint64(3) {
		require.NoError(t, m.Freeze(late()))
		assert.Equal(t, i+1, log.count(EventFrozen, ""))
		assert.Equal(t, i, log.count(EventThawed, ""))
		require.NoError(t, m.Thaw(late()))
		assert.Equal(t, i+1, log.count(EventThawed, ""))
	}
	assert.Zero(t, log.count(EventEmpty, "cmd"))
	require.NoError(t, m.Freeze(late()))
	require.NoError(t, m.Kill(late()))
	log.await(t, EventEmpty, "cmd")
	log.await(t, EventEmpty, "")
	// While its processes die a frozen group is not frozen, and when they have it may be for another moment.
	eventually(t, "a kill lets go", func() bool {
		thawed := log.count(EventThawed, "")
		return thawed >= 4 && log.count(EventFrozen, "") == thawed
	})
}

func TestEventEmpty(t *testing.T) {
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	log := subscribe(t, m, EventOptions{Kinds: EventEmpty})
	cmd := start(t, l, "sleep", "100")
	log.sees(t, "cmd")
	require.NoError(t, cmd.Process.Kill())
	log.await(t, EventEmpty, "cmd")
	log.await(t, EventEmpty, "")
	idle := testLeaf(t, m, "idle", Limits{})
	require.NoError(t, idle.Delete())
	assert.Zero(t, log.count(EventEmpty, "idle"), "never had a process")
}

// What there is of MemoryHigh on v2, and that v1 says it has none.
func TestEventMemoryHigh(t *testing.T) {
	if versionOf(testBase(t).Dirs, MemoryController) == 1 {
		m := testManager(t, Limits{Memory: 64 << 20})
		_, err := m.Events(t.Context(), EventOptions{Kinds: EventMemoryHigh})
		require.ErrorIs(t, err, ErrUnsupported)
		for _, o := range []EventOptions{{}, {Kinds: AllEvents, Optional: true}} {
			e, err := m.Events(t.Context(), o)
			require.NoError(t, err)
			assert.False(t, e.Kinds().Has(EventMemoryHigh))
			assert.True(t, e.Kinds().Has(EventOOMKill|EventOOM|EventPidsLimit|EventEmpty|EventMemoryPressure))
			e.Close()
		}
		return
	}
	m := testManager(t, Limits{Memory: 256 << 20, MemoryHigh: 64 << 20})
	log := subscribe(t, m, EventOptions{Kinds: EventMemoryHigh | EventOOMKill})
	l := testLeaf(t, m, "cmd", Limits{})
	require.NoError(t, run(self(l, "hog 4")))
	assert.Zero(t, log.count(EventMemoryHigh, ""), "control")
	cmd := self(l, "hog 96") // is slowed down for long
	require.NoError(t, cmd.Start())
	closeExtra(cmd)
	log.await(t, EventMemoryHigh, "")
	require.NoError(t, l.Kill(late()))
	_ = cmd.Wait()
}

// A group whose files are read again and again while they do not fit is under
// pressure; one that has room is not.
func TestEventPressure(t *testing.T) {
	m := testManager(t, Limits{Memory: 24 << 20})
	trigger := PressureTrigger{Kind: EventMemoryPressure, Stall: 20 * time.Millisecond, Window: 2 * time.Second}
	e, err := m.Events(t.Context(), EventOptions{Kinds: EventMemoryPressure, Pressure: []PressureTrigger{trigger}})
	if err != nil && versionOf(m.dirs, MemoryController) == 2 {
		require.ErrorIs(t, err, ErrUnsupported)
		t.Skip("needs PSI: " + err.Error())
	}
	require.NoError(t, err)
	log := &eventLog{e: e}
	l := testLeaf(t, m, "cmd", Limits{})
	require.NoError(t, run(self(l, "hog 4")))
	assert.Zero(t, log.count(EventMemoryPressure, ""), "control")
	// Not files of its own: those may be in a tmpfs, which cannot be reclaimed.
	cmd := start(t, l, "/bin/sh", "-c", "while :; do cat /usr/bin/* /usr/lib/*/*.so* > /dev/null 2>&1; done")
	log.await(t, EventMemoryPressure, "")
	_ = cmd.Process.Kill()
	require.NoError(t, l.Kill(late()))
	if versionOf(m.dirs, MemoryController) == 1 {
		_, err := m.Events(t.Context(), EventOptions{Kinds: EventCPUPressure})
		require.ErrorIs(t, err, ErrUnsupported)
	}
}

// One goroutine and one epoll instance serve all, and nothing stays.
func TestEventsLeaveNothing(t *testing.T) {
	m := testManager(t, Limits{Memory: 64 << 20, Pids: 100})
	var leaves []*Leaf
	for i := range 20 {
		leaves = append(leaves, testLeaf(t, m, fmt.Sprint("cmd", i), Limits{}))
	}
	files, goroutines := openFDs(), runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	e, err := m.Events(ctx, EventOptions{})
	require.NoError(t, err)
	single, err := leaves[0].Events(ctx, EventOptions{})
	require.NoError(t, err)
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines+1)
	assert.Greater(t, openFDs(), files)
	require.NoError(t, leaves[1].Delete())
	cancel()
	for range e.All() {
	}
	for range single.All() {
	}
	eventually(t, "descriptors are given back", func() bool { return openFDs() <= files })
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	idle := func() bool { theHub.Lock(); defer theHub.Unlock(); return theHub.hub == nil }
	eventually(t, "nobody waits", idle)
	assert.Empty(t, m.audience.list())
	e.Close()
	_, err = m.Events(ctx, EventOptions{}) // done already
	require.NoError(t, err)
	eventually(t, "a subscription with a context that is done ends", idle)
}

func TestEventsWhileAllChanges(t *testing.T) {
	m := testManager(t, Limits{Memory: 64 << 20, Pids: 100})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Add(2)
		go func() {
			defer wg.Done()
			for j := 0; ctx.Err() == nil; j++ {
				sub, stop := context.WithCancel(ctx)
				e, err := m.Events(sub, EventOptions{})
				if assert.NoError(t, err) && j%2 == 0 {
					time.AfterFunc(time.Millisecond, stop)
					for range e.All() {
					}
				}
				stop()
			}
		}()
		go func() {
			defer wg.Done()
			defer cancel()
			for j := range some(10, 3) {
				l, err := m.NewLeaf(fmt.Sprint("cmd", i, "-", j), Limits{})
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, run(command(l, "true")))
				assert.NoError(t, l.Delete())
			}
		}()
	}
	wg.Wait()
}

func TestEventsOfADeletedGroup(t *testing.T) {
	m, err := New(testParent(t), "sb", Limits{Pids: 20})
	require.NoError(t, err)
	l := testLeaf(t, m, "cmd", Limits{})
	require.NoError(t, l.Delete())
	_, err = l.Events(t.Context(), EventOptions{})
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, m.Delete())
	_, err = m.Events(t.Context(), EventOptions{})
	require.ErrorIs(t, err, ErrClosed)
	_, err = m.Events(t.Context(), EventOptions{Kinds: 1 << 15})
	require.ErrorIs(t, err, ErrInvalid)
}
