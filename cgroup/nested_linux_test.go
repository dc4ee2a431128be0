package cgroup

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// nested makes groups of one relative path below each place of a sandbox or a
// leaf, as a job can to which its group was handed.
func nested(t *testing.T, ps places, rel string) {
	t.Helper()
	for _, p := range ps {
		require.NoError(t, os.MkdirAll(p.Path+"/"+rel, 0o755))
	}
}

// moveTo puts a process into the nested group of each place.
func moveTo(t *testing.T, ps places, rel string, pid int) {
	t.Helper()
	for _, p := range ps {
		require.NoError(t, os.WriteFile(p.Path+"/"+rel+"/cgroup.procs", []byte(itoa(pid)), 0))
	}
}

// freezeAt freezes a group as anybody can to whom it belongs, and waits until it stands still.
func freezeAt(t *testing.T, p *place, rel string) {
	t.Helper()
	in := *p
	in.prefix += rel + "/"
	require.NoError(t, places{in}.freeze(true, late()))
}

// A job may have frozen a group of its own: on v1 SIGKILL reaches nobody in it
// before it is thawed.
func TestKillFrozenBelow(t *testing.T) {
	for _, c := range []struct {
		name string
		kill func(*Manager, *Leaf) error
	}{
		{"sandbox", func(m *Manager, _ *Leaf) error { return m.Kill(time.Now().Add(10 * time.Second)) }},
		{"leaf", func(_ *Manager, l *Leaf) error { return l.Kill(time.Now().Add(10 * time.Second)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := testManager(t, Limits{})
			l := testLeaf(t, m, "cmd", Limits{})
			cmd := start(t, l, "/bin/sh", "-c", "while :; do :; done")
			f := l.ps.of(FreezerController)
			if f == nil { // on v1 the leaf has no directory of its own there
				f = m.ps.of(FreezerController)
			}
			nested(t, places{*f}, "a/b")
			dir := f.Path
			moveTo(t, places{*f}, "a/b", cmd.Process.Pid)
			freezeAt(t, f, "a")
			is, err := m.Frozen()
			require.NoError(t, err)
			require.False(t, is, "the sandbox itself is not")
			require.NoError(t, c.kill(m, l))
			err = cmd.Wait()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			pids, err := m.Procs()
			require.NoError(t, err)
			assert.Empty(t, pids)
			require.NoError(t, l.Delete())
			require.NoError(t, m.Delete())
			assert.NoDirExists(t, dir)
		})
	}
}

// Delete takes whatever shape of tree a job has made below its group.
func TestDeleteShapes(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(t *testing.T, ps places)
	}{
		{"deep", func(t *testing.T, ps places) { nested(t, ps, strings.Repeat("d/", 100)) }},
		{"wide", func(t *testing.T, ps places) {
			for i := range 200 {
				nested(t, ps, "w"+itoa(i))
			}
		}},
		{"frozen", func(t *testing.T, ps places) {
			nested(t, ps, "a/b")
			for i := range ps {
				if ps[i].Controllers.Has(FreezerController) {
					freezeAt(t, &ps[i], "a")
					freezeAt(t, &ps[i], "a/b")
				}
			}
		}},
		{"threaded", func(t *testing.T, ps places) {
			nested(t, ps, "a/b")
			for _, p := range ps {
				if p.Version == 2 {
					_ = os.WriteFile(p.Path+"/cgroup.subtree_control", []byte("-memory -io"), 0) // a domain of threads cannot hand it down
					require.NoError(t, os.WriteFile(p.Path+"/a/cgroup.type", []byte("threaded"), 0))
				}
			}
		}},
		{"odd names", func(t *testing.T, ps places) {
			for _, n := range []string{"a b", "...", "-rf", "\x01\xff", strings.Repeat("x", 255)} {
				nested(t, ps, n)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := testManager(t, Limits{})
			l := testLeaf(t, m, "cmd", Limits{})
			if len(l.ps) > 0 {
				c.build(t, l.ps)
				path := l.ps[0].Path
				require.NoError(t, l.Delete())
				assert.NoDirExists(t, path)
			}
			c.build(t, m.ps)
			require.NoError(t, m.Kill(late()))
			require.NoError(t, m.Delete())
			for _, d := range m.dirs {
				assert.NoDirExists(t, d.Path)
			}
		})
	}
}

// Nested groups with a fork bomb in one that goes on making further ones.
func TestDeleteForkingBelow(t *testing.T) {
	m := testManager(t, Limits{Pids: 60, Memory: 256 << 20})
	l := testLeaf(t, m, "cmd", Limits{})
	nested(t, l.ps, "a/b")
	script := `i=0; while :; do i=$((i+1)); for d in "$@"; do mkdir "$d/a/b/n$$-$i"; echo $$ >"$d/a/b/n$$-$i/cgroup.procs"; done; done 2>/dev/null & `
	args := []string{"/bin/sh", "-c", script + bomb, "sh"}
	for _, p := range l.ps {
		args = append(args, p.Path)
	}
	cmd := command(l, args...)
	require.NoError(t, cmd.Start())
	closeExtra(cmd)
	go cmd.Wait()
	eventually(t, "the limit is reached", func() bool {
		s, err := l.Stats()
		require.NoError(t, err)
		return s.Pids.LimitHits > 0
	})
	require.NoError(t, m.Kill(late()))
	require.NoError(t, m.Delete())
	for _, d := range m.dirs {
		assert.NoDirExists(t, d.Path)
	}
}

// A leaf which its job has made threaded refuses cgroup.kill and cgroup.procs
// with EOPNOTSUPP: whose threads are in it is killed all the same, and counted
// until it is dead.
func TestKillThreaded(t *testing.T) {
	onUnified(t)
	m := testManager(t, Limits{Pids: 60})
	l := testLeaf(t, m, "cmd", Limits{})
	p := l.ps.of(FreezerController)
	// The domain of threads is the sandbox, which may then hand down no memory controller.
	sub := m.ps.of(FreezerController).Path + "/cgroup.subtree_control"
	require.NoError(t, os.WriteFile(sub, []byte("-memory -io"), 0))
	require.NoError(t, os.WriteFile(p.Path+"/cgroup.type", []byte("threaded"), 0))
	cmd := exec.Command("/bin/sh", "-c", bomb)
	gate(t, cmd, m.ps.of(FreezerController).Path, p.Path+"/cgroup.threads")
	eventually(t, "the limit is reached", func() bool {
		b, err := os.ReadFile(m.ps.of(PidsController).Path + "/pids.current")
		n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && n > 40
	})
	_, err := os.ReadFile(p.Path + "/cgroup.procs")
	require.ErrorIs(t, err, unix.EOPNOTSUPP)
	require.ErrorIs(t, os.WriteFile(p.Path+"/cgroup.kill", []byte("1"), 0), unix.EOPNOTSUPP, "control: the kernel does not do it")
	pids, err := l.Procs()
	require.NoError(t, err)
	assert.Contains(t, pids, cmd.Process.Pid)
	require.NoError(t, l.Kill(late()))
	some, err := l.Populated()
	require.NoError(t, err)
	assert.False(t, some)
	require.NoError(t, l.Delete())
	require.NoError(t, m.Kill(late()))
}

// gate starts a command in a domain of threads, moved by its only thread.
func gate(t *testing.T, cmd *exec.Cmd, domain, threads string) {
	t.Helper()
	cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0" && echo $$ >"$1" && shift && exec "$@"`, domain + "/cgroup.procs", threads}, cmd.Args...)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	go cmd.Wait()
}
