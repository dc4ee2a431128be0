package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A program alone in its group steps aside, has limits enforced next to itself,
// and returns: as root, and as a user to whom the group was handed.
func TestMoveAside(t *testing.T) {
	onUnified(t)
	for _, user := range []bool{false, true} {
		t.Run(map[bool]string{false: "same user", true: "delegated"}[user], func(t *testing.T) {
			m := testManager(t, Limits{Memory: 256 << 20, Pids: 100})
			l := testLeaf(t, m, "cmd", Limits{})
			cmd := self(l, "aside")
			if user {
				needRoot(t)
				delegate(t, l.ps[0].Path, 2)
				as(t, cmd)
			}
			out, err := cmd.Output()
			closeExtra(cmd)
			require.NoError(t, err, string(out))
			assert.Equal(t, "done\n", string(out))
		})
	}
}

// Whoever else is in the group is named, and nothing is changed.
func TestMoveAsideInTheWay(t *testing.T) {
	onUnified(t)
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	other := start(t, l, "sleep", "100")
	cmd := self(l, "aside")
	out, err := cmd.Output()
	closeExtra(cmd)
	require.Error(t, err)
	dir := l.ps[0].Path
	assert.Contains(t, string(out), "EBUSY")
	assert.Contains(t, string(out), "but pids "+itoa(other.Process.Pid)+" are in "+dir+" too")
	assert.Contains(t, string(out), "mkdir "+dir+"/others")
	left, _ := filepath.Glob(dir + "/belljar*")
	assert.Empty(t, left)
	assert.Empty(t, slurp(t, dir+"/cgroup.subtree_control"))
	// And what the remedy says works.
	require.NoError(t, os.Mkdir(dir+"/others", 0o755))
	require.NoError(t, os.WriteFile(dir+"/others/cgroup.procs", []byte(itoa(other.Process.Pid)), 0))
	cmd = self(l, "aside")
	out, err = cmd.Output()
	closeExtra(cmd)
	require.NoError(t, err, string(out))
}

func TestMoveAsideRefused(t *testing.T) {
	h := hostHere(t)
	_, err := h.MoveAside("", os.Getpid(), 0)
	require.ErrorIs(t, err, unix.EINVAL, "nothing is needed")
	if y := h.holder(MemoryController); y == nil || y.Version != 2 {
		_, err := h.MoveAside("", os.Getpid(), MemoryController)
		require.ErrorIs(t, err, unix.EINVAL, "v1 has no such rule")
		return
	}
	_, err = h.MoveAside("x", os.Getpid(), MemoryController)
	require.ErrorIs(t, err, ErrInvalid)
	m := testManager(t, Limits{})
	_, err = h.MoveAside(groupOf(h, m.dirs[0].Path), os.Getpid(), MemoryController)
	require.ErrorIs(t, err, unix.EALREADY, "a group without processes")
}

// Such a group of a dead program goes when it is empty, and nobody in one is killed.
func TestSweepAside(t *testing.T) {
	base := sweepBase(t)
	began, err := startTime(os.Getpid())
	require.NoError(t, err)
	empty := fmt.Sprintf("belljar-host-%d-1", deadPid(t))
	full := fmt.Sprintf("belljar-host-%d-2", deadPid(t))
	live := fmt.Sprintf("belljar-host-%d-%d", os.Getpid(), began)
	for _, d := range base.Dirs {
		for _, n := range []string{empty, full, live, "belljar-host-x-1"} {
			require.NoError(t, os.Mkdir(d.Path+"/"+n, 0o755))
		}
		require.NoError(t, os.Mkdir(d.Path+"/"+full+"/below", 0o755))
	}
	removed, err := SweepBase(base)
	require.NoError(t, err)
	assert.Subset(t, []string{empty}, removed)
	assert.NotEmpty(t, removed)
	for _, d := range base.Dirs {
		assert.NoDirExists(t, d.Path+"/"+empty)
		assert.DirExists(t, d.Path+"/"+full+"/below")
		assert.DirExists(t, d.Path+"/"+live)
		assert.DirExists(t, d.Path+"/belljar-host-x-1")
	}
}

// aside is the program's side of TestMoveAside.
func aside() error {
	h, err := Detect()
	if err != nil {
		return err
	}
	const need = MemoryController | PidsController
	y := h.holder(MemoryController)
	own, _ := y.dir("")
	where := func() (string, error) {
		h, err := Detect()
		if err != nil {
			return "", err
		}
		dir, _ := h.holder(MemoryController).dir("")
		return dir, nil
	}
	a, err := h.MoveAside("", os.Getpid(), need)
	if err != nil {
		var errno unix.Errno
		errors.As(err, &errno)
		return fmt.Errorf("%s: %w", unix.ErrnoName(errno), err)
	}
	if at, err := where(); err != nil || at != a.Dir() || filepath.Dir(at) != own {
		return fmt.Errorf("in %s, not %s below %s: %w", at, a.Dir(), own, err)
	}
	if h, err = Detect(); err != nil {
		return err
	}
	p, err := h.ParentAt(h.groupPath(own), need)
	if err != nil {
		return err
	}
	w, err := NewOwner(p, os.Getpid(), Options{})
	if err != nil {
		return err
	}
	m, err := New(w.Parent(), "sb", Limits{Memory: 32 << 20, Pids: 1})
	if err != nil {
		return err
	}
	l, err := m.NewLeaf("cmd", Limits{})
	if err != nil {
		return err
	}
	if err := run(command(l, "true")); err != nil { // becomes the only process
		return err
	}
	if run(command(l, "/bin/sh", "-c", "true & wait $!")) == nil {
		return errors.New("the limit of one process does not hold")
	}
	if a.Return() == nil {
		return errors.New("returned although sandboxes use the controllers")
	}
	for _, f := range []func() error{func() error { return m.Kill(late()) }, m.Delete, w.Close, a.Return, a.Return} {
		if err := f(); err != nil {
			return err
		}
	}
	if at, err := where(); err != nil || at != own {
		return fmt.Errorf("in %s, not back in %s: %w", at, own, err)
	}
	if s, err := os.ReadFile(own + "/cgroup.subtree_control"); err != nil || len(s) > 1 {
		return fmt.Errorf("still enabled: %q, %w", s, err)
	}
	if left, _ := filepath.Glob(own + "/belljar*"); len(left) > 0 {
		return fmt.Errorf("left: %v", left)
	}
	return nil
}
