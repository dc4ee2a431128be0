package cgroup

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  int64
		killed bool
	}{
		{"limited", 32 << 20, true},
		{"control", 512 << 20, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := testManager(t, Limits{Memory: c.limit})
			l := testLeaf(t, m, "cmd", Limits{})
			cmd := self(l, "hog 128")
			err := run(cmd)
			if c.killed {
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit)
				assert.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
			} else {
				require.NoError(t, err)
			}
			want := uint64(0)
			if c.killed {
				want = 1
			}
			for what, read := range map[string]func() (Stats, error){"leaf": l.Stats, "totals": l.Totals, "manager": m.Stats} {
				s, err := read()
				require.NoError(t, err)
				assert.Equal(t, want, s.Memory.OOMKills, what)
				assert.LessOrEqual(t, s.Memory.Peak, c.limit, what)
				assert.Greater(t, s.Memory.Peak, min(c.limit, 128<<20)*3/4, what)
				assert.Positive(t, s.CPU.Total, what)
				assert.Equal(t, s.CPU.Total, s.CPU.User+s.CPU.System, what)
			}
			n, err := l.OOMKills()
			require.NoError(t, err)
			assert.Equal(t, want, n)
			require.NoError(t, l.Delete())
			s, err := m.Stats()
			require.NoError(t, err)
			assert.Equal(t, want, s.Memory.OOMKills, "after the leaf is gone")
			if c.killed {
				assert.Positive(t, s.Memory.LimitHits)
			}
		})
	}
}

// An OOM kill takes the whole command where the kernel can do that, and leaves
// the other commands of the sandbox alone everywhere.
func TestOOMGroup(t *testing.T) {
	m := testManager(t, Limits{Memory: 48 << 20, OOMGroup: true})
	other, l := testLeaf(t, m, "other", Limits{}), testLeaf(t, m, "cmd", Limits{})
	bystander := start(t, other, "sleep", "100")
	cmd := self(l, "hog 128")
	cmd.Args[2] = strings.Replace(cmd.Args[2], `exec "$@"`, `sleep 100 & "$@"; sleep 100`, 1)
	require.NoError(t, cmd.Start())
	closeExtra(cmd)
	eventually(t, "an OOM kill", func() bool { n, err := l.OOMKills(); return err == nil && n > 0 })
	if versionOf(m.dirs, MemoryController) == 2 {
		eventually(t, "all of the command is gone", func() bool { some, err := l.Populated(); return err == nil && !some })
		assert.Empty(t, m.Notes())
	} else {
		some, err := l.Populated()
		require.NoError(t, err)
		assert.True(t, some, "v1 kills one process")
		assert.NotEmpty(t, m.Notes())
		require.NoError(t, l.Kill(time.Time{}))
	}
	_ = cmd.Wait()
	pids, err := m.Procs()
	require.NoError(t, err)
	assert.Equal(t, []int{bystander.Process.Pid}, pids)
}

// A leaf's own limit holds below the sandbox's.
func TestLeafLimits(t *testing.T) {
	m := testManager(t, Limits{Memory: 512 << 20, Pids: 100})
	tight := testLeaf(t, m, "tight", Limits{Memory: 32 << 20, Pids: 50})
	require.Error(t, run(self(tight, "hog 128")))
	s, err := tight.Totals()
	require.NoError(t, err)
	assert.EqualValues(t, 1, s.Memory.OOMKills)
	assert.Positive(t, s.Memory.LimitHits)
	require.NoError(t, run(self(testLeaf(t, m, "loose", Limits{}), "hog 128")))
}

// sh -c that starts n sleepers; dash ends with status 2 when it cannot fork.
const forks = `i=0; while [ $i -lt $0 ]; do sleep 100 & p="$p $!"; i=$((i+1)); done; kill $p; wait`

func TestPidsLimit(t *testing.T) {
	m := testManager(t, Limits{Pids: 8})
	over := testLeaf(t, m, "over", Limits{})
	cmd := command(over, "/bin/sh", "-c", forks, "20")
	assert.Error(t, run(cmd), "20 processes with a limit of 8")
	require.NoError(t, over.Kill(time.Time{}))
	for what, read := range map[string]func() (Stats, error){"leaf": over.Totals, "manager": m.Stats} {
		s, err := read()
		require.NoError(t, err)
		assert.Positive(t, s.Pids.LimitHits, what)
		if s.Pids.Peak != 0 { // 6.1
			assert.Equal(t, 8, s.Pids.Peak, what)
		}
	}
	require.NoError(t, over.Delete())
	s, err := m.Stats()
	require.NoError(t, err)
	assert.Positive(t, s.Pids.LimitHits, "after the leaf is gone")

	within := testLeaf(t, m, "within", Limits{})
	// What was killed counts until its new parent has waited for it.
	eventually(t, "the killed are gone", func() bool { s, err := m.Stats(); return err == nil && s.Pids.Current == 0 })
	require.NoError(t, run(command(within, "/bin/sh", "-c", forks, "5")))
	s, err = within.Totals()
	require.NoError(t, err)
	assert.Zero(t, s.Pids.LimitHits, "control")
}

func TestCPULimit(t *testing.T) {
	m := testManager(t, Limits{CPUs: 0.2})
	l := testLeaf(t, m, "cmd", Limits{})
	start(t, l, "/bin/sh", "-c", "while :; do :; done")
	// The kernel's own account of throttling is the proof, not our clock.
	eventually(t, "throttled", func() bool {
		s, err := l.Stats()
		require.NoError(t, err)
		return s.CPU.Throttled > 200*time.Millisecond
	})
	s, err := m.Stats()
	require.NoError(t, err)
	assert.Greater(t, s.CPU.Throttled, 200*time.Millisecond)
	require.NoError(t, l.Kill(time.Time{}))

	free := testManagerNamed(t, m, "free", Limits{})
	fl := testLeaf(t, free, "cmd", Limits{})
	start(t, fl, "/bin/sh", "-c", "while :; do :; done")
	eventually(t, "half a second of CPU", func() bool {
		d, err := fl.CPUUsage()
		require.NoError(t, err)
		return d > 300*time.Millisecond
	})
	s, err = fl.Stats()
	require.NoError(t, err)
	assert.Zero(t, s.CPU.Throttled, "control")
}

// testManagerNamed makes a sandbox next to another.
func testManagerNamed(t testing.TB, by *Manager, name string, l Limits) *Manager {
	t.Helper()
	var p Parent
	for _, d := range by.dirs {
		d.Path = d.Path[:len(d.Path)-len("/"+by.name)]
		p.Dirs = append(p.Dirs, d)
	}
	m, err := New(p, name, l)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Kill(time.Time{}))
		require.NoError(t, m.Delete())
	})
	return m
}

func TestFreeze(t *testing.T) {
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	start(t, l, "/bin/sh", "-c", "while :; do :; done")
	usage := func() time.Duration {
		d, err := l.CPUUsage()
		require.NoError(t, err)
		return d
	}
	moves := func() bool { a := usage(); time.Sleep(60 * time.Millisecond); return usage() > a }
	eventually(t, "runs", moves)
	for range 3 {
		require.NoError(t, m.Freeze(time.Time{}))
		is, err := m.Frozen()
		require.NoError(t, err)
		assert.True(t, is)
		usage()
		assert.False(t, moves(), "frozen yet running")
		require.NoError(t, m.Thaw(time.Time{}))
		is, err = m.Frozen()
		require.NoError(t, err)
		assert.False(t, is)
		eventually(t, "goes on", moves)
	}
}

func TestFreezeEmpty(t *testing.T) {
	m := testManager(t, Limits{})
	require.NoError(t, m.Freeze(time.Time{}))
	require.NoError(t, m.Thaw(time.Time{}))
}

const bomb = `trap '' TERM HUP INT; b() { b | b & }; b; while :; do :; done`

func TestKillForkBomb(t *testing.T) {
	for _, c := range []struct {
		name string
		kill func(*Manager, *Leaf) error
	}{
		{"leaf", func(_ *Manager, l *Leaf) error { return l.Kill(time.Now().Add(10 * time.Second)) }},
		{"sandbox", func(m *Manager, _ *Leaf) error { return m.Kill(time.Now().Add(10 * time.Second)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := testManager(t, Limits{Pids: 60, Memory: 256 << 20})
			l := testLeaf(t, m, "cmd", Limits{})
			cmd := command(l, "/bin/sh", "-c", bomb)
			require.NoError(t, cmd.Start())
			closeExtra(cmd)
			go cmd.Wait()
			eventually(t, "the limit is reached", func() bool {
				s, err := l.Stats()
				require.NoError(t, err)
				return s.Pids.LimitHits > 0
			})
			require.NoError(t, c.kill(m, l))
			some, err := l.Populated()
			require.NoError(t, err)
			assert.False(t, some)
			pids, err := m.Procs()
			require.NoError(t, err)
			assert.Empty(t, pids)
			require.NoError(t, l.Delete())
			eventually(t, "the killed are gone", func() bool { s, err := m.Stats(); return err == nil && s.Pids.Current == 0 })
			again := testLeaf(t, m, "cmd", Limits{}) // the sandbox is still of use
			require.NoError(t, run(command(again, "/bin/sh", "-c", "true & wait")))
		})
	}
}

func TestKillFrozen(t *testing.T) {
	m := testManager(t, Limits{})
	a, b := testLeaf(t, m, "a", Limits{}), testLeaf(t, m, "b", Limits{})
	start(t, a, "sleep", "100")
	start(t, b, "/bin/sh", "-c", "while :; do :; done")
	eventually(t, "both inside", func() bool { p, _ := m.Procs(); return len(p) == 2 })
	require.NoError(t, m.Freeze(time.Time{}))
	before, err := b.CPUUsage()
	require.NoError(t, err)
	require.NoError(t, a.Kill(time.Time{}), "one leaf of a frozen sandbox")
	require.NoError(t, a.Delete())
	after, err := b.CPUUsage()
	require.NoError(t, err)
	assert.Equal(t, before, after, "the other command ran meanwhile")
	is, err := m.Frozen()
	require.NoError(t, err)
	assert.True(t, is)
	require.NoError(t, m.Kill(time.Time{}), "the frozen sandbox")
	is, err = m.Frozen()
	require.NoError(t, err)
	assert.False(t, is)
}

func TestDeletePopulated(t *testing.T) {
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	cmd := start(t, l, "sleep", "100")
	eventually(t, "inside", func() bool { p, _ := l.Procs(); return len(p) == 1 && p[0] == cmd.Process.Pid })
	err := m.Delete()
	require.ErrorIs(t, err, unix.EBUSY)
	assert.Contains(t, err.Error(), "kill the group first")
	some, err := l.Populated()
	require.NoError(t, err, "still usable")
	assert.True(t, some)
	require.NoError(t, l.Kill(time.Time{}))
	require.NoError(t, l.Kill(time.Time{}), "an empty one")
	require.NoError(t, m.Delete())
	require.NoError(t, m.Delete())
	require.NoError(t, l.Delete())
	for _, err := range []error{m.Freeze(time.Time{}), errOf(l.Stats()), errOf(l.Procs()), errOf(m.NewLeaf("x", Limits{})), errOf(l.CPUUsage())} {
		assert.ErrorIs(t, err, ErrClosed)
	}
	assert.Equal(t, -1, l.FD())
	assert.Empty(t, l.TasksFDs())
}

func errOf[T any](_ T, err error) error { return err }

func TestDeleteNestedAndFrozen(t *testing.T) {
	m, err := New(testParent(t), "sb", Limits{})
	require.NoError(t, err)
	l := testLeaf(t, m, "cmd", Limits{})
	for _, p := range l.ps {
		require.NoError(t, os.MkdirAll(p.Path+"/a/b", 0o755))
		require.NoError(t, os.Mkdir(p.Path+"/c", 0o755))
	}
	require.NoError(t, m.Freeze(time.Time{}))
	require.NoError(t, l.Delete())
	for _, d := range m.dirs {
		require.NoError(t, os.Mkdir(d.Path+"/other", 0o755))
	}
	require.NoError(t, m.Delete())
}

// Every operation of a set-up made to fail, one after the other.
func TestRollback(t *testing.T) {
	p := testParent(t)
	limits := Limits{Memory: 64 << 20, CPUs: 0.5, CPUWeight: 50, Pids: 20, OOMGroup: true}
	empty := func(what string, op Op) {
		for _, d := range p.Dirs {
			fd, subs, err := openSubdirs(unix.AT_FDCWD, d.Path)
			require.NoError(t, err)
			unix.Close(fd)
			assert.Empty(t, subs, "%s: left after %s", what, op)
		}
	}
	plan, err := limits.Plan(p, "sb")
	require.NoError(t, err)
	var done []Op
	m, err := NewWith(p, "sb", limits, Options{Trace: func(o Op) error { done = append(done, o); return nil }})
	require.NoError(t, err)
	require.NoError(t, m.Delete())
	assert.Equal(t, plan, done, "the plan is what is done")
	fds := openFDs()
	for i := range plan {
		fail := failAt(i)
		_, err := NewWith(p, "sb", limits, Options{Trace: fail})
		requireFailed(t, err, plan[i])
		empty("New", plan[i])
	}

	count, fail := 0, func(Op) error { return nil }
	m, err = NewWith(p, "sb", limits, Options{Trace: func(o Op) error { count++; return fail(o) }})
	require.NoError(t, err)
	own := Limits{Memory: 32 << 20, Pids: 5}
	leafPlan, err := m.LeafPlan("cmd", own)
	require.NoError(t, err)
	for i := range leafPlan {
		fail = failAt(i)
		_, err := m.NewLeaf("cmd", own)
		requireFailed(t, err, leafPlan[i])
	}
	fail, count = func(Op) error { return nil }, 0
	l, err := m.NewLeaf("cmd", own)
	require.NoError(t, err, "usable after every failure")
	assert.Equal(t, len(leafPlan), count)
	_, err = m.NewLeaf("cmd", own)
	require.ErrorIs(t, err, unix.EEXIST)
	_, err = l.Stats()
	require.NoError(t, err, "the first of that name is untouched")
	require.NoError(t, m.Delete())
	empty("Delete", Op{})
	assert.Equal(t, fds, openFDs())
}

func failAt(n int) func(Op) error {
	return func(Op) error {
		if n--; n < 0 {
			return unix.EMLINK // which nothing here returns by itself
		}
		return nil
	}
}

func requireFailed(t *testing.T, err error, op Op) {
	t.Helper()
	require.ErrorIs(t, err, unix.EMLINK)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, op, Op{e.Op, e.Path, e.Data})
}

func TestOwnerRollback(t *testing.T) {
	base := testBase(t)
	w, err := NewOwner(base, os.Getpid(), Options{})
	require.NoError(t, err)
	_, err = NewOwner(base, os.Getpid(), Options{})
	require.ErrorIs(t, err, unix.EEXIST)
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	for i := 0; ; i++ {
		w, err := NewOwner(base, os.Getpid(), Options{Trace: failAt(i)})
		if err == nil {
			assert.Greater(t, i, 1)
			require.NoError(t, w.Close())
			return
		}
		require.ErrorIs(t, err, unix.EMLINK)
		name, err := OwnerName(os.Getpid())
		require.NoError(t, err)
		for _, d := range base.Dirs {
			assert.NoDirExists(t, d.Path+"/"+name)
		}
	}
}

func TestUpdate(t *testing.T) {
	m := testManager(t, Limits{Memory: 64 << 20, Pids: 20})
	l := testLeaf(t, m, "cmd", Limits{})
	require.NoError(t, m.Update(Limits{Memory: 256 << 20, Pids: 30}))
	assert.Equal(t, Limits{Memory: 256 << 20, Pids: 30}, m.Limits())
	require.NoError(t, run(self(l, "hog 128")), "more than the first limit")
	require.NoError(t, m.Update(Limits{Memory: 32 << 20}))
	require.Error(t, run(self(l, "hog 128")))
	require.NoError(t, m.Update(Limits{Memory: Max, Swap: Max}))
	require.NoError(t, run(self(l, "hog 128")))
	require.ErrorIs(t, m.Update(Limits{Pids: -3}), ErrInvalid)
	require.ErrorIs(t, m.Update(Limits{CPUs: 0.5}), ErrUnsupported, "New set up no cpu controller")
	p := m.ps.of(PidsController)
	assert.Equal(t, "30", slurp(t, p.Path+"/pids.max"))
}

// A limit that is refused leaves the others as they were.
func TestUpdateRollback(t *testing.T) {
	fail := func(Op) error { return nil }
	m, err := NewWith(testParent(t), "sb", Limits{Memory: 64 << 20, Pids: 20}, Options{Trace: func(o Op) error { return fail(o) }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Delete()) })
	fail = func(o Op) error {
		if strings.HasSuffix(o.Path, "/pids.max") && o.Data == "30" {
			return unix.EMLINK
		}
		return nil
	}
	require.ErrorIs(t, m.Update(Limits{Memory: 128 << 20, Pids: 30}), unix.EMLINK)
	file := "/memory.max"
	if versionOf(m.dirs, MemoryController) == 1 {
		file = "/memory.limit_in_bytes"
	}
	assert.Equal(t, "67108864", slurp(t, m.ps.of(MemoryController).Path+file))
	assert.Equal(t, "20", slurp(t, m.ps.of(PidsController).Path+"/pids.max"))
}

func TestReader(t *testing.T) {
	m := testManager(t, Limits{Pids: 20})
	l := testLeaf(t, m, "cmd", Limits{})
	cmd := start(t, l, "sleep", "100")
	b, err := json.Marshal([]Description{m.Describe(), l.Describe()})
	require.NoError(t, err)
	var ds []Description
	require.NoError(t, json.Unmarshal(b, &ds))
	eventually(t, "inside", func() bool { p, _ := l.Procs(); return len(p) == 1 })
	require.NoError(t, m.Freeze(time.Time{}))
	for i, d := range ds {
		r, err := Open(d)
		require.NoError(t, err)
		s, err := r.Stats()
		require.NoError(t, err)
		assert.Equal(t, 1, s.Pids.Current)
		assert.Positive(t, s.Memory.Current)
		pids, err := r.Procs()
		require.NoError(t, err)
		assert.Equal(t, []int{cmd.Process.Pid}, pids)
		some, err := r.Populated()
		require.NoError(t, err)
		assert.True(t, some)
		is, err := r.Frozen()
		require.NoError(t, err)
		assert.True(t, is || i == 1 && versionOf(m.dirs, FreezerController) == 1)
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		_, err = r.Stats()
		require.ErrorIs(t, err, ErrClosed)
	}
	r, err := Open(ds[1])
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, l.Kill(time.Time{}))
	require.NoError(t, l.Delete())
	_, err = r.Stats()
	require.Error(t, err)
	assert.True(t, gone(err), err)
	_, err = Open(ds[1])
	require.ErrorIs(t, err, unix.ENOENT)
}

// Everything at once; the race detector and the clean-up are the judges.
func TestConcurrent(t *testing.T) {
	m := testManager(t, Limits{Pids: 200, Memory: 256 << 20})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 8 {
				l, err := m.NewLeaf(fmt.Sprint("cmd", i, "-", j), Limits{})
				if !assert.NoError(t, err) {
					return
				}
				cmd := command(l, "sleep", "100")
				assert.NoError(t, cmd.Start())
				closeExtra(cmd)
				_, err = m.Stats()
				assert.NoError(t, err)
				_, err = l.CPUUsage()
				assert.NoError(t, err)
				assert.NoError(t, l.Kill(time.Now().Add(10*time.Second)))
				_ = cmd.Process.Kill() // in case it had not got inside yet
				_ = cmd.Wait()
				_, err = l.Totals()
				assert.NoError(t, err)
				assert.NoError(t, l.Delete())
			}
		}()
	}
	wg.Wait()
	m.lm.Lock()
	defer m.lm.Unlock()
	assert.Empty(t, m.leaves)
}

// Delete may come while others read.
func TestDeleteWhileReading(t *testing.T) {
	m, err := New(testParent(t), "sb", Limits{Pids: 20})
	require.NoError(t, err)
	l := testLeaf(t, m, "cmd", Limits{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				_, err := l.Stats()
				_, err2 := l.CPUUsage()
				if _, err3 := m.Stats(); err != nil && err2 != nil && err3 != nil {
					assert.ErrorIs(t, err3, ErrClosed)
					return
				}
			}
		}()
	}
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, m.Delete())
	wg.Wait()
}
