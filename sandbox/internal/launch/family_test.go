//go:build linux

package launch

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stopped starts a process that has this thread trace it, and is stopped.
func stopped(t *testing.T) (pid int) {
	t.Helper()
	c := exec.Command("/bin/sleep", "1000")
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, c.Start())
	return c.Process.Pid
}

// tells waits for a child to have something to tell, which stays to be told.
func tells(t *testing.T, pid int) (code int32) {
	t.Helper()
	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT|unix.WALL, nil) == unix.EINTR {
	}
	return info.Code
}

// A process that has had this one trace it and stops has not ended.
func TestWaitForTraced(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid := stopped(t)
	require.Greater(t, tells(t, pid), int32(cldDumped), "the control: wait4 would tell of it")
	var ws unix.WaitStatus
	got, err := Wait(pid, &ws, unix.WNOHANG, nil)
	require.NoError(t, err)
	assert.Zero(t, got, ws)
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	got, err = Wait(pid, &ws, 0, nil)
	require.NoError(t, err)
	assert.Equal(t, pid, got)
	assert.Equal(t, unix.SIGKILL, ws.Signal())
}

// Nor does it keep strangers from being waited for, whether this process has made it or not.
func TestReapBehindTraced(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, own := range []bool{false, true} {
		traced := stopped(t)
		if own {
			family.mu.Lock()
			family.own[traced]++
			family.mu.Unlock()
		}
		tells(t, traced)
		stranger := exec.Command("/bin/true")
		require.NoError(t, stranger.Start())
		assert.LessOrEqual(t, tells(t, stranger.Process.Pid), int32(cldDumped))
		assert.Positive(t, ReapStrangers())
		require.NoError(t, unix.Kill(traced, unix.SIGKILL), "it is there")
		_, err := unix.Wait4(stranger.Process.Pid, nil, 0, nil)
		assert.ErrorIs(t, err, unix.ECHILD, "it has been waited for")
		tells(t, traced)
		assert.Equal(t, !own, ReapStrangers() > 0)
		if own {
			got, err := Wait(traced, nil, 0, nil)
			require.NoError(t, err)
			assert.Equal(t, traced, got)
		}
	}
}
