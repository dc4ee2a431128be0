//go:build amd64 || arm64

package seccomp

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tries are calls a victim makes, by name. Each returns the call's error and leaves nothing behind but what ends with
// the process.
var tries = map[string]func() syscall.Errno{
	"unshare":             call(unix.SYS_UNSHARE, unix.CLONE_FS),
	"setns":               call(unix.SYS_SETNS, badFD, 0),
	"clone":               forking(uintptr(unix.SIGCHLD)),
	"clone-newuser":       forking(unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)),
	"clone-newuser-newns": forking(unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | uintptr(unix.SIGCHLD)),
	"clone3":              call(unix.SYS_CLONE3, 0, 0),
	"ptrace":              call(unix.SYS_PTRACE, unix.PTRACE_CONT, self),
	"process_vm_readv":    call(unix.SYS_PROCESS_VM_READV, self, 0, 0, 0, 0, 0),
	"process_vm_writev":   call(unix.SYS_PROCESS_VM_WRITEV, self, 0, 0, 0, 0, 0),
	"kcmp":                call(unix.SYS_KCMP, self, self, 0, 1, 1),
	"pidfd_getfd":         pidfdGetfd,
	"mount":               call(unix.SYS_MOUNT, text("none"), text("/nonexistent"), text("tmpfs"), 0, 0),
	"umount2":             call(unix.SYS_UMOUNT2, text("/nonexistent"), 0),
	"chroot":              call(unix.SYS_CHROOT, text("/nonexistent")),
	"open_tree":           call(unix.SYS_OPEN_TREE, badFD, text("/"), unix.OPEN_TREE_CLOEXEC),
	"mount_setattr":       call(unix.SYS_MOUNT_SETATTR, badFD, text(""), 0, 0, 0),
	"fsopen":              call(unix.SYS_FSOPEN, text("tmpfs"), 1),
	"move_mount":          call(unix.SYS_MOVE_MOUNT, badFD, text(""), badFD, text(""), 0xffff0000),
	"pivot_root":          call(unix.SYS_PIVOT_ROOT, text("/nonexistent"), text("/nonexistent")),
	"open_by_handle_at":   call(unix.SYS_OPEN_BY_HANDLE_AT, badFD, 0, 0),
	"bpf":                 call(unix.SYS_BPF, 9999, 0, 0),
	"perf_event_open":     call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, badFD, 0),
	"userfaultfd":         call(unix.SYS_USERFAULTFD, 1), // UFFD_USER_MODE_ONLY
	"io_uring_setup":      call(unix.SYS_IO_URING_SETUP, 1, 0),
	"keyctl":              call(unix.SYS_KEYCTL, 9999),
	"add_key":             call(unix.SYS_ADD_KEY, text("user"), text("belljar"), text("x"), 1, processKeyring),
	"request_key":         call(unix.SYS_REQUEST_KEY, text("user"), text("belljar-none"), 0, 0),
	"socket-unix":         socket(unix.AF_UNIX),
	"socket-inet":         socket(unix.AF_INET),
	"socket-inet6":        socket(unix.AF_INET6),
	"socket-netlink":      socket(unix.AF_NETLINK),
	"socket-netlink-high": socket(1<<32 | unix.AF_NETLINK),
	"socket-unix-high":    socket(1<<32 | unix.AF_UNIX),
	"socket-alg":          socket(unix.AF_ALG),
	"socket-vsock":        socket(unix.AF_VSOCK),
	"socket-packet":       socket(unix.AF_PACKET),
	"socketpair-unix":     socketpair(unix.AF_UNIX),
	"socketpair-tipc":     socketpair(unix.AF_TIPC),
	"tcgets":              ioctl(unix.TCGETS),
	"tiocsti":             ioctl(unix.TIOCSTI),
	"tiocsti-high":        ioctl(1<<32 | unix.TIOCSTI),
	"tioclinux":           ioctl(unix.TIOCLINUX),
	"personality-ask":     call(unix.SYS_PERSONALITY, 0xffffffff),
	"personality-fixed":   call(unix.SYS_PERSONALITY, 0x0040000),
	"unknown":             call(9999),
	"gap":                 call(400),
	"x32":                 call(0x40000000 | unix.SYS_GETPID),
	"getpid":              call(unix.SYS_GETPID),
	"read-only":           call(unix.SYS_OPENAT, atCwd, text("/"), unix.O_RDONLY|unix.O_CLOEXEC, 0),
	"create":              call(unix.SYS_OPENAT, atCwd, text("/nonexistent/f"), unix.O_CREAT|unix.O_RDONLY, 0o600),
	"create-write":        call(unix.SYS_OPENAT, atCwd, text("/nonexistent/f"), unix.O_WRONLY, 0),
	"openat2":             call(unix.SYS_OPENAT2, badFD, 0, 0, 0),
	"mkdir":               call(unix.SYS_MKDIRAT, atCwd, text("/nonexistent/d"), 0o700),
	"kill-self":           call(unix.SYS_KILL, self, 0),
	"prlimit-parent":      call(unix.SYS_PRLIMIT64, uintptr(os.Getppid()), unix.RLIMIT_CORE, 0, 0),
	"sendto-address":      call(unix.SYS_SENDTO, badFD, 0, 0, 0, text("address"), 2),
	"sendmsg":             call(unix.SYS_SENDMSG, badFD, 0, 0),
}

const (
	badFD          = ^uintptr(0)
	atCwd          = ^uintptr(99)
	processKeyring = ^uintptr(1)
)

var self = uintptr(os.Getpid())

func text(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}

// kept keeps texts alive whose addresses are held as numbers. Go's heap does not move.
var kept []*byte

func call(number uintptr, args ...uintptr) func() syscall.Errno {
	return func() syscall.Errno {
		var a [6]uintptr
		copy(a[:], args)
		_, _, e := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		return e
	}
}

// forking makes a child that ends at once.
func forking(flags uintptr) func() syscall.Errno {
	return func() syscall.Errno {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
		if e != 0 {
			return e
		}
		if pid == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		if _, err := unix.Wait4(int(pid), nil, 0, nil); err != nil {
			return err.(syscall.Errno)
		}
		return 0
	}
}

func pidfdGetfd() syscall.Errno {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err.(syscall.Errno)
	}
	return call(unix.SYS_PIDFD_GETFD, uintptr(fd), 1, 0)()
}

func socket(family uintptr) func() syscall.Errno {
	kind := uintptr(unix.SOCK_DGRAM)
	switch uint32(family) {
	case unix.AF_ALG:
		kind = unix.SOCK_SEQPACKET
	case unix.AF_VSOCK:
		kind = unix.SOCK_STREAM
	}
	return call(unix.SYS_SOCKET, family, kind, 0)
}

func socketpair(family uintptr) func() syscall.Errno {
	return func() syscall.Errno {
		fds := new([2]int32)
		_, _, e := unix.Syscall6(unix.SYS_SOCKETPAIR, family, unix.SOCK_STREAM, 0, uintptr(unsafe.Pointer(fds)), 0, 0)
		return e
	}
}

func ioctl(request uintptr) func() syscall.Errno {
	return func() syscall.Errno {
		null, err := os.Open("/dev/null")
		if err != nil {
			return err.(*os.PathError).Err.(syscall.Errno)
		}
		defer null.Close()
		return call(unix.SYS_IOCTL, null.Fd(), request, 0)()
	}
}
