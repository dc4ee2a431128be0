// Package mounts notices that something is mounted or unmounted.
package mounts

import (
	"os"

	"golang.org/x/sys/unix"
)

// Watch is of one mount namespace. It is for one goroutine at a time. The zero Watch does not watch yet.
type Watch struct{ file *os.File }

// Begin begins to watch the mount namespace of the calling thread. That is not what /proc/self tells of, which is the first thread, if a program has taken that elsewhere. It
// does nothing if that has been done.
func (w *Watch) Begin() error {
	if w.file != nil {
		return nil
	}
	fd, err := unix.Open("/proc/thread-self/mounts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	w.file = os.NewFile(uintptr(fd), "mounts")
	return nil
}

// Changed tells whether anything has changed since Begin or since Changed last told so; an error if that cannot be told.
func (w *Watch) Changed() (bool, error) {
	if w.file == nil {
		return false, os.ErrInvalid
	}
	// The file is always readable; a change shows as an error (proc_pid_mounts(5)).
	fds := []unix.PollFd{{Fd: int32(w.file.Fd()), Events: unix.POLLPRI}}
	n, err := unix.Poll(fds, 0)
	if err != nil {
		return false, os.NewSyscallError("poll", err)
	}
	return n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLPRI) != 0, nil
}

// Close ends it, if it has begun.
func (w *Watch) Close() {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
}
