//go:build linux

package zygote

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// listen has the listener of the command's filter sent to the host program, which answers for it, before the program is executed. The zygote
// keeps no copy: when the host program ends, the kernel answers what is asked with ENOSYS.
func (c *command) listen() *launch.Listen {
	regs := c.req.Listen
	if regs == nil {
		return nil
	}
	l := &launch.Listen{Socket: plan.Reg(regs.Socket), Listener: plan.Reg(regs.Listener)}
	l.Got = func(fd int) error {
		defer unix.Close(fd)
		return c.conn.Send(wire.Listening, c.id, nil, nil, []int{fd})
	}
	return l
}

// memory opens what a thread of a command has in memory. The zygote does it, since the host program may have given up its privileges. Whose
// thread it is can only be told by who asks: the listener says whether the call for which it is read still waits, and then so does the thread.
func (z *zygote) memory(m *wire.Message) (*wire.Answer, []int, error) {
	var req wire.MemoryRequest
	if err := m.Decode(&req); err != nil {
		return nil, nil, err
	}
	c, err := z.find(req.Command)
	if err != nil {
		return nil, nil, err
	}
	fd, err := c.box.memoryOf(req.TID)
	if errors.Is(err, os.ErrPermission) {
		if at, mem := c.launch.Memory(); mem != nil {
			fd, err = copyAt(at, mem)
		}
	}
	if err != nil {
		return nil, nil, &stageError{"notify", "open", fmt.Sprintf("memory of thread %d", req.TID), err}
	}
	return nil, []int{fd}, nil
}

// copyAt gives a file that has the bytes at an address. Until its exec a new process is not dumpable, so that its memory an ordinary user may not
// open; what its execve points to is in the part that the launch was given.
func copyAt(at uint64, mem []byte) (int, error) {
	fd, err := unix.MemfdCreate("belljar-launch", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if _, err := unix.Pwrite(fd, mem, int64(at)); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// memoryOf opens the memory of a thread in the sandbox.
func (b *box) memoryOf(tid int) (int, error) {
	dir, err := b.thread(tid)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	return unix.Openat(dir, "mem", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// killThread kills the process of a thread in the sandbox.
func (b *box) killThread(tid int) error {
	dir, err := b.thread(tid)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	status, err := unix.Openat(dir, "status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	text := make([]byte, 4096)
	n, err := unix.Read(status, text)
	_ = unix.Close(status)
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(text[:n]), "\nTgid:\t")
	process, _, _ := strings.Cut(after, "\n")
	pid, err := strconv.Atoi(process)
	if err != nil {
		return unix.ESRCH
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if err := b.owns(dir); err != nil { // and so it lives, and so the number was its process's when it was looked up
		return err
	}
	return unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
}

// thread opens the folder of a thread in the sandbox. As root it refuses threads that are not in its namespaces: the host program may have
// fewer rights by now than this process.
func (b *box) thread(tid int) (int, error) {
	dir, err := unix.Open(fmt.Sprintf("/proc/%d", tid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := b.owns(dir); err != nil {
		_ = unix.Close(dir)
		return -1, err
	}
	return dir, nil
}

// owns looks at the namespaces of the thread whose folder this is.
func (b *box) owns(dir int) error {
	own, theirs := make([]byte, 64), make([]byte, 64)
	for _, kind := range b.kinds() {
		n, err := unix.Readlink(fmt.Sprintf("/proc/%d/ns/%s", b.init.pid, kind), own)
		if errors.Is(err, os.ErrPermission) {
			break // PID 1 may not be looked at by an ordinary user, who has no rights to lend
		}
		if err != nil {
			return err
		}
		k, err := unix.Readlinkat(dir, "ns/"+kind, theirs)
		if err != nil {
			return err
		}
		if string(own[:n]) != string(theirs[:k]) {
			return unix.ESRCH
		}
	}
	return nil
}

// kinds are the namespaces by which processes of the sandbox are known.
func (b *box) kinds() []string {
	var kinds []string
	if b.ownPIDs {
		kinds = append(kinds, "pid")
	}
	if b.userNS {
		kinds = append(kinds, "user")
	}
	return kinds
}
