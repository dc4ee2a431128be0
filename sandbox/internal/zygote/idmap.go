//go:build linux

package zygote

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// claimIDs takes the range of ids that a sandbox is to have for itself, if it is to have one.
func (b *box) claimIDs(m *wire.IDMap) (err error) {
	if m != nil && m.Count > 0 {
		if b.ids, err = claimRange(); err != nil {
			return &stageError{"id map", "claim", "range of ids", err}
		}
	}
	return nil
}

// mapIDs writes the id maps of the new user namespace whose first process is pid; r is the sandbox's own range, or nil.
func mapIDs(pid int, m *wire.IDMap, r *idRange) error {
	uids, gids := m.UIDs, m.GIDs
	if r != nil {
		uids = fmt.Sprintf("0 %d %d\n", r.base, m.Count)
		gids = uids
	}
	return writeMaps(pid, uids, gids, m)
}

func writeMaps(pid int, uids, gids string, m *wire.IDMap) error {
	if m.Helper {
		if err := runHelper("newuidmap", pid, uids); err != nil {
			return err
		}
		return runHelper("newgidmap", pid, gids)
	}
	if m.DenySetgroups {
		if err := writeProc(pid, "setgroups", "deny"); err != nil {
			return err
		}
	}
	if err := writeProc(pid, "uid_map", uids); err != nil {
		return err
	}
	return writeProc(pid, "gid_map", gids)
}

// writeProc writes to a file of the process, in one call as the kernel wants it (user_namespaces(7)), and without the runtime's poller, which has no use for it.
func writeProc(pid int, name, data string) error {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/%s", pid, name), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		var n int
		if n, err = unix.Write(fd, []byte(data)); err == nil && n < len(data) {
			err = io.ErrShortWrite
		}
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return &stageError{"id map", "write", fmt.Sprintf("%s %q", name, strings.TrimSpace(data)), err}
	}
	return nil
}

// userNamespace opens that of a process: by the descriptor of the process where the kernel can (Linux 6.11), or by its number.
func userNamespace(pid, pidfd int) (int, error) {
	if fd, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_USER_NAMESPACE, 0); errno == 0 {
		return int(fd), nil
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &stageError{"id map", "open", "user namespace", err}
	}
	return fd, nil
}

// runHelper runs newuidmap or newgidmap, which may write ranges that /etc/subuid grants to the caller.
func runHelper(name string, pid int, text string) error {
	args := append([]string{name, fmt.Sprint(pid)}, strings.Fields(text)...)
	b := plan.NewBuilder()
	b.Stage("id map")
	null := b.Reg("null")
	b.Call(unix.SYS_OPENAT, "openat", "/dev/null", plan.CWD, b.Str("/dev/null"), plan.Int(unix.O_RDWR), plan.Zero).To(null)
	for fd := range 3 {
		b.Call(unix.SYS_DUP3, "dup3", "", plan.R(null), plan.Int(fd), plan.Zero).Tolerate(unix.EINVAL)
	}
	b.Call(unix.SYS_CLOSE_RANGE, "close_range", "", plan.Int(3), plan.Int(^uint32(0)), plan.Zero)
	b.Call(unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", "", plan.Int(unix.SIG_SETMASK), b.Words("[]", 0), plan.Null, plan.Int(8))
	b.Exec()
	dirs := []string{"/usr/bin/", "/bin/", "/usr/local/bin/", "/usr/sbin/", "/run/current-system/sw/bin/", "/run/wrappers/bin/"}
	for i, dir := range dirs {
		s := b.Call(unix.SYS_EXECVE, "execve", dir+name, b.Str(dir+name), b.Strings(args), b.Strings(nil))
		if i < len(dirs)-1 {
			s.Tolerate(unix.ENOENT, unix.EACCES, unix.ENOTDIR)
		}
	}
	proc, err := launch.Launch(&launch.Request{Plan: b.Plan(), Cgroup: -1})
	if err != nil {
		return &stageError{"id map", "run", name, errors.Unwrap(err)}
	}
	var ws unix.WaitStatus
	_, err = launch.Wait(proc.PID, &ws, 0, nil)
	_ = unix.Close(proc.PIDFD)
	if err != nil || !ws.Exited() || ws.ExitStatus() != 0 {
		return &stageError{"id map", "run", strings.Join(args, " "), fmt.Errorf("it refused: %w", unix.EPERM)}
	}
	return nil
}
