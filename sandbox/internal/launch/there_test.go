//go:build linux

package launch

import (
	"os"
	"runtime"
	"testing"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// elsewhere makes a mount namespace with a file system of its own at a directory, and goes back.
func elsewhere(t *testing.T, dir string) *Mounts {
	t.Helper()
	home, err := Home("mnt")
	require.NoError(t, err)
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	m := &Mounts{Home: home, Root: root}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and ends with it
		done <- func() (err error) {
			if err = unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err = unix.Mount("x", dir, "tmpfs", 0, ""); err != nil {
				return err
			}
			if err = os.WriteFile(dir+"/mark", nil, 0o644); err != nil {
				return err
			}
			m.NS, err = Home("mnt")
			return err
		}()
	}()
	require.NoError(t, <-done)
	t.Cleanup(func() {
		for _, fd := range []int{m.NS, m.Home, m.Root} {
			_ = unix.Close(fd)
		}
	})
	return m
}

func looking(path string) *plan.Plan {
	b := plan.NewBuilder()
	b.Call(unix.SYS_FACCESSAT, "faccessat", path, plan.CWD, b.Str(path), plan.Zero)
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", "/bin/true", b.Str("/bin/true"), b.Strings([]string{"true"}), b.Strings(nil))
	return b.Plan()
}

// A process starts in another mount namespace, and the thread that clones it is at home again afterwards, also if it cannot get there.
func TestMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("entering mount namespaces needs root")
	}
	dir := t.TempDir()
	m := elsewhere(t, dir)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	where := func() string {
		ns, err := os.Readlink("/proc/thread-self/ns/mnt")
		require.NoError(t, err)
		root, err := os.Readlink("/proc/thread-self/root")
		require.NoError(t, err)
		cwd, err := os.Readlink("/proc/thread-self/cwd")
		require.NoError(t, err)
		return ns + root + cwd
	}
	require.NoError(t, unix.Unshare(unix.CLONE_FS))
	require.NoError(t, unix.Chdir("/"))
	before := where()
	require.NoError(t, CanReturn(m.Root))
	require.ErrorIs(t, CanReturn(-1), unix.EBADF)
	assert.Equal(t, before, where())
	mark := looking(dir + "/mark")

	_, err := Launch(&Request{Plan: mark, Cgroup: -1})
	require.ErrorIs(t, err, unix.ENOENT, "the file is not here")
	proc, err := Launch(&Request{Plan: mark, Cgroup: -1, Mounts: m})
	require.NoError(t, err)
	assert.Zero(t, wait(t, proc).ExitStatus())
	assert.Equal(t, before, where())

	_, err = Launch(&Request{Plan: mark, Cgroup: -1, Mounts: &Mounts{NS: m.Root, Home: m.Home, Root: m.Root}})
	require.ErrorIs(t, err, ErrMounts)
	require.ErrorIs(t, err, unix.EBADF)
	assert.Equal(t, before, where())
	_, err = os.Stat(dir + "/mark")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
