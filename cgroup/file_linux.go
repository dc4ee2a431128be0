package cgroup

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The files of cgroupfs are read and written by plain system calls: os.File
// would register each descriptor with the poller, and a command opens a dozen.

// retry repeats f while a signal interrupts it. The runtime's own preemption
// signal does so, and the memory controller answers EINTR by itself, whatever
// SA_RESTART says.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func openAt(dirfd int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func openDirAt(dirfd int, name string) (int, error) {
	return openAt(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

func writeAt(dirfd int, name, data string) error {
	fd, err := openAt(dirfd, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return retry(func() error {
		_, err := unix.Write(fd, []byte(data))
		return err
	})
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8192); return &b }}

// withFile hands f the content of a file that the kernel shows in one piece,
// as all accounts are: a read that leaves room has got everything. The bytes
// are valid during the call.
func withFile(dirfd int, name string, f func(b []byte)) error {
	return openRead(dirfd, name, false, f)
}

// withList is withFile for files which come record by record (cgroup.procs,
// /proc/self/mountinfo): there a short read says nothing.
func withList(dirfd int, name string, f func(b []byte)) error {
	return openRead(dirfd, name, true, f)
}

func openRead(dirfd int, name string, list bool, f func(b []byte)) error {
	fd, err := openAt(dirfd, name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return readFD(fd, list, f)
}

func readFD(fd int, list bool, f func(b []byte)) error {
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	b := (*p)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := unix.Pread(fd, b[len(b):cap(b)], int64(len(b)))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[:len(b)+n]
		if n == 0 || !list && len(b) < cap(b) {
			break
		}
	}
	*p = b
	f(b)
	return nil
}

func readString(dirfd int, name string) (string, error) {
	var s string
	err := withList(dirfd, name, func(b []byte) { s = string(b) })
	return s, err
}

// absent reports an error of a file which this kernel does not have, or has
// switched off (pressure files say EOPNOTSUPP).
func absent(err error) bool {
	return err == unix.ENOENT || err == unix.EOPNOTSUPP
}

// gone reports an error which a removed group gives: ENODEV through an open
// file, ENOENT through its directory.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT)
}

// backoff waits a little longer each time, until the deadline.
type backoff struct {
	deadline time.Time
	pause    time.Duration
}

func newBackoff(deadline time.Time) *backoff {
	return &backoff{deadline: deadline, pause: 20 * time.Microsecond}
}

// wait returns false once the deadline has passed.
func (b *backoff) wait() bool {
	left := time.Until(b.deadline)
	if left <= 0 {
		return false
	}
	time.Sleep(min(b.pause, left))
	b.pause = min(b.pause*2, 2*time.Millisecond)
	return true
}
