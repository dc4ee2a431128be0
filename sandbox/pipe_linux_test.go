package sandbox

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	parts["slowwriter"] = func([]string) { // writes what is not there yet, until its input ends
		said := os.NewFile(3, "said")
		fd, _, errno := unix.RawSyscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0) // of one that blocks poll(2) says nothing
		if errno != 0 {
			_, _ = said.WriteString("needs userfaultfd: " + errno.Error() + "\n")
			return
		}
		mem, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		check(err)
		at := uintptr(unsafe.Pointer(&mem[0]))
		api := [3]uint64{0xaa}                                                              // struct uffdio_api, <linux/userfaultfd.h>
		register := [4]uint64{uint64(at), uint64(len(mem)), 1 /* pages that are missing */} // struct uffdio_register
		ioctl(fd, 0xc018aa3f, unsafe.Pointer(&api))
		ioctl(fd, 0xc020aa00, unsafe.Pointer(&register))
		go func() { _, _, _ = unix.Syscall(unix.SYS_WRITE, 1, at, uintptr(len(mem))) }()
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		check(err)
		_, _ = said.WriteString("waits\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

func ioctl(fd, nr uintptr, arg unsafe.Pointer) {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, nr, uintptr(arg)); errno != 0 {
		check(errno)
	}
}

// A job can hold the lock of a pipe for as long as it takes to read from a disk what it writes. Whoever takes its output waits for that, and nothing else of the program does.
func TestDrainOfHeldPipe(t *testing.T) {
	needRoot(t)
	fd, w, err := rawPipe(0, uint32(outOfJob))
	require.NoError(t, err)
	s := &sink{fd: fd, to: io.Discard}
	defer s.close()
	said, theirs, err := os.Pipe()
	require.NoError(t, err)
	defer said.Close()
	exe, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(exe)
	c.Env, c.Stdout, c.ExtraFiles = []string{partEnv + "=slowwriter"}, w, []*os.File{theirs}
	end, err := c.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	require.NoError(t, w.Close())
	require.NoError(t, theirs.Close())
	line, _ := bufio.NewReader(said).ReadString('\n')
	if line != "waits\n" {
		_ = c.Wait()
		skip(t, line)
	}
	var reads, drained atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		reads.Store(true)
		s.drain()
		drained.Store(true)
	}()
	eventually(t, "somebody reads", reads.Load)
	for range 3 {
		runtime.GC() // stops all that runs
	}
	assert.False(t, drained.Load(), "the program has gone on although one of it waits")
	require.NoError(t, end.Close())
	<-done
	require.NoError(t, c.Wait())
}
