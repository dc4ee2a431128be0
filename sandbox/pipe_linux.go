package sandbox

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawPipe makes a pipe of which one end is the job's, with that mode, and the other this program's, which does not block, and about which the runtime's poller does not know yet: it would have a
// thread wake up whenever something comes, for nobody.
func rawPipe(ours int, mode uint32) (fd int, childs *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, &Error{Stage: "files", Op: "pipe", Err: err}
	}
	for _, step := range []struct {
		op string
		do func() error
	}{
		{"fchmod", func() error { return unix.Fchmod(p[1], mode) }},
		{"fcntl", func() error { return unix.SetNonblock(p[ours], true) }},
	} {
		if err := step.do(); err != nil {
			_, _ = unix.Close(p[0]), unix.Close(p[1])
			return -1, nil, &Error{Stage: "files", Op: step.op, Path: "pipe", Err: err}
		}
	}
	return p[ours], os.NewFile(uintptr(p[1-ours]), "|"), nil
}

func closeRaw(fd int) { _ = unix.Close(fd) }

// drain takes what has come of a stream to which nobody attends yet. It is false when there may be more than there is room for.
func (s *sink) drain() bool {
	if s.room == nil {
		s.room = earlyRooms.Get().(*[earlyRoom]byte)
	}
	for s.early < earlyRoom && !s.ended {
		switch n, errno := readRaw(s.fd, s.room[s.early:]); {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return true
		case errno != 0 || n == 0:
			s.ended = true
		default:
			s.early += n
		}
	}
	return s.ended
}

// readNow is for a command that has ended: it forwards all of a stream. It is false if there may be more to come, since somebody else can still write to it.
func (s *sink) readNow(forward func([]byte) bool) bool {
	for range 4 { // no pipe holds so much, so somebody fills it
		all := s.drain()
		if !forward(s.takeEarly()) || s.ended {
			return true
		}
		if all {
			return false
		}
	}
	return false
}

// readRaw tells the runtime that it is about to read, though nothing has to be waited for: a job that writes what has yet to come from a slow disk holds the pipe's lock meanwhile
// (pipe_write in fs/pipe.c), and nothing of this program is to stand still for that.
func readRaw(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

// early is input that is in the pipe before the program is there.
type early struct {
	taken int
	all   bool
	pass  func(n int) // has the reader be where it would be had so much been read from it
}

// feedEarly writes to a pipe what its reader has in memory, as far as that goes, without taking it from the reader: the command may never start.
func feedEarly(fd int, in io.Reader) (e early) {
	var b []byte
	seek := func(r io.ReadSeeker) func(int) {
		return func(n int) { _, _ = r.Seek(int64(n), io.SeekCurrent) }
	}
	peek := func(r io.ReaderAt, at int64, left int) {
		b = make([]byte, min(left, earlyRoom))
		n, _ := r.ReadAt(b, at)
		b, e.all = b[:n], n == left
	}
	switch in := in.(type) {
	case *bytes.Buffer:
		b, e.pass, e.all = in.Bytes(), func(n int) { in.Next(n) }, true
	case *bytes.Reader:
		peek(in, in.Size()-int64(in.Len()), in.Len())
		e.pass = seek(in)
	case *strings.Reader:
		peek(in, in.Size()-int64(in.Len()), in.Len())
		e.pass = seek(in)
	default:
		return early{}
	}
	for e.taken < len(b) {
		n, err := unix.Write(fd, b[e.taken:])
		if err == unix.EINTR {
			continue
		}
		if err != nil { // EAGAIN: it is full
			break
		}
		e.taken += n
	}
	e.all = e.all && e.taken == len(b)
	return e
}
