package cgroup

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
				// What the kernel must have to end the process may go beyond.
				assert.LessOrEqual(t, s.Memory.Peak, c.limit+1<<20, what)
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
	if m.KillsWholeLeaf() {
		eventually(t, "all of the command is gone", func() bool { some, err := l.Populated(); return err == nil && !some })
		assert.Empty(t, m.Notes())
	} else {
		some, err := l.Populated()
		require.NoError(t, err)
		assert.True(t, some, "v1 kills one process")
		assert.NotEmpty(t, m.Notes())
		require.NoError(t, l.Kill(late()))
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
	require.NoError(t, over.Kill(late()))
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

// A leaf's own pids limit is counted there and not against its neighbour.
func TestLeafPidsLimit(t *testing.T) {
	m := testManager(t, Limits{Pids: 100})
	tight, other := testLeaf(t, m, "tight", Limits{Pids: 4}), testLeaf(t, m, "other", Limits{})
	require.Error(t, run(command(tight, "/bin/sh", "-c", forks, "20")))
	require.NoError(t, tight.Kill(late()))
	for what, c := range map[string]struct {
		read func() (Stats, error)
		hit  bool
	}{"leaf": {tight.Totals, true}, "manager": {m.Stats, true}, "other": {other.Totals, false}} {
		s, err := c.read()
		require.NoError(t, err)
		assert.Equal(t, c.hit, s.Pids.LimitHits > 0, what)
	}
}

func TestCPULimit(t *testing.T) {
	m := testManager(t, Limits{CPUs: 0.05}) // less than a busy machine leaves it
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
	require.NoError(t, l.Kill(late()))

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
		require.NoError(t, m.Kill(late()))
		require.NoError(t, m.Delete())
	})
	return m
}
