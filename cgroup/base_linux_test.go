package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestBase(t *testing.T) {
	p := testBase(t)
	var seen Controllers
	for _, d := range p.Dirs {
		assert.Zero(t, seen&d.Controllers, "a controller in two places")
		seen |= d.Controllers
		assert.DirExists(t, d.Path)
	}
	assert.True(t, seen.Has(MemoryController|PidsController|CPUController))
	h, err := Detect()
	require.NoError(t, err)
	_, err = h.Base(1 << 15)
	require.NoError(t, err, "bits which are no controller ask for nothing")
	_, err = (&Host{}).Base(PidsController)
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Contains(t, err.Error(), "pids")
}

func TestParentAt(t *testing.T) {
	m := testManager(t, Limits{Pids: 10})
	h, err := Detect()
	require.NoError(t, err)
	y := h.holder(PidsController)
	rel := strings.TrimPrefix(m.ps.of(PidsController).Path, filepath.Clean(y.Mount))
	if y.Root != "/" {
		rel = y.Root + rel
	}
	p, err := h.ParentAt(rel, PidsController)
	require.NoError(t, err)
	assert.Equal(t, m.ps.of(PidsController).Path, p.Dirs[len(p.Dirs)-1].Path)
	in, err := New(p, "inner", Limits{Pids: 5})
	require.NoError(t, err)
	require.NoError(t, in.Delete())
	_, err = h.ParentAt(rel+"/missing", PidsController)
	require.ErrorIs(t, err, unix.ENOENT)
	require.ErrorIs(t, err, ErrUnsupported)
	_, err = h.ParentAt("../x", PidsController)
	require.ErrorIs(t, err, ErrInvalid)
}

// A group with processes in it can give its children no controllers on v2;
// the group above it can. On v1 it can.
func TestBaseOfPopulated(t *testing.T) {
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	start(t, l, "sleep", "100")
	eventually(t, "inside", func() bool { p, _ := l.Populated(); return p })
	d := m.ps.of(MemoryController)
	y := Hierarchy{Version: d.Version, Mount: d.Path, Root: "/", Own: "/cmd"}
	got, err := y.base(MemoryController|coreV2, MemoryController)
	require.NoError(t, err)
	if d.Version == 1 {
		assert.Equal(t, d.Path+"/cmd", got.Path)
		return
	}
	assert.Equal(t, d.Path, got.Path)
	// Named explicitly it is refused instead.
	n := named{h: &Host{}, given: "/cmd", group: "/cmd"}
	_, err = n.in(&y, MemoryController, MemoryController)
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorIs(t, err, unix.EBUSY)
	assert.Contains(t, err.Error(), remedyInner)
	assert.Contains(t, err.Error(), "pids ", "whose processes they are")
	// Without the group above in sight the reason is the processes as well.
	y = Hierarchy{Version: 2, Mount: d.Path + "/cmd", Root: "/", Own: "/"}
	_, err = y.base(MemoryController, MemoryController)
	require.ErrorIs(t, err, unix.EBUSY)
	require.NoError(t, l.Kill(late()))
	got, err = y.base(MemoryController, MemoryController)
	require.NoError(t, err, "control: without processes")
	assert.Equal(t, d.Path+"/cmd", got.Path)
}

// Controllers that are not needed now are worth a step up, for they may be
// needed later; but what can be had is had without them.
func TestBasePrefersUsual(t *testing.T) {
	const usual = MemoryController | PidsController | CPUController
	m := testManager(t, Limits{CPUs: 1}) // the sandbox has cpu, its leaves have not
	d := m.ps.of(MemoryController)
	testLeaf(t, m, "cmd", Limits{})
	y := Hierarchy{Version: d.Version, Mount: d.Path, Root: "/", Own: "/cmd"}
	got, err := y.base(usual, 0)
	require.NoError(t, err)
	if d.Version == 1 {
		assert.Equal(t, d.Path+"/cmd", got.Path)
		return
	}
	assert.Equal(t, d.Path, got.Path)
	assert.True(t, got.Controllers.Has(usual))
	y = Hierarchy{Version: d.Version, Mount: d.Path + "/cmd", Root: "/", Own: "/"}
	got, err = y.base(usual, 0)
	require.NoError(t, err)
	assert.Equal(t, d.Path+"/cmd", got.Path)
	assert.Equal(t, MemoryController|PidsController, got.Controllers&usual)
	_, err = y.base(usual, CPUController)
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorIs(t, err, unix.ENOENT)
}

// A host whose unified hierarchy has no controllers, but no freezer elsewhere:
// freezing, killing and CPU time work there without any.
func TestUnifiedCore(t *testing.T) {
	h, err := Detect()
	require.NoError(t, err)
	var dir string
	for _, y := range h.Hierarchies {
		if y.Version == 2 && y.Unusable == "" {
			d, err := y.base(coreV2, 0)
			if err != nil && os.Geteuid() != 0 {
				skip(t, "no delegated cgroup: "+err.Error())
			}
			require.NoError(t, err)
			dir = d.Path
		}
	}
	if dir == "" {
		skip(t, "the unified hierarchy is not mounted")
	}
	w, err := NewOwner(Parent{[]Dir{{Version: 2, Path: dir, Controllers: coreV2}}}, os.Getpid(), Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	m, err := New(w.Parent(), "sb", Limits{})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Delete()) }()
	assert.Equal(t, MemoryController|PidsController, m.Missing())
	_, err = New(w.Parent(), "limited", Limits{Pids: 5})
	require.ErrorIs(t, err, ErrUnsupported)
	l := testLeaf(t, m, "cmd", Limits{})
	assert.Empty(t, l.TasksFDs())
	cmd := start(t, l, "/bin/sh", "-c", "while :; do sleep 0.01; done")
	eventually(t, "uses CPU time", func() bool { d, err := l.CPUUsage(); return err == nil && d > 0 })
	require.NoError(t, m.Freeze(late()))
	pids, err := l.Procs()
	require.NoError(t, err)
	assert.Contains(t, pids, cmd.Process.Pid)
	s, err := m.Stats()
	require.NoError(t, err)
	assert.Positive(t, s.CPU.Total)
	require.NoError(t, l.Kill(late()))
	_, err = l.OOMKills()
	require.ErrorIs(t, err, ErrUnsupported)
}

const nobody = 65534

// as makes an ordinary user of a victim. The test binary may lie in a folder
// closed to others, so it is handed over as a descriptor.
func as(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	exe, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	fd := 3 + len(cmd.ExtraFiles)
	cmd.ExtraFiles = append(cmd.ExtraFiles, exe)
	cmd.Args[len(cmd.Args)-1] = "/proc/self/fd/" + itoa(fd)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	cmd.Dir = "/"
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "changing the user needs root")
	}
}

func TestUnprivileged(t *testing.T) {
	needRoot(t)
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	cmd := self(l, "base")
	as(t, cmd)
	out, err := cmd.Output()
	closeExtra(cmd)
	require.NoError(t, err)
	assert.Contains(t, string(out), "Delegate=yes")
	assert.Contains(t, string(out), "true true", "ErrUnsupported and the errno")
}

// An ordinary user to whom a subtree is delegated gets everything out of it.
func TestDelegated(t *testing.T) {
	needRoot(t)
	m := testManager(t, Limits{Memory: 256 << 20, Pids: 100})
	l := testLeaf(t, m, "cmd", Limits{})
	for _, ps := range []places{m.ps, l.ps} {
		for _, p := range ps {
			require.NoError(t, os.Chown(p.Path, nobody, nobody))
			if p.Version == 2 {
				for _, f := range []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
					require.NoError(t, os.Chown(p.Path+"/"+f, nobody, nobody))
				}
			}
		}
	}
	cmd := self(l, "rootless")
	as(t, cmd)
	out, err := cmd.Output() // a test binary with coverage complains on standard error
	closeExtra(cmd)
	require.NoError(t, err, string(out))
	assert.Equal(t, "done\n", string(out))
}

// rootless is the ordinary user's side of TestDelegated.
func rootless() error {
	h, err := Detect()
	if err != nil {
		return err
	}
	base, err := h.Base(MemoryController | PidsController)
	if err != nil {
		return err
	}
	w, err := NewOwner(base, os.Getpid(), Options{})
	if err != nil {
		return err
	}
	m, err := New(w.Parent(), "sb", Limits{Memory: 32 << 20, Pids: 10})
	if err != nil {
		return err
	}
	l, err := m.NewLeaf("cmd", Limits{})
	if err != nil {
		return err
	}
	cmd := command(l, "sleep", "100")
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	for {
		if p, err := l.Procs(); err != nil {
			return err
		} else if len(p) > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := m.Freeze(late()); err != nil {
		return err
	}
	for _, f := range []func() error{
		func() error { return errOf(l.Stats()) },
		func() error { return m.Kill(late()) },
		m.Delete, w.Close,
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}
