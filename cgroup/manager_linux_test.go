package cgroup

import (
	"os"
	"os/exec"
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
			m := testManager(t, Limits{Memory: c.limit, OOMGroup: true})
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
