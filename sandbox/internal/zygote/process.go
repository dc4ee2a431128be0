//go:build linux

package zygote

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"golang.org/x/sys/unix"
)

// process is a child that is waited for through its pidfd, without a thread of its own.
type process struct {
	pid  int
	file *os.File
	raw  syscall.RawConn
}

func newProcess(pid, pidfd int) (*process, error) {
	if err := unix.SetNonblock(pidfd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(pidfd), "pidfd")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &process{pid: pid, file: f, raw: raw}, nil
}

// wait reaps the child. It returns os.ErrDeadlineExceeded if the child still runs at that time (zero: no limit).
func (p *process) wait(until time.Time) (ws unix.WaitStatus, ru unix.Rusage, err error) {
	if err := p.file.SetReadDeadline(until); err != nil {
		return 0, ru, err
	}
	var werr error
	err = p.raw.Read(func(uintptr) bool {
		var pid int
		pid, werr = launch.Wait(p.pid, &ws, unix.WNOHANG, &ru)
		return werr != nil || pid == p.pid
	})
	return ws, ru, errors.Join(err, werr)
}

// signal sends a signal to this very process, whatever has become of its number.
func (p *process) signal(sig unix.Signal) error {
	err := unix.ESRCH
	cerr := p.raw.Control(func(fd uintptr) {
		err2 := unix.PidfdSendSignal(int(fd), sig, nil, 0)
		if err2 == nil {
			err = 0
		} else {
			errors.As(err2, &err)
		}
	})
	switch {
	case cerr != nil:
		return unix.ESRCH // closed: it has been waited for
	case err != 0:
		return err
	}
	return nil
}

func (p *process) close() { _ = p.file.Close() }
