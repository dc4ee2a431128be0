package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// hostHere is Detect, and which hierarchy holds a controller.
func hostHere(t *testing.T) *Host {
	t.Helper()
	h, err := Detect()
	require.NoError(t, err)
	return h
}

// groupOf is the path of a directory as /proc/self/cgroup would show it.
func groupOf(h *Host, dir string) string { return h.groupPath(dir) }

// nameable are groups of one path in every hierarchy that holds something, as a
// parent for a test to name: where the host program may make groups, they differ.
func nameable(t *testing.T, need Controllers) (h *Host, name string, dirs map[*Hierarchy]string) {
	t.Helper()
	h = hostHere(t)
	base := testBase(t)
	name, err := OwnerName(os.Getpid())
	require.NoError(t, err)
	name = "/belljar-parent" + strings.TrimPrefix(name, "belljar")
	if len(base.Dirs) == 1 {
		name = groupOf(h, base.Dirs[0].Path) + name // below where this user may write
		name = filepath.Clean(name)
	}
	held, err := h.held(need)
	require.NoError(t, err)
	dirs = map[*Hierarchy]string{}
	for y, c := range held {
		if c&(need|coreV2) == 0 {
			continue
		}
		dir, ok := y.dir(name)
		require.True(t, ok)
		dirs[y] = dir
		if y.Version == 2 && need&c != 0 {
			top := filepath.Dir(dir)
			require.NoError(t, os.WriteFile(top+"/cgroup.subtree_control", []byte((need&c).enable()), 0))
		}
		require.NoError(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { assert.NoError(t, removeTree(unix.AT_FDCWD, dir, newBackoff(soon()))) })
	}
	return h, name, dirs
}

func TestParentNamed(t *testing.T) {
	const need = MemoryController | PidsController
	h, name, dirs := nameable(t, need)
	mem := h.holder(MemoryController)
	for _, given := range []string{name, name + "/", dirs[mem], mem.Mount + "/." + name} {
		p, err := h.ParentAt(given, need)
		if strings.Contains(given, "/.") {
			require.ErrorIs(t, err, ErrInvalid, given)
			continue
		}
		require.NoError(t, err, given)
		assert.True(t, p.Controllers().Has(need))
		assert.Equal(t, dirs[mem], p.Dirs[indexOf(p, MemoryController)].Path)
		m, err := New(p, "sb", Limits{Memory: 32 << 20, Pids: 5})
		require.NoError(t, err)
		require.NoError(t, m.Delete())
	}
}

func indexOf(p Parent, c Controllers) int {
	for i, d := range p.Dirs {
		if d.Controllers.Has(c) {
			return i
		}
	}
	return -1
}

// Each parent that cannot be used has an error of its own that says what to do.
func TestParentRefused(t *testing.T) {
	const need = MemoryController | PidsController
	h, name, dirs := nameable(t, need)
	mem := h.holder(MemoryController)
	dir := dirs[mem]
	for _, c := range []struct {
		what, given string
		errno       unix.Errno
		says        []string
	}{
		{"missing", name + "/missing", unix.ENOENT, []string{"mkdir " + dir + "/missing", "does not exist"}},
		{"missing, by directory", dir + "/missing", unix.ENOENT, []string{"mkdir " + dir + "/missing"}},
		{"a directory of the file system", "/etc", unix.ENOENT, []string{"/etc is not below a mount of cgroups", "/proc/self/cgroup"}},
		{"a file", dir + "/cgroup.procs", unix.ENOTDIR, []string{"is a file"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := h.ParentAt(c.given, need)
			requireParentError(t, err, c.given, c.errno, c.says...)
		})
	}
	for _, bad := range []string{"", "x", "sys/fs/cgroup", "../x", "/a/../b", "/a//b", "/a/.", "/a\n", "/" + strings.Repeat("x", 256), strings.Repeat("/xxxxxxx", 500)} {
		_, err := h.ParentAt(bad, need)
		require.ErrorIs(t, err, ErrInvalid, bad)
		var e *InvalidError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, bad, e.Value)
	}
}

func requireParentError(t *testing.T, err error, given string, errno unix.Errno, says ...string) *ParentError {
	t.Helper()
	var e *ParentError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, errno)
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Equal(t, given, e.Parent)
	assert.NotEmpty(t, e.Remedy, err.Error())
	for _, s := range says {
		assert.Contains(t, err.Error(), s)
	}
	return e
}

// Something else than cgroups may lie at a group's path, and the group may be in
// the hierarchies of other controllers only.
func TestParentElsewhere(t *testing.T) {
	h, name, dirs := nameable(t, MemoryController|PidsController)
	mem, pids := h.holder(MemoryController), h.holder(PidsController)
	if mem != pids {
		require.NoError(t, unix.Rmdir(dirs[pids]))
		_, err := h.ParentAt(name, MemoryController|PidsController)
		e := requireParentError(t, err, name, unix.EXDEV, "mkdir "+dirs[pids], "not in the v1 one at "+pids.Mount)
		assert.Equal(t, "pids", e.Controller)
		p, err := h.ParentAt(name, MemoryController)
		require.NoError(t, err, "control: pids are not needed")
		assert.False(t, p.Controllers().Has(PidsController))
		require.NoError(t, os.Mkdir(dirs[pids], 0o755))
	}
	// A mount of which only a part is shown, as in a container without a cgroup namespace.
	y := *mem
	y.Mount, y.Root, y.Own = dirs[mem], name, name
	part := &Host{Hierarchies: []Hierarchy{y}}
	p, err := part.ParentAt(name, MemoryController)
	require.NoError(t, err)
	assert.Equal(t, dirs[mem], p.Dirs[0].Path)
	_, err = part.ParentAt("/", MemoryController)
	requireParentError(t, err, "/", unix.ENOENT, "name a group below "+name)
	// No cgroups where the mount was said to be.
	y = *mem
	y.Mount = t.TempDir()
	require.NoError(t, os.Mkdir(y.Mount+"/a", 0o755))
	_, err = (&Host{Hierarchies: []Hierarchy{y}}).ParentAt("/a", MemoryController)
	requireParentError(t, err, "/a", unix.EINVAL, "is no control group")
	_, err = (&Host{}).ParentAt("/a", 0)
	requireNoHierarchy(t, err)
}

func requireNoHierarchy(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Contains(t, err.Error(), "no hierarchy")
}

// onUnified is a host whose v2 hierarchy with the memory and cpu controllers, or skips.
func onUnified(t *testing.T) *Host {
	t.Helper()
	h := hostHere(t)
	if y := h.holder(MemoryController); y == nil || y.Version != 2 {
		t.Skip("the memory controller is not in cgroup v2 here")
	}
	return h
}

func TestParentSwitchedOff(t *testing.T) {
	onUnified(t)
	h, name, dirs := nameable(t, MemoryController|PidsController|CPUController)
	top := dirs[h.holder(MemoryController)]
	require.NoError(t, os.MkdirAll(top+"/a/b", 0o755))
	require.NoError(t, os.WriteFile(top+"/cgroup.subtree_control", []byte("+memory +pids"), 0))
	require.NoError(t, os.WriteFile(top+"/a/cgroup.subtree_control", []byte("+memory"), 0))
	_, err := h.ParentAt(name+"/a/b", MemoryController|CPUController)
	e := requireParentError(t, err, name+"/a/b", unix.ENOENT, "echo '+cpu' | tee "+top+"/cgroup.subtree_control "+top+"/a/cgroup.subtree_control", "Delegate=")
	assert.Equal(t, "cpu", e.Controller)
	_, err = h.ParentAt(name+"/a/b", PidsController)
	requireParentError(t, err, name+"/a/b", unix.ENOENT, "echo '+pids' | tee "+top+"/a/cgroup.subtree_control")
	p, err := h.ParentAt(name+"/a/b", MemoryController)
	require.NoError(t, err, "what there is can be used")
	assert.Equal(t, MemoryController|coreV2, p.Controllers())
	// And what the remedy says works.
	for _, d := range []string{top, top + "/a"} {
		require.NoError(t, os.WriteFile(d+"/cgroup.subtree_control", []byte("+cpu"), 0))
	}
	_, err = h.ParentAt(name+"/a/b", MemoryController|CPUController)
	require.NoError(t, err)
}

func TestParentThreaded(t *testing.T) {
	onUnified(t)
	h, name, dirs := nameable(t, 0)
	top := dirs[h.holder(FreezerController)]
	require.NoError(t, os.MkdirAll(top+"/dom/thr/below", 0o755))
	require.NoError(t, os.WriteFile(top+"/dom/thr/cgroup.type", []byte("threaded"), 0))
	for _, at := range []string{"/dom", "/dom/thr", "/dom/thr/below"} {
		_, err := h.ParentAt(name+at, 0)
		requireParentError(t, err, name+at, unix.EOPNOTSUPP, "cgroup.type", "name a group whose cgroup.type is domain")
	}
}

func TestParentInhabited(t *testing.T) {
	h := onUnified(t)
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	cmd := start(t, l, "sleep", "100")
	name := groupOf(h, m.ps.of(MemoryController).Path+"/cmd")
	_, err := h.ParentAt(name, MemoryController)
	e := requireParentError(t, err, name, unix.EBUSY, "pids "+itoa(cmd.Process.Pid), "move the processes")
	assert.Equal(t, "memory", e.Controller)
	require.NoError(t, l.Kill(late()))
	_, err = h.ParentAt(name, MemoryController)
	require.NoError(t, err, "control: without processes")
}

// An ordinary user may use no group of others, and of the user's own only those
// next to where its processes are.
func TestParentOfOthers(t *testing.T) {
	needRoot(t)
	h := hostHere(t)
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	mem := h.holder(MemoryController)
	closed, open := m.ps.of(MemoryController).Path+"/closed", m.ps.of(MemoryController).Path+"/open"
	require.NoError(t, os.Mkdir(closed, 0o755))
	require.NoError(t, os.Mkdir(open, 0o755))
	delegate(t, open, mem.Version)
	refusal := func(dir string) string {
		cmd := self(l, "parent "+groupOf(h, dir))
		as(t, cmd)
		out, err := cmd.Output()
		closeExtra(cmd)
		require.NoError(t, err)
		return string(out)
	}
	assert.Contains(t, refusal(closed), "Delegate=yes")
	assert.Contains(t, refusal(closed), "EACCES")
	if mem.Version == 1 {
		assert.Contains(t, refusal(open), "none", "v1 has no such rule")
		return
	}
	out := refusal(open)
	assert.Contains(t, out, "EACCES")
	assert.Contains(t, out, "cannot be moved into it: "+m.ps.of(MemoryController).Path+"/cgroup.procs")
	assert.Contains(t, out, "start the program in a group below")
	delegate(t, m.ps.of(MemoryController).Path, mem.Version)
	assert.Contains(t, refusal(open), "none", "control: where the group above both is the user's too")
}

// delegate hands a group to an ordinary user as systemd does (cgroups(7)).
func delegate(t *testing.T, dir string, version int) {
	t.Helper()
	require.NoError(t, os.Chown(dir, nobody, nobody))
	if version == 1 {
		return
	}
	for _, f := range []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		require.NoError(t, os.Chown(dir+"/"+f, nobody, nobody))
	}
}

func TestParentReadOnly(t *testing.T) {
	h := hostHere(t)
	y := *h.holder(MemoryController)
	dir, _ := y.dir("")
	err := y.refuse(MemoryController, &Error{Op: "access", Path: dir, Err: unix.EROFS})
	assert.Contains(t, err.Error(), remedyReadOnly)
}
