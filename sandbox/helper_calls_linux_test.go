package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call with arguments that are wrong in some way: without a filter the kernel looks at them and says so, with one it never does.
type call struct {
	nr   uintptr
	args [6]uintptr
	want string // with the default filter
}

const none = ^uintptr(0)

// mqueue makes one of the calls that take the name of a message queue.
func mqueue(nr uintptr, name string, flags, mode uintptr) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	fd, _, e := unix.RawSyscall6(nr, uintptr(unsafe.Pointer(p)), flags, mode, 0, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

// deniedCalls is what the default filter answers without asking the kernel.
var deniedCalls = map[string]call{
	"unshare":           {unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUSER}, "EPERM"},
	"clone newuser":     {unix.SYS_CLONE, [6]uintptr{unix.CLONE_NEWUSER | unix.CLONE_FS}, "EPERM"}, // EINVAL together
	"clone3":            {unix.SYS_CLONE3, [6]uintptr{0, 0}, "ENOSYS"},
	"setns":             {unix.SYS_SETNS, [6]uintptr{none, 0}, "EPERM"},
	"mount":             {unix.SYS_MOUNT, [6]uintptr{0, none, 0, 0, 0}, "EPERM"},
	"umount2":           {unix.SYS_UMOUNT2, [6]uintptr{none, 0}, "EPERM"},
	"pivot_root":        {unix.SYS_PIVOT_ROOT, [6]uintptr{none, none}, "EPERM"},
	"chroot":            {unix.SYS_CHROOT, [6]uintptr{none}, "EPERM"},
	"open_tree":         {unix.SYS_OPEN_TREE, [6]uintptr{none, none, 0}, "EPERM"},
	"move_mount":        {unix.SYS_MOVE_MOUNT, [6]uintptr{none, none, none, none, 0}, "EPERM"},
	"fsopen":            {unix.SYS_FSOPEN, [6]uintptr{none, 0}, "EPERM"},
	"fsmount":           {unix.SYS_FSMOUNT, [6]uintptr{none, 0, 0}, "EPERM"},
	"mount_setattr":     {unix.SYS_MOUNT_SETATTR, [6]uintptr{none, none, 0, 0, 0}, "EPERM"},
	"open_by_handle_at": {unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{none, none, 0}, "EPERM"},
	"ptrace":            {unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_ATTACH, 0}, "EPERM"},
	"process_vm_readv":  {unix.SYS_PROCESS_VM_READV, [6]uintptr{0, 0, 0, 0, 0, 9}, "EPERM"},
	"process_vm_writev": {unix.SYS_PROCESS_VM_WRITEV, [6]uintptr{0, 0, 0, 0, 0, 9}, "EPERM"},
	"pidfd_getfd":       {unix.SYS_PIDFD_GETFD, [6]uintptr{none, 0, 0}, "EPERM"},
	"kcmp":              {unix.SYS_KCMP, [6]uintptr{0, 0, 99}, "EPERM"},
	"userfaultfd":       {unix.SYS_USERFAULTFD, [6]uintptr{1 | 1<<30}, "EPERM"},
	"perf_event_open":   {unix.SYS_PERF_EVENT_OPEN, [6]uintptr{none, 0, 0, none, 0}, "EPERM"},
	"keyctl":            {unix.SYS_KEYCTL, [6]uintptr{9999}, "EPERM"},
	"add_key":           {unix.SYS_ADD_KEY, [6]uintptr{none, 0, 0, 0, 0}, "EPERM"},
	"request_key":       {unix.SYS_REQUEST_KEY, [6]uintptr{none, 0, 0, 0}, "EPERM"},
	"io_uring_setup":    {unix.SYS_IO_URING_SETUP, [6]uintptr{1, none}, "EPERM"},
	"sethostname":       {unix.SYS_SETHOSTNAME, [6]uintptr{none, 1}, "EPERM"},
	"quotactl":          {unix.SYS_QUOTACTL, [6]uintptr{9999 << 8, none, 0, 0}, "EPERM"},
	"swapoff":           {unix.SYS_SWAPOFF, [6]uintptr{none}, "EPERM"},
	"settimeofday":      {unix.SYS_SETTIMEOFDAY, [6]uintptr{none, 0}, "EPERM"},
	"socket AF_ALG":     {unix.SYS_SOCKET, [6]uintptr{unix.AF_ALG, 99, 0}, "EPERM"},
	"socket AF_VSOCK":   {unix.SYS_SOCKET, [6]uintptr{unix.AF_VSOCK, 99, 0}, "EPERM"},
	"socket AF_NETLINK": {unix.SYS_SOCKET, [6]uintptr{unix.AF_NETLINK, 99, 0}, "EPERM"},
	"socket AF_PACKET":  {unix.SYS_SOCKET, [6]uintptr{unix.AF_PACKET, 99, 0}, "EPERM"},
	"tiocsti":           {unix.SYS_IOCTL, [6]uintptr{none, unix.TIOCSTI, 0}, "EPERM"},
	"unknown":           {9999, [6]uintptr{}, "ENOSYS"},
}

func init() {
	parts["calls"] = func([]string) {
		runtime.LockOSThread()
		names := make([]string, 0, len(deniedCalls))
		for n := range deniedCalls {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			c := deniedCalls[n]
			_, _, e := unix.RawSyscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
			fmt.Printf("%s=%s\n", n, errnoName(e))
		}
	}
	// fds lists the descriptors that this process was given, with what they are.
	parts["fds"] = func([]string) {
		for fd := range 1024 {
			var st unix.Stat_t
			if unix.Fstat(fd, &st) != nil {
				continue
			}
			flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			to, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			if flags&unix.FD_CLOEXEC == 0 {
				fmt.Printf("%d=%s\n", fd, to)
			}
		}
	}
	// connect tries to reach what a host listens on.
	parts["connect"] = func(args []string) {
		for _, a := range args {
			var sa unix.Sockaddr
			family := unix.AF_UNIX
			var port int
			if n, _ := fmt.Sscanf(a, "tcp:%d", &port); n == 1 {
				family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
			} else {
				sa = &unix.SockaddrUnix{Name: a}
			}
			fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
			if err == nil {
				err = unix.Connect(fd, sa)
			}
			fmt.Printf("%s=%s\n", a, errnoName(err))
		}
	}
	// ipc looks for a System V segment, queue and key of the given number.
	parts["ipc"] = func(args []string) {
		var key uintptr
		_, _ = fmt.Sscan(args[0], &key)
		_, _, e := unix.RawSyscall(unix.SYS_SHMGET, key, 0, 0)
		fmt.Printf("shm=%s\n", errnoName(e))
		_, _, e = unix.RawSyscall(unix.SYS_MSGGET, key, 0, 0)
		fmt.Printf("msg=%s\n", errnoName(e))
		_, err := mqueue(unix.SYS_MQ_OPEN, args[1], unix.O_RDONLY, 0)
		fmt.Printf("mq=%s\n", errnoName(err))
	}
	// raw opens sockets that reach further than one of TCP.
	parts["raw"] = func([]string) {
		for name, f := range map[string][3]int{
			"raw": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, "packet": {unix.AF_PACKET, unix.SOCK_RAW, 0},
			"netlink": {unix.AF_NETLINK, unix.SOCK_RAW, 0}, "vsock": {unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "inet": {unix.AF_INET, unix.SOCK_STREAM, 0},
		} {
			fd, err := unix.Socket(f[0], f[1], f[2])
			fmt.Printf("%s=%s\n", name, errnoName(err))
			if err == nil {
				_ = unix.Close(fd)
			}
		}
	}
}
