//go:build linux

package launch

import (
	"encoding/binary"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asking is a filter that asks about one call and lets all others through.
func asking(nr uint32) []byte {
	var b []byte
	insn := func(op uint16, jt, jf byte, k uint32) {
		b = binary.NativeEndian.AppendUint16(b, op)
		b = append(b, jt, jf)
		b = binary.NativeEndian.AppendUint32(b, k)
	}
	insn(0x20, 0, 0, 0)
	insn(0x15, 0, 1, nr)
	insn(0x06, 0, 0, unix.SECCOMP_RET_USER_NOTIF)
	insn(0x06, 0, 0, unix.SECCOMP_RET_ALLOW)
	return b
}

// listening is a plan that installs the filter, hands its listener over and becomes a program.
func listening(m Mode, filter []byte, argv ...string) (*plan.Plan, *Listen) {
	b := builder(m)
	sock, listener := b.Reg("socket"), b.Reg("listener")
	// As a command's plan does: all other descriptors go.
	b.Call(unix.SYS_FCNTL, "fcntl", "socket", plan.R(sock), plan.Int(unix.F_DUPFD_CLOEXEC), plan.Int(3)).To(sock)
	b.Call(unix.SYS_DUP3, "dup3", "socket", plan.R(sock), plan.Int(3), plan.Int(unix.O_CLOEXEC)).To(sock)
	b.Call(unix.SYS_CLOSE_RANGE, "close_range", "descriptors", plan.Int(4), plan.Int(uint32(1<<32-1)), plan.Zero)
	b.Call(unix.SYS_PRCTL, "prctl", "privileges", plan.Int(unix.PR_SET_NO_NEW_PRIVS), plan.Int(1), plan.Zero, plan.Zero, plan.Zero)
	b.Call(unix.SYS_SECCOMP, "seccomp", "filter", plan.Int(unix.SECCOMP_SET_MODE_FILTER), plan.Int(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER),
		b.Filter(filter)).To(listener)
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", argv[0], b.Str(argv[0]), b.Strings(argv), b.Strings(nil))
	return b.Plan(), &Listen{Socket: sock, Listener: listener}
}

// answer lets one call that the listener tells of go on, and returns its number.
func answer(t *testing.T, listener int) int32 {
	t.Helper()
	var req [10]uint64
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&req)))
	require.Zero(t, e)
	resp := [3]uint64{req[0], 0, unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE << 32}
	_, _, e = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&resp)))
	require.Zero(t, e)
	return int32(req[2])
}

func TestListenerArrives(t *testing.T) {
	for _, m := range []Mode{Join, Copy} {
		t.Run(map[Mode]string{Join: "join", Copy: "copy"}[m], func(t *testing.T) {
			// The program asks whether it has descriptors beyond its three: the shell's own is 10 or more.
			p, l := listening(m, asking(unix.SYS_UNAME), "/bin/sh", "-c", "for f in 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$f ] && exit 3; done; uname >/dev/null")
			got := make(chan int, 1)
			l.Got = func(fd int) error { got <- fd; return nil }
			proc, err := Launch(&Request{Plan: p, Mode: m, Cgroup: -1, Listen: l})
			require.NoError(t, err)
			require.GreaterOrEqual(t, proc.PIDFD, 0)
			listener := <-got // before Launch returns
			assert.Equal(t, int32(unix.SYS_UNAME), answer(t, listener))
			assert.Equal(t, 0, wait(t, proc).ExitStatus())
			require.NoError(t, unix.Close(listener))
		})
	}
}

// The execve of the launch itself may be asked about: the listener is there before.
func TestListenerForTheExec(t *testing.T) {
	p, l := listening(Join, asking(unix.SYS_EXECVE), "/bin/true")
	l.Got = func(fd int) error {
		go func() {
			assert.Equal(t, int32(unix.SYS_EXECVE), answer(t, fd))
			_ = unix.Close(fd)
		}()
		return nil
	}
	proc, err := Launch(&Request{Plan: p, Mode: Join, Cgroup: -1, Listen: l, Until: time.Now().Add(patience)})
	require.NoError(t, err)
	assert.Equal(t, 0, wait(t, proc).ExitStatus())
}

func TestListenFailures(t *testing.T) {
	t.Run("listener refused", func(t *testing.T) {
		p, l := listening(Join, asking(unix.SYS_UNAME), "/bin/sleep", "60")
		l.Got = func(fd int) error { _ = unix.Close(fd); return unix.EXFULL }
		_, err := Launch(&Request{Plan: p, Mode: Join, Cgroup: -1, Listen: l})
		assert.ErrorIs(t, err, unix.EXFULL)
	})
	t.Run("step fails", func(t *testing.T) {
		p, l := listening(Join, asking(unix.SYS_UNAME), "/bin/true")
		l.Got = func(fd int) error { t.Error("there is no listener"); return unix.Close(fd) }
		require.True(t, p.Inject(4, unix.EXFULL))
		_, err := Launch(&Request{Plan: p, Mode: Join, Cgroup: -1, Listen: l})
		assert.ErrorIs(t, err, unix.EXFULL)
	})
	t.Run("no program", func(t *testing.T) {
		p, l := listening(Join, asking(unix.SYS_EXIT), "/nonexistent") // not even its end is answered
		l.Got = unix.Close
		_, err := Launch(&Request{Plan: p, Mode: Join, Cgroup: -1, Listen: l})
		assert.ErrorIs(t, err, unix.ENOENT)
	})
	t.Run("nobody answers the exec", func(t *testing.T) {
		got := make(chan int, 1)
		for wait := 100 * time.Millisecond; len(got) == 0; wait *= 2 { // on a slow machine it may take longer to come to that
			require.Less(t, wait, patience)
			p, l := listening(Join, asking(unix.SYS_EXECVE), "/bin/true")
			l.Got = func(fd int) error { got <- fd; return nil }
			_, err := Launch(&Request{Plan: p, Mode: Join, Cgroup: -1, Listen: l, Until: time.Now().Add(wait)})
			assert.ErrorIs(t, err, unix.ETIMEDOUT)
		}
		require.NoError(t, unix.Close(<-got))
	})
}

// A program that is to die with its parent's thread lives on after a launch.
func TestListenHolds(t *testing.T) {
	for range 5 {
		p, l := listening(Join, asking(unix.SYS_UNAME), "/bin/sleep", "0.2")
		death := plan.Step{Stage: "test", Call: "prctl", Object: "death", Nr: unix.SYS_PRCTL, Out: plan.None, Args: []plan.Arg{plan.Int(unix.PR_SET_PDEATHSIG), plan.Int(int(unix.SIGKILL))}}
		last := len(p.Child) - 1
		p.Child = append(p.Child[:last:last], death, p.Child[last])
		p.Exec = last + 1
		l.Got = unix.Close
		proc, err := Launch(&Request{Plan: p, Mode: Join, Cgroup: -1, Listen: l})
		require.NoError(t, err)
		runtime.GC()
		assert.False(t, wait(t, proc).Signaled())
	}
}

// The process of a launch closes what it finds in the table of descriptors that it shares. So no thread of this process has that table: the Go runtime has descriptors of its own there (epoll(7)), uses
// them on any thread, when it begins or ends a collection of garbage for instance, and ends the program where they are gone. Nor is any of this process's memory shared.
func TestListenApart(t *testing.T) {
	b := builder(Join)
	sock, listener := b.Reg("socket"), b.Reg("listener")
	b.Call(unix.SYS_FCNTL, "fcntl", "socket", plan.R(sock), plan.Int(unix.F_DUPFD_CLOEXEC), plan.Int(0)).To(sock)
	hangForever(b)
	execTrue(b, "/bin/true")
	var h Handle
	over := make(chan error, 1)
	go func() {
		p, err := Launch(&Request{
			Plan: b.Plan(), Mode: Join, Cgroup: -1, Handle: &h, Listen: &Listen{Socket: sock, Listener: listener, Got: unix.Close},
		})
		if err == nil {
			wait(t, p)
		}
		over <- err
	}()
	pid := hanging(t, &h)
	assert.False(t, sharesMemory(t, pid))
	assert.False(t, same(t, kcmpFiles, os.Getpid(), pid), "the control")
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		require.NoError(t, err)
		is, err := compare(kcmpFiles, os.Getpid(), tid)
		assert.True(t, is || err == unix.ESRCH, err) // threads come and go
	}
	h.Kill()
	<-over
	childless(t)
}

// Nobody who listens is left with descriptors of others, and no launch is disturbed by what goes on beside it.
func TestListenBeside(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	before := leaktest.Count(leaktest.Files("self"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				p, l := listening(Join, asking(unix.SYS_UNAME), "/bin/true")
				l.Got = unix.Close
				proc, err := Launch(&Request{Plan: p, Mode: Join, Cgroup: -1, Listen: l})
				if !assert.NoError(t, err) {
					return
				}
				wait(t, proc)
			}
		})
	}
	wg.Wait()
	childless(t)
	assert.LessOrEqual(t, leaktest.Count(leaktest.Files("self")), before+2, "the seed and its copy")
}
