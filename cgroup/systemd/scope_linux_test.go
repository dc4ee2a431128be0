package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const limits = cgroup.MemoryController | cgroup.PidsController

func init() {
	parts["scope"] = func() error { return inScope(Options{Need: limits}) }
	parts["number"] = func() error {
		for range 2 {
			if err := inScope(Options{}); err != nil {
				return err
			}
		}
		return nil
	}
	parts["properties"] = func() error {
		return inScope(Options{
			Name: "test-props-" + itoa(os.Getpid()), Slice: "test.slice", Description: "a test",
			Properties: map[string]any{"TasksMax": uint64(77)},
		})
	}
	parts["refused"] = func() error {
		before, _ := groupOf(os.Getpid())
		_, err := New(context.Background(), Options{Manager: System})
		after, _ := groupOf(os.Getpid())
		fmt.Printf("error=%v\nrefused=%v\nunsupported=%v\nmoved=%v\n", err, errors.Is(err, ErrRefused), errors.Is(err, cgroup.ErrUnsupported), before != after)
		return nil
	}
	parts["lacking"] = func() error {
		s, err := New(context.Background(), Options{Need: cgroup.IOController | limits})
		if err == nil {
			return s.Close()
		}
		in, _ := groupOf(os.Getpid())
		fmt.Printf("error=%v\nin=%s\n", err, in)
		return nil
	}
	parts["bad"] = func() error {
		before, _ := groupOf(os.Getpid())
		_, err := New(context.Background(), Options{Properties: map[string]any{"NoSuchThing": true}})
		after, _ := groupOf(os.Getpid())
		fmt.Printf("error=%v\nmoved=%v\n", err, before != after)
		return nil
	}
}

// inScope is the program that gets a scope: it prints what becomes of it.
func inScope(o Options) error {
	child := exec.Command("sleep", "100")
	if err := child.Start(); err != nil {
		return err
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	before, err := groupOf(os.Getpid())
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	s, err := New(ctx, o)
	if err != nil {
		return err
	}
	in, err := groupOf(os.Getpid())
	if err != nil {
		return err
	}
	with, err := groupOf(child.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("unit=%s\nparent=%s\nin=%s\nchild=%s\n", s.Unit(), s.Parent(), in, with)
	if b, err := os.ReadFile(s.dir + "/pids.max"); err == nil {
		fmt.Printf("tasks=%s\n", strings.TrimSpace(string(b)))
	}
	if err := limited(s); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	after, err := groupOf(os.Getpid())
	if err != nil {
		return err
	}
	left, _ := filepath.Glob(s.dir + "/belljar*")
	fmt.Printf("before=%s\nafter=%s\nleft=%d\n", before, after, len(left))
	return s.Close()
}

// limited makes a group with limits below the scope, and runs a command into one.
func limited(s *Scope) error {
	h, err := cgroup.Detect()
	if err != nil {
		return err
	}
	p, err := h.ParentAt(s.Parent(), limits)
	if err != nil {
		return err
	}
	w, err := cgroup.NewOwner(p, os.Getpid(), cgroup.Options{})
	if err != nil {
		return err
	}
	m, err := cgroup.New(w.Parent(), "sb", cgroup.Limits{Memory: 32 << 20, Pids: 1})
	if err != nil {
		return err
	}
	l, err := m.NewLeaf("cmd", cgroup.Limits{})
	if err != nil {
		return err
	}
	run := func(argv ...string) error {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: l.FD()}
		return cmd.Run()
	}
	if err := run("true"); err != nil {
		return fmt.Errorf("a single process: %w", err)
	}
	if run("/bin/sh", "-c", "true & wait $!") == nil {
		return errors.New("the limit of one process does not hold")
	}
	if err := s.Close(); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "close the sandboxes") {
		return fmt.Errorf("closed although a group uses the controllers: %w", err)
	}
	for _, f := range []func() error{func() error { return m.Kill(time.Time{}) }, m.Delete, w.Close} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// gone waits until systemd has forgotten a unit. An ordinary user's scope ends with its program.
func gone(t *testing.T, unit string) {
	t.Helper()
	m := User
	if os.Geteuid() == 0 {
		m = System
	}
	b, err := connect(t.Context(), m)
	require.NoError(t, err)
	defer b.close()
	eventually(t, unit+" is gone", func() bool {
		there, err := b.loaded(t.Context(), unit)
		require.NoError(t, err)
		return !there
	})
}

// As root, and as a user who comes from a group that is not the user's own.
func TestScope(t *testing.T) {
	needSystemd(t)
	out := part(t, "scope")
	assert.Contains(t, out["unit"], "belljar-")
	assert.True(t, strings.HasSuffix(out["parent"], "/"+out["unit"]), out["parent"])
	assert.Contains(t, out["in"], out["parent"]+"/belljar-host-")
	assert.Equal(t, out["in"], out["child"], "what the program has started comes along")
	assert.Equal(t, "0", out["left"])
	if os.Geteuid() == 0 {
		assert.Contains(t, out["parent"], "/system.slice/")
		assert.Equal(t, out["before"], out["after"])
	} else {
		assert.Contains(t, out["parent"], "/user@"+itoa(os.Geteuid())+".service/app.slice/")
		assert.Equal(t, out["parent"], out["after"], "the group it came from is root's")
	}
	gone(t, out["unit"])
}

// One that was started as a service by the same manager, an ordinary user's too, goes back to its unit.
func TestScopeFromService(t *testing.T) {
	needSystemd(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	whose := "--system"
	if os.Geteuid() != 0 {
		whose = "--user"
	}
	cmd := exec.Command("systemd-run", whose, "--quiet", "--wait", "--pipe", "--collect", "--setenv="+partEnv+"=scope", exe)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR=/run/user/"+itoa(os.Geteuid()))
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, string(b))
	out := values(string(b))
	assert.Contains(t, out["in"], out["parent"]+"/belljar-host-")
	assert.Contains(t, out["before"], ".service")
	assert.Equal(t, out["before"], out["after"])
	gone(t, out["unit"])
}

// One program may have several scopes, one after the other.
func TestScopeAgain(t *testing.T) {
	needSystemd(t)
	out := part(t, "number")
	assert.True(t, strings.HasSuffix(out["unit"], "-2.scope"), out["unit"])
	gone(t, out["unit"])
}

func TestScopeProperties(t *testing.T) {
	needSystemd(t)
	out := part(t, "properties")
	assert.Contains(t, out["parent"], "/test.slice/test-props-")
	assert.Equal(t, "77", out["tasks"])
	gone(t, out["unit"])
}

// Processes other than the calling one; a name that is taken; the controls are that the first one works, and stays.
func TestScopePIDs(t *testing.T) {
	needSystemd(t)
	child := exec.Command("sleep", "100")
	require.NoError(t, child.Start())
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	self, err := groupOf(os.Getpid())
	require.NoError(t, err)
	name := "test-pids-" + itoa(os.Getpid())
	o := Options{Name: name, PIDs: []int{child.Process.Pid}}
	s, err := New(t.Context(), o)
	require.NoError(t, err)
	in, err := groupOf(child.Process.Pid)
	require.NoError(t, err)
	assert.Contains(t, in, s.Parent()+"/belljar-host-"+itoa(child.Process.Pid)+"-")
	still, err := groupOf(os.Getpid())
	require.NoError(t, err)
	assert.Equal(t, self, still, "this process was not named")

	_, err = New(t.Context(), o)
	require.ErrorIs(t, err, ErrExists)
	assert.NotErrorIs(t, err, cgroup.ErrUnsupported)
	assert.Contains(t, err.Error(), "systemctl stop "+name+".scope")
	again, err := groupOf(child.Process.Pid)
	require.NoError(t, err)
	assert.Equal(t, in, again, "a refusal changes nothing")

	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	back, err := groupOf(child.Process.Pid)
	require.NoError(t, err)
	if os.Geteuid() == 0 {
		assert.Equal(t, self, back)
	} else {
		assert.Equal(t, s.Parent(), back)
	}
	require.NoError(t, child.Process.Signal(syscall.Signal(0)), "nothing is killed")
	_ = child.Process.Kill()
	_ = child.Wait()
	gone(t, s.Unit())
	_, err = New(t.Context(), o)
	require.Error(t, err, "a process that has ended")
}

// The system's manager lets no ordinary user have a scope; the user is told to take the own one.
func TestScopeRefused(t *testing.T) {
	needSystemd(t)
	out := part(t, "refused", func(cmd *exec.Cmd) {
		if os.Geteuid() != 0 {
			return
		}
		nobody, err := user.Lookup("nobody")
		require.NoError(t, err)
		uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
		require.NoError(t, err)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	})
	assert.Equal(t, "true", out["refused"])
	assert.Equal(t, "true", out["unsupported"])
	assert.Equal(t, "false", out["moved"])
	assert.Contains(t, out["error"], "the user's own")
}

// What the manager was not given it cannot hand on: a user's usually has no io.
func TestScopeLacking(t *testing.T) {
	needSystemd(t)
	out := part(t, "lacking")
	if os.Geteuid() == 0 {
		assert.Empty(t, out["error"], "control: root's has all")
		return
	}
	assert.Contains(t, out["error"], "io controller")
	assert.Contains(t, out["error"], "/etc/systemd/system/user@.service.d/delegate.conf")
	assert.NotContains(t, out["in"], "belljar-host")
}

func TestScopeBadProperty(t *testing.T) {
	needSystemd(t)
	out := part(t, "bad")
	assert.Contains(t, out["error"], "NoSuchThing")
	assert.Equal(t, "false", out["moved"])
}

// The job may be done long after nobody waits any more: New says so in time, and leaves no scope.
func TestScopeTimeout(t *testing.T) {
	needSystemd(t)
	child := exec.Command("sleep", "100")
	require.NoError(t, child.Start())
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	for wait := 50 * time.Microsecond; ; wait = wait * 5 / 4 { // at every point on the way
		ctx, stop := context.WithTimeout(t.Context(), wait)
		s, err := New(ctx, Options{Name: "test-late-" + itoa(os.Getpid()) + "-" + itoa(int(wait)), PIDs: []int{child.Process.Pid}})
		stop()
		if err == nil {
			require.NoError(t, s.Close())
			break
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	require.NoError(t, child.Process.Signal(syscall.Signal(0)))
	_ = child.Process.Kill()
	_ = child.Wait()
	b, err := connect(t.Context(), map[bool]Manager{true: System, false: User}[os.Geteuid() == 0])
	require.NoError(t, err)
	defer b.close()
	eventually(t, "all are gone", func() bool {
		var units [][]any
		require.NoError(t, b.call(t.Context(), "", "ListUnitsByPatterns", &units, []string{}, []string{"test-late-*"}))
		return len(units) == 0
	})
}
