package seccomp

import (
	"fmt"
	"strings"
)

// String prints the call as strace would, as far as numbers go: "openat(dirfd=-100, path=0x7ffe…, flags=O_RDONLY, mode=0)".
// Pointers are printed as such: what they point to may be gone. A call by another architecture's entry has that before it,
// and those of sub-architectures have no names for their arguments, which for some are others: "386: mmap(arg0=0xff…, …)".
func (c Call) String() string {
	name, known := c.Arch.Name(c.Number)
	if !known {
		name = fmt.Sprintf("call %d", c.Number)
		if c.Arch == AMD64 && c.Number >= x32Bit {
			name = fmt.Sprintf("x32 call %d", c.Number&^x32Bit)
		}
	}
	params, known := parameters[name]
	if !known || c.Arch != c.Arch.main() {
		params = "arg0:x arg1:x arg2:x arg3:x arg4:x arg5:x"
	}
	var b strings.Builder
	if c.Arch != NativeArch() {
		b.WriteString(c.Arch.String() + ": ")
	}
	b.WriteString(name + "(")
	for i, p := range strings.Fields(params) {
		if i > 0 {
			b.WriteString(", ")
		}
		param, kind, _ := strings.Cut(p, ":")
		b.WriteString(param + "=" + argText(kind, c.Args[i]))
	}
	return b.String() + ")"
}

func argText(kind string, v uint64) string {
	switch kind {
	case "d": // int
		return fmt.Sprint(int32(v))
	case "l": // long
		return fmt.Sprint(int64(v))
	case "u":
		return fmt.Sprint(v)
	case "p":
		if v == 0 {
			return "NULL"
		}
		return fmt.Sprintf("%#x", v)
	case "o":
		return fmt.Sprintf("%#o", uint32(v))
	case "open":
		access := []string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[v&3]
		return access + bitText(v&^3, openBits, "|")
	case "clone":
		text := strings.TrimPrefix(bitText(v&^0xff, cloneBits, "|"), "|")
		if sig := v & 0xff; sig != 0 {
			text = strings.TrimPrefix(text+fmt.Sprintf("|signal %d", sig), "|")
		}
		if text == "" {
			return "0"
		}
		return text
	case "prot":
		if text := strings.TrimPrefix(bitText(v, protBits, "|"), "|"); text != "" {
			return text
		}
		return "PROT_NONE"
	case "family":
		if name, ok := families[uint32(v)]; ok {
			return name
		}
		return fmt.Sprintf("family %d", uint32(v))
	case "socket":
		name, ok := socketTypes[uint32(v)&0xf]
		if !ok {
			return fmt.Sprintf("%#x", uint32(v))
		}
		return name + bitText(v&^0xf, []bitName{{0x80000, "SOCK_CLOEXEC"}, {0x800, "SOCK_NONBLOCK"}}, "|")
	}
	return fmt.Sprintf("%#x", v)
}

type bitName struct {
	bit  uint64
	name string
}

// bitText lists set bits, each after sep; what has no name comes last as a number.
func bitText(v uint64, names []bitName, sep string) string {
	text := ""
	for _, n := range names {
		if v&n.bit == n.bit {
			text += sep + n.name
			v &^= n.bit
		}
	}
	if v != 0 {
		text += fmt.Sprintf("%s%#x", sep, v)
	}
	return text
}

// The values of asm-generic/fcntl.h, the same on amd64; arm64 has four others, which print as numbers there.
var openBits = []bitName{
	{0x40, "O_CREAT"},
	{0x80, "O_EXCL"},
	{0x100, "O_NOCTTY"},
	{0x200, "O_TRUNC"},
	{0x400, "O_APPEND"},
	{0x800, "O_NONBLOCK"},
	{0x80000, "O_CLOEXEC"},
	{0x200000, "O_PATH"},
}

var cloneBits = []bitName{
	{0x100, "CLONE_VM"},
	{0x200, "CLONE_FS"},
	{0x400, "CLONE_FILES"},
	{0x800, "CLONE_SIGHAND"},
	{0x4000, "CLONE_VFORK"},
	{0x10000, "CLONE_THREAD"},
	{0x20000, "CLONE_NEWNS"},
	{0x2000000, "CLONE_NEWCGROUP"},
	{0x4000000, "CLONE_NEWUTS"},
	{0x8000000, "CLONE_NEWIPC"},
	{0x10000000, "CLONE_NEWUSER"},
	{0x20000000, "CLONE_NEWPID"},
	{0x40000000, "CLONE_NEWNET"},
	{0x80, "CLONE_NEWTIME"},
}

var protBits = []bitName{{1, "PROT_READ"}, {2, "PROT_WRITE"}, {4, "PROT_EXEC"}}

var families = map[uint32]string{
	1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET", 29: "AF_CAN", 31: "AF_BLUETOOTH", 38: "AF_ALG", 40: "AF_VSOCK", 44: "AF_XDP",
}

var socketTypes = map[uint32]string{1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}

// parameters are those of the calls that people meet in reports, with how they print. Others print as numbers.
var parameters = map[string]string{
	"read": "fd:d buf:p count:u", "write": "fd:d buf:p count:u", "close": "fd:d", "lseek": "fd:d offset:l whence:d",
	"open": "path:p flags:open mode:o", "openat": "dirfd:d path:p flags:open mode:o", "openat2": "dirfd:d path:p how:p size:u", "creat": "path:p mode:o",
	"stat": "path:p buf:p", "lstat": "path:p buf:p", "fstat": "fd:d buf:p", "newfstatat": "dirfd:d path:p buf:p flags:x", "statx": "dirfd:d path:p flags:x mask:x buf:p",
	"access": "path:p mode:o", "faccessat": "dirfd:d path:p mode:o", "faccessat2": "dirfd:d path:p mode:o flags:x",
	"mkdir": "path:p mode:o", "mkdirat": "dirfd:d path:p mode:o", "rmdir": "path:p", "unlink": "path:p", "unlinkat": "dirfd:d path:p flags:x",
	"rename": "old:p new:p", "renameat": "olddirfd:d old:p newdirfd:d new:p", "renameat2": "olddirfd:d old:p newdirfd:d new:p flags:x",
	"link": "old:p new:p", "linkat": "olddirfd:d old:p newdirfd:d new:p flags:x", "symlink": "target:p path:p", "symlinkat": "target:p dirfd:d path:p",
	"readlink": "path:p buf:p size:u", "readlinkat": "dirfd:d path:p buf:p size:u", "chmod": "path:p mode:o", "fchmod": "fd:d mode:o", "fchmodat": "dirfd:d path:p mode:o",
	"chown": "path:p uid:d gid:d", "fchown": "fd:d uid:d gid:d", "mknod": "path:p mode:o dev:x", "mknodat": "dirfd:d path:p mode:o dev:x",
	"chdir": "path:p", "chroot": "path:p", "pivot_root": "new:p old:p",
	"mount": "source:p target:p type:p flags:x data:p", "umount2": "target:p flags:x", "open_tree": "dirfd:d path:p flags:x",
	"move_mount": "fromfd:d from:p tofd:d to:p flags:x", "fsopen": "type:p flags:x", "fsmount": "fd:d flags:x attrs:x", "mount_setattr": "dirfd:d path:p flags:x attr:p size:u",
	"execve": "path:p argv:p envp:p", "execveat": "dirfd:d path:p argv:p envp:p flags:x",
	"clone": "flags:clone stack:p parent_tid:p child_tid:p tls:p", "clone3": "args:p size:u", "unshare": "flags:clone", "setns": "fd:d type:clone",
	"fork": "", "vfork": "", "getpid": "", "gettid": "", "getppid": "", "getuid": "", "geteuid": "", "pause": "", "sync": "",
	"kill": "pid:d sig:d", "tkill": "tid:d sig:d", "tgkill": "pid:d tid:d sig:d", "ptrace": "request:l pid:d addr:p data:p",
	"process_vm_readv": "pid:d local:p n:u remote:p m:u flags:x", "process_vm_writev": "pid:d local:p n:u remote:p m:u flags:x",
	"pidfd_open": "pid:d flags:x", "pidfd_getfd": "pidfd:d fd:d flags:x", "pidfd_send_signal": "pidfd:d sig:d info:p flags:x",
	"socket": "family:family type:socket protocol:d", "socketpair": "family:family type:socket protocol:d fds:p", "bind": "fd:d addr:p len:d",
	"connect": "fd:d addr:p len:d", "listen": "fd:d backlog:d", "accept": "fd:d addr:p len:p", "accept4": "fd:d addr:p len:p flags:x",
	"sendto": "fd:d buf:p len:u flags:x addr:p addrlen:d", "recvfrom": "fd:d buf:p len:u flags:x addr:p addrlen:p", "sendmsg": "fd:d msg:p flags:x", "recvmsg": "fd:d msg:p flags:x",
	"setsockopt": "fd:d level:d option:d value:p len:d", "getsockopt": "fd:d level:d option:d value:p len:p",
	"ioctl": "fd:d request:x arg:p", "fcntl": "fd:d cmd:d arg:x", "prctl": "option:d arg2:x arg3:x arg4:x arg5:x", "arch_prctl": "code:x addr:p",
	"mmap": "addr:p len:u prot:prot flags:x fd:d offset:l", "mprotect": "addr:p len:u prot:prot", "munmap": "addr:p len:u", "brk": "addr:p",
	"personality": "persona:x", "uname": "buf:p", "setuid": "uid:d", "setgid": "gid:d", "setresuid": "ruid:d euid:d suid:d", "setgroups": "n:d list:p",
	"keyctl": "operation:d arg2:x arg3:x arg4:x arg5:x", "add_key": "type:p description:p payload:p len:u keyring:d", "request_key": "type:p description:p info:p keyring:d",
	"bpf": "cmd:d attr:p size:u", "perf_event_open": "attr:p pid:d cpu:d group:d flags:x", "userfaultfd": "flags:x", "seccomp": "operation:d flags:x args:p",
	"io_uring_setup": "entries:u params:p", "io_uring_enter": "fd:d submit:u complete:u flags:x sig:p size:u", "io_uring_register": "fd:d opcode:d arg:p n:u",
	"name_to_handle_at": "dirfd:d path:p handle:p mount:p flags:x", "open_by_handle_at": "mountfd:d handle:p flags:open",
	"reboot": "magic:x magic2:x cmd:x arg:p", "sethostname": "name:p len:u", "settimeofday": "tv:p tz:p", "clock_settime": "clock:d time:p",
	"init_module": "image:p len:u params:p", "finit_module": "fd:d params:p flags:x", "kexec_load": "entry:p n:u segments:p flags:x", "memfd_create": "name:p flags:x",
}
