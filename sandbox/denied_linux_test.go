package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func killing() Option { return WithSeccomp(seccomp.Default().WithDenied(seccomp.KillProcess)) }

// answered skips where filters cannot have a listener.
func answered(t testing.TB) {
	t.Helper()
	if _, err := listenerFlags(); err != nil {
		skip(t, "needs a filter's listener: "+err.Error())
	}
}

func TestDeniedIsNamed(t *testing.T) {
	t.Parallel()
	answered(t)
	sb := standing(t, killing(), asVictim(t))
	res, err := sb.Run(inTime(t), "/bin/sh", "-c", "echo ok")
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict)
	assert.Empty(t, res.Syscall)
	assert.Nil(t, res.Denied)

	for name, want := range map[string]string{
		"ptrace":  "ptrace(request=16, pid=77, addr=0x1000, data=NULL)",
		"unshare": "unshare(flags=CLONE_NEWNS|CLONE_NEWUSER)",
		"mount":   "mount(source=NULL, target=0xffffffffffffffff, type=NULL, flags=0x0, data=NULL)",
		"socket":  "socket(family=AF_NETLINK, type=SOCK_RAW|SOCK_CLOEXEC, protocol=0)",
		"thread":  "keyctl(operation=1, arg2=0x2, arg3=0x3, arg4=0x4, arg5=0x5)",
		"child":   "chroot(path=0x1)", // the first process ignores what becomes of it
		"signals": "swapon(arg0=0x1, arg1=0x0, arg2=0x0, arg3=0x0, arg4=0x0, arg5=0x0)",
	} {
		t.Run(name, func(t *testing.T) {
			res := part(t, sb, "denied", name)
			assert.Equal(t, SyscallDenied, res.Verdict)
			assert.Equal(t, want, res.Syscall)
			assert.Equal(t, unix.SIGSYS, res.Signal)
			assert.Equal(t, -1, res.ExitCode)
			require.NotNil(t, res.Denied)
			assert.Equal(t, seccomp.NativeArch(), res.Denied.Arch)
			assert.NotZero(t, res.Denied.IP)
			assert.ErrorContains(t, res.Err(), "system call denied: "+want)
		})
	}
}

// What makes a denied call is killed wherever in the command it is, though other commands go on and, for an ordinary user, no cgroup holds it: neither it nor
// another that follows is left waiting for an answer that never comes.
func TestDeniedChildIsKilled(t *testing.T) {
	t.Parallel()
	answered(t)
	sb := standing(t, killing(), asVictim(t))
	other := sb.Command("/bin/sleep", "1000")
	require.NoError(t, other.Start(inTime(t)))
	res := part(t, sb, "denied", "children")
	assert.Equal(t, SyscallDenied, res.Verdict)
	require.NotNil(t, res.Denied)
	assert.NotZero(t, res.Denied.TID)
	eventually(t, "both children gone", func() bool {
		return sh(t, sb, "grep -l '^[o]ne-of-two' /proc/[0-9]*/cmdline 2>/dev/null | wc -l") == "0"
	})
	require.NoError(t, other.Kill())
	res, err := other.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, res.Verdict)
}

// A SIGSYS of the program's own making is no denied call, whatever the filter does.
func TestOwnSignalIsNotDenied(t *testing.T) {
	t.Parallel()
	answered(t)
	trap := seccomp.Default().WithDenied(seccomp.Trap)
	for name, opt := range map[string]Option{"kill": killing(), "default": nil, "trap": WithSeccomp(trap)} {
		t.Run(name, func(t *testing.T) {
			opts := []Option{asVictim(t)}
			if opt != nil {
				opts = append(opts, opt)
			}
			sb := standing(t, opts...)
			for _, script := range []string{"kill -SYS $$", "sh -c 'kill -SYS $$'; kill -SYS $$"} {
				_, res := try(t, sb, script)
				assert.Equal(t, Signaled, res.Verdict)
				assert.Equal(t, unix.SIGSYS, res.Signal)
				assert.Empty(t, res.Syscall)
			}
			// With the facts of a filter's signal forged.
			res := part(t, sb, "denied", "forged")
			assert.Equal(t, Signaled, res.Verdict)
			assert.Empty(t, res.Syscall)
			// 128 + 31, as a shell tells of it.
			_, res = try(t, sb, "exit 159")
			assert.Equal(t, NonZeroExit, res.Verdict)
		})
	}
}

// The call that starts the command is under the filter as well.
func TestDeniedExec(t *testing.T) {
	t.Parallel()
	answered(t)
	p := seccomp.Default().With(seccomp.Rule{Names: []string{"execve"}, Action: seccomp.KillProcess})
	res, err := standing(t, WithSeccomp(p)).Run(inTime(t), "/bin/true")
	require.NoError(t, err)
	assert.Equal(t, SyscallDenied, res.Verdict)
	assert.True(t, strings.HasPrefix(res.Syscall, "execve(path=0x"), res.Syscall)
	// Its end, when there is no program, too: that is an error of Start all the same.
	p = seccomp.Default().With(seccomp.Rule{Names: []string{"exit", "futex"}, Action: seccomp.KillProcess})
	_, err = standing(t, WithSeccomp(p)).Run(inTime(t), "/nonexistent")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// Limits and the caller's own acts keep their verdicts under a policy that kills.
func TestDeniedBesideOtherEnds(t *testing.T) {
	t.Parallel()
	answered(t)
	sb := standing(t, killing())
	c := sb.Command("/bin/sleep", "60")
	require.NoError(t, c.Start(inTime(t)))
	require.NoError(t, c.Kill())
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, res.Verdict)
	c = sb.Command("/bin/sleep", "60")
	c.Limits.WallTime = 1e8
	res, err = c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, WallTimeExceeded, res.Verdict)
}

// part runs a part of the test binary that may end as it likes.
func part(t testing.TB, sb *Sandbox, args ...string) *Result {
	t.Helper()
	c := sb.Command(victimPath)
	c.Env = []string{partEnv + "=" + strings.Join(args, " ")}
	c.Stdout, c.Stderr = os.Stdout, os.Stdout
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	return res
}

func init() {
	parts["denied"] = func(args []string) {
		call := func(nr uintptr, a ...uintptr) {
			var all [6]uintptr
			copy(all[:], a)
			_, _, e := unix.RawSyscall6(nr, all[0], all[1], all[2], all[3], all[4], all[5])
			fmt.Println("went on:", e)
			os.Exit(3)
		}
		switch args[0] {
		case "ptrace":
			call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, 77, 0x1000)
		case "unshare":
			call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER|unix.CLONE_NEWNS)
		case "mount":
			call(unix.SYS_MOUNT, 0, none)
		case "socket":
			call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC)
		case "thread":
			go call(unix.SYS_KEYCTL, 1, 2, 3, 4, 5)
			time.Sleep(time.Hour) // select would be a deadlock to a program without cgo
		case "children":
			for range 2 {
				_, err := syscall.ForkExec("/proc/self/exe", []string{"one-of-two"}, &syscall.ProcAttr{Env: []string{partEnv + "=denied child again"}, Files: []uintptr{0, 1, 2}})
				if err != nil {
					fmt.Println(err)
					os.Exit(4)
				}
			}
			time.Sleep(time.Hour) // select would be a deadlock to a program without cgo
		case "child":
			// A grandchild, of which nobody hears.
			if len(args) > 1 {
				call(unix.SYS_CHROOT, 1)
			}
			pid, err := syscall.ForkExec("/proc/self/exe", []string{"x"}, &syscall.ProcAttr{Env: []string{partEnv + "=denied child again"}, Files: []uintptr{0, 1, 2}})
			if err != nil {
				fmt.Println(err)
				os.Exit(4)
			}
			_, _ = syscall.Wait4(pid, nil, 0, nil)
			time.Sleep(time.Hour) // select would be a deadlock to a program without cgo
		case "signals":
			// Its own signals interrupt the wait for the supervisor as often as they like: the call is never made.
			go func() {
				for {
					_ = unix.Kill(unix.Getpid(), unix.SIGURG)
				}
			}()
			for {
				_, _, e := unix.RawSyscall(unix.SYS_SWAPON, 1, 0, 0)
				if e != unix.EINTR {
					fmt.Println("went on:", e)
					os.Exit(3)
				}
			}
		case "forged":
			forgeSIGSYS()
			time.Sleep(time.Minute) // it may be another thread's to die of
			os.Exit(3)
		}
	}
}

// forgeSIGSYS sends this process a SIGSYS with the facts of one that a filter sent: si_code SYS_SECCOMP. The kernel lets a process send
// itself any (rt_tgsigqueueinfo(2)).
func forgeSIGSYS() {
	act := make([]uint64, 4) // SIG_DFL: Go's runtime has a handler
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSYS), ptr(act), 0, 8, 0, 0)
	info := make([]uint64, 16)
	info[0] = uint64(unix.SIGSYS)
	info[1] = 1                                                  // SYS_SECCOMP
	info[3] = unix.SYS_PTRACE | uint64(seccomp.NativeArch())<<32 // si_syscall, si_arch
	runtime.LockOSThread()                                       // it is to itself that a thread may send it
	_, _, e := unix.RawSyscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(unix.Getpid()), uintptr(unix.Gettid()), uintptr(unix.SIGSYS), ptr(info), 0, 0)
	fmt.Println("sent:", e)
	_ = unix.Kill(unix.Getpid(), unix.SIGSYS)
}
