//go:build linux

package zygote

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func child(t *testing.T, script string) (*process, *exec.Cmd) {
	t.Helper()
	c := exec.Command("/bin/sh", "-c", script)
	require.NoError(t, c.Start())
	fd, err := unix.PidfdOpen(c.Process.Pid, 0)
	require.NoError(t, err)
	p := newProcess(c.Process.Pid, fd)
	t.Cleanup(func() { p.close(); _ = c.Process.Release() })
	return p, c
}

// How a child has ended that somebody else has waited for nobody knows: it is not taken for one that has ended well.
func TestProcessLost(t *testing.T) {
	p, c := child(t, "exit 0")
	require.NoError(t, c.Wait())
	_, _, ended, lost := p.waitBriefly(patience)
	assert.True(t, ended)
	assert.True(t, lost)
	_, _, lost = p.wait()
	assert.True(t, lost)

	p, _ = child(t, "exit 7")
	ws, _, ended, lost := p.waitBriefly(patience)
	assert.Equal(t, []any{7, true, false}, []any{ws.ExitStatus(), ended, lost}, "the control")
}

// One that is no longer waited for has not ended well either.
func TestProcessGivenUp(t *testing.T) {
	p, c := child(t, "exec sleep 1000")
	time.AfterFunc(10*time.Millisecond, p.close) // before or while it is waited for
	_, _, lost := p.wait()
	assert.True(t, lost)
	require.NoError(t, c.Process.Kill())
	_, _ = c.Process.Wait()

	p, _ = child(t, "sleep 0.02; exit 7")
	ws, _, lost := p.wait()
	assert.Equal(t, []any{7, false}, []any{ws.ExitStatus(), lost}, "the control")
}

// A child of which the runtime's poller does not tell, because epoll(7) has no room for more (fs.epoll.max_user_watches), is waited for all the same.
func TestProcessUnpolled(t *testing.T) {
	p, _ := child(t, "sleep 0.02; exit 7")
	p.file = os.NewFile(uintptr(p.fd), "pidfd") // one that blocks is not given to the poller
	raw, err := p.file.SyscallConn()
	require.NoError(t, err)
	require.Error(t, raw.Read(func(uintptr) bool { return false }), "the control")
	ws, _, lost := p.wait()
	assert.Equal(t, []any{7, false}, []any{ws.ExitStatus(), lost})
}
