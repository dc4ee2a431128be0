package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a program has started steps aside with it, and another process may return what is found aside, with whatever the dead one
// who stepped aside has left.
func TestAsideFamily(t *testing.T) {
	onUnified(t)
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	cmd := self(l, "aside-family")
	out, err := cmd.CombinedOutput()
	closeExtra(cmd)
	require.NoError(t, err, string(out))
	assert.Equal(t, "done\n", string(out))
	assert.Empty(t, slurp(t, l.ps[0].Path+"/cgroup.subtree_control"))
}

// No group that has something to give back to others needs to be stepped out of: where processes are, only a threaded controller can
// be enabled, and then it is threaded and refused.
func TestAsideOfThreaded(t *testing.T) {
	onUnified(t)
	m := testManager(t, Limits{})
	l := testLeaf(t, m, "cmd", Limits{})
	require.NoError(t, os.WriteFile(l.ps[0].Path+"/cgroup.subtree_control", []byte("+pids"), 0))
	cmd := self(l, "aside")
	out, err := cmd.CombinedOutput()
	closeExtra(cmd)
	require.Error(t, err)
	assert.Contains(t, string(out), "ENOTSUP")
	assert.Equal(t, "pids", slurp(t, l.ps[0].Path+"/cgroup.subtree_control"))
}

func TestFindAsideElsewhere(t *testing.T) {
	assert.Nil(t, hostHere(t).FindAside(os.Getpid()), "this process is not aside")
	h := &Host{Hierarchies: []Hierarchy{{Version: 2, Mount: "/m", Root: "/", Own: "/a/belljar-host-77-5"}}}
	assert.Nil(t, h.FindAside(78), "another program's")
	a := h.FindAside(77)
	require.NotNil(t, a)
	assert.Equal(t, "/m/a/belljar-host-77-5", a.Dir())
	for _, own := range []string{"/a/belljar-host-77", "/a/belljar-host-77-x", "/belljar-77-5", "/", "/belljar-host-77-5/below"} {
		h.Hierarchies[0].Own = own
		assert.Nil(t, h.FindAside(77), own)
	}
}

func TestDescends(t *testing.T) {
	child := exec.Command("sleep", "100")
	require.NoError(t, child.Start())
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	assert.True(t, descends(child.Process.Pid, []int{os.Getpid()}))
	assert.True(t, descends(child.Process.Pid, []int{1 << 30, os.Getppid()}), "or of one further up")
	assert.False(t, descends(os.Getpid(), []int{child.Process.Pid}))
	assert.False(t, descends(child.Process.Pid, []int{child.Process.Pid}), "nobody descends from itself")
	assert.False(t, descends(deadPid(t), []int{os.Getpid()}))
}

// asideFamily is the program's side of TestAsideFamily.
func asideFamily() error {
	h, err := Detect()
	if err != nil {
		return err
	}
	const need = MemoryController | PidsController
	own, _ := h.holder(MemoryController).dir("")
	child := exec.Command("/bin/sh", "-c", "sleep 100 & wait")
	child.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := child.Start(); err != nil {
		return err
	}
	defer func() {
		_ = unix.Kill(-child.Process.Pid, unix.SIGKILL)
		_ = child.Wait()
	}()
	waitUntil(func() bool { return len(procsIn(own)) == 3 })
	a, err := h.MoveAside("", os.Getpid(), need)
	if err != nil {
		return err
	}
	if in, left := procsIn(a.Dir()), procsIn(own); len(in) != 3 || len(left) != 0 {
		return fmt.Errorf("aside: %v, left: %v", in, left)
	}
	// It makes groups, and is gone before it returns.
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		return err
	}
	left := fmt.Sprintf("%s/belljar-%d-1", own, dead.Process.Pid)
	for _, f := range []func() error{
		func() error { return os.WriteFile(own+"/cgroup.subtree_control", []byte("+memory +pids"), 0) },
		func() error { return os.MkdirAll(left+"/sb", 0o755) },
		func() error { return os.WriteFile(left+"/cgroup.subtree_control", []byte("+memory +pids"), 0) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	if h, err = Detect(); err != nil {
		return err
	}
	found := h.FindAside(os.Getpid())
	if found == nil || found.Dir() != a.Dir() {
		return fmt.Errorf("found %+v instead of %+v", found, a)
	}
	if err := found.Return(); err != nil {
		return err
	}
	if in := procsIn(own); len(in) != 3 {
		return fmt.Errorf("back: %v", in)
	}
	if left, _ := filepath.Glob(own + "/belljar*"); len(left) > 0 {
		return fmt.Errorf("left: %v", left)
	}
	return a.Return() // of what is returned already
}

func procsIn(dir string) []string {
	b, _ := os.ReadFile(dir + "/cgroup.procs")
	return strings.Fields(string(b))
}
