package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
)

func init() {
	hosts["stuck"] = func(args []string) { // waits for a FIFO, which nothing ends
		startStubborn()
		sayZygote()
		say("ready")
		go func() { _, _ = unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0) }()
		sleep()
	}
}

// holdFIFO makes a FIFO that nobody can open until the returned function is called: whoever writes to it holds its lock meanwhile (pipe_write in fs/pipe.c), and what is written comes from a
// file system that does not answer.
func holdFIFO(t *testing.T) (path string, letGo func()) {
	t.Helper()
	hang := mountHanging(t)
	path = filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(path, 0o600))
	fifo, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	data, err := unix.Open(filepath.Join(hang.dir, "data"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	mem, err := unix.Mmap(data, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
	require.NoError(t, err)
	var writes sync.WaitGroup
	writes.Go(func() {
		_, _, _ = unix.Syscall(unix.SYS_WRITE, uintptr(fifo), uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)))
	})
	letGo = sync.OnceFunc(func() {
		hang.abort(t)
		writes.Wait()
		assert.NoError(t, unix.Munmap(mem))
		assert.NoError(t, unix.Close(data))
		assert.NoError(t, unix.Close(fifo))
	})
	t.Cleanup(letGo)
	eventually(t, "it is read from what does not answer", hang.asked)
	return path, letGo
}

// opens tells whether a thread of a process is in open(2) and cannot be killed.
func opens(pid string) bool {
	tasks, _ := filepath.Glob("/proc/" + pid + "/task/[0-9]*")
	return slices.ContainsFunc(tasks, func(task string) bool {
		p, ok := leaktest.Lookup(strings.TrimPrefix(task, "/proc/"))
		call, _ := os.ReadFile(task + "/syscall")
		return ok && p.State == 'D' && strings.HasPrefix(string(call), strconv.Itoa(unix.SYS_OPENAT)+" ")
	})
}

// A host program that cannot die yet, since one of its threads waits in the kernel for what does not come, keeps all its descriptors; its sandboxes end nevertheless.
func TestHostKilledWhileStuck(t *testing.T) {
	needRoot(t)
	before := leaktest.Take()
	t.Run("opens", func(t *testing.T) {
		path, letGo := holdFIFO(t)
		h := startHost(t, "stuck "+path)
		t.Cleanup(letGo) // before it is waited for
		host := strconv.Itoa(h.cmd.Process.Pid)
		eventually(t, "a thread of it waits", func() bool { return opens(host) })
		inside := leaktest.Descendants(h.zygote)
		require.NotEmpty(t, inside, "the control")
		require.NoError(t, h.cmd.Process.Kill())
		eventually(t, "its sandboxes are gone", func() bool {
			return isGone(h.zygote) && !slices.ContainsFunc(inside, func(p leaktest.Process) bool { return !isGone(p.PID) })
		})
		assert.True(t, opens(host), "the control: it waits still")
		letGo()
		h.kill()
	})
	assert.Empty(t, before.Await(patience))
}
