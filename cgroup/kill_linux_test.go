package cgroup

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// moves tells whether a command uses CPU time.
func moves(t *testing.T, l *Leaf) bool {
	t.Helper()
	before, err := l.CPUUsage()
	require.NoError(t, err)
	time.Sleep(60 * time.Millisecond)
	after, err := l.CPUUsage()
	require.NoError(t, err)
	return after > before
}

// standsStill waits until a frozen command does. A task counts as frozen before it has left its processor (cgroup_enter_frozen, then
// schedule), which takes as long as that processor likes. So it is given time to leave, and then may not come back.
func standsStill(t *testing.T, l *Leaf) {
	t.Helper()
	eventually(t, "stands still", func() bool {
		for range 5 {
			if moves(t, l) {
				return false
			}
		}
		return true
	})
}

func TestFreeze(t *testing.T) {
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	start(t, l, "/bin/sh", "-c", "while :; do :; done")
	moves := func() bool { return moves(t, l) }
	eventually(t, "runs", moves)
	for range 3 {
		require.NoError(t, m.Freeze(late()))
		is, err := m.Frozen()
		require.NoError(t, err)
		assert.True(t, is)
		standsStill(t, l)
		require.NoError(t, m.Thaw(late()))
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
			m := testManager(t, Limits{Pids: some(60, 25), Memory: 256 << 20})
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
	require.NoError(t, m.Freeze(late()))
	standsStill(t, b)
	before, err := b.CPUUsage()
	require.NoError(t, err)
	require.NoError(t, a.Kill(late()), "one leaf of a frozen sandbox")
	require.NoError(t, a.Delete())
	after, err := b.CPUUsage()
	require.NoError(t, err)
	assert.Equal(t, before, after, "the other command ran meanwhile")
	is, err := m.Frozen()
	require.NoError(t, err)
	assert.True(t, is)
	require.NoError(t, m.Kill(late()), "the frozen sandbox")
	is, err = m.Frozen()
	require.NoError(t, err)
	assert.False(t, is)
}

// Where forking cannot be forbidden the group stands still while it is killed.
func TestKillWithoutPidsController(t *testing.T) {
	outer := testManager(t, Limits{Pids: 60})
	guard := testLeaf(t, outer, "guard", Limits{})
	var p Parent
	for _, d := range outer.dirs {
		if d.Controllers &^= PidsController; d.Controllers != 0 {
			p.Dirs = append(p.Dirs, d)
		}
	}
	m, err := New(p, "inner", Limits{})
	require.NoError(t, err)
	assert.Equal(t, PidsController, m.Missing())
	require.ErrorIs(t, m.Update(Limits{Pids: 5}), ErrUnsupported)
	l := testLeaf(t, m, "cmd", Limits{})
	// The limit of the group outside keeps the test itself from harm.
	cmd := command(&Leaf{dirFD: l.FD(), tasks: append(append([]int{}, guard.TasksFDs()...), l.TasksFDs()...)}, "/bin/sh", "-c", bomb)
	require.NoError(t, cmd.Start())
	closeExtra(cmd)
	go cmd.Wait()
	eventually(t, "the limit is near", func() bool { s, err := outer.Stats(); return err == nil && s.Pids.Current > 40 })
	require.NoError(t, l.Kill(late()))
	pids, err := outer.Procs()
	require.NoError(t, err)
	assert.Empty(t, pids)
	is, err := m.Frozen()
	require.NoError(t, err)
	assert.False(t, is)
	require.NoError(t, m.Delete())
}

// A group that stays frozen because the one above it is.
func TestDeadlines(t *testing.T) {
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	cmd := start(t, l, "sleep", "100")
	eventually(t, "inside", func() bool { p, _ := m.Procs(); return len(p) == 1 })
	above := *m.ps.of(FreezerController)
	above.prefix = "../"
	moment := func() time.Time { return time.Now().Add(30 * time.Millisecond) }
	require.NoError(t, places{above}.freeze(true, late()))
	require.NoError(t, m.Freeze(late()))
	err := m.Thaw(moment())
	require.ErrorIs(t, err, unix.ETIMEDOUT)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.Contains(t, err.Error(), "thaw ")
	if above.Version == 1 { // v2 kills what is frozen
		err = m.Kill(moment())
		require.ErrorIs(t, err, unix.ETIMEDOUT)
		assert.Contains(t, err.Error(), itoa(cmd.Process.Pid), "who is left is named")
	}
	require.NoError(t, places{above}.freeze(false, late()))
	require.NoError(t, m.Kill(late()), "and later it works")
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
	require.NoError(t, l.Kill(late()))
	require.NoError(t, l.Kill(late()), "an empty one")
	require.NoError(t, m.Delete())
	require.NoError(t, m.Delete())
	require.NoError(t, l.Delete())
	for _, err := range []error{m.Freeze(late()), errOf(l.Stats()), errOf(l.Procs()), errOf(m.NewLeaf("x", Limits{})), errOf(l.CPUUsage())} {
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
	require.NoError(t, m.Freeze(late()))
	require.NoError(t, l.Delete())
	for _, d := range m.dirs {
		require.NoError(t, os.Mkdir(d.Path+"/other", 0o755))
	}
	require.NoError(t, m.Delete())
}

// What is refused to processes that are being killed is no hit of a limit.
func TestKillIsNoHit(t *testing.T) {
	m := testManager(t, Limits{Pids: 50})
	for i := range 10 {
		l := testLeaf(t, m, "cmd", Limits{Pids: 20})
		out, err := os.CreateTemp(t.TempDir(), "")
		require.NoError(t, err)
		cmd := command(l, "/bin/sh", "-c", "while :; do (:); echo; done")
		cmd.Stdout = out
		require.NoError(t, cmd.Start())
		closeExtra(cmd)
		eventually(t, "it forks", func() bool { st, err := out.Stat(); return err == nil && st.Size() > 20 })
		require.NoError(t, l.Kill(late()))
		_ = cmd.Wait()
		require.NoError(t, out.Close())
		s, err := l.Totals()
		require.NoError(t, err)
		assert.Zero(t, s.Pids.LimitHits, i)
		require.NoError(t, l.Delete())
	}
}
