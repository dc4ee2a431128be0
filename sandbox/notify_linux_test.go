package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asking is a sandbox whose mkdir and mkdirat calls are answered for, with the test binary in it.
func asking(t testing.TB, answer func(seccomp.Call) seccomp.Answer, opts ...Option) *Sandbox {
	t.Helper()
	answered(t)
	return standing(t, append(opts, asVictim(t), WithSeccomp(seccomp.Default(), seccomp.Notify("mkdirat", answer)))...)
}

// mkdir has the victim make a directory and tells what it saw: the result or errno, and whether the directory is there.
func mkdir(t testing.TB, sb *Sandbox, path string) (result, there string) {
	t.Helper()
	v := values(play(t, sb, "mkdir", path))
	return v["result"], v["there"]
}

func TestNotifyAnswers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("handed over"), 0o600))
	for name, c := range map[string]struct {
		answer        func(seccomp.Call) seccomp.Answer
		result, there string
	}{
		"continue":     {func(seccomp.Call) seccomp.Answer { return seccomp.Continue() }, "0", "yes"},
		"refuse":       {func(seccomp.Call) seccomp.Answer { return seccomp.Refuse(syscall.EXDEV) }, "EXDEV", "no"},
		"zero":         {func(seccomp.Call) seccomp.Answer { return seccomp.Answer{} }, "EPERM", "no"},
		"errno 0":      {func(seccomp.Call) seccomp.Answer { return seccomp.Refuse(0) }, "EPERM", "no"},
		"wild errno":   {func(seccomp.Call) seccomp.Answer { return seccomp.Refuse(5000) }, "EPERM", "no"},
		"return":       {func(seccomp.Call) seccomp.Answer { return seccomp.Return(77) }, "77", "no"},
		"return large": {func(seccomp.Call) seccomp.Answer { return seccomp.Return(1 << 40) }, fmt.Sprint(1 << 40), "no"},
		"inject": {func(seccomp.Call) seccomp.Answer {
			f, err := os.Open(file)
			if err != nil {
				return seccomp.Refuse(syscall.EIO)
			}
			return seccomp.Inject(f)
		}, "3 holds handed over", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			result, there := mkdir(t, asking(t, c.answer), "/tmp/x")
			assert.Equal(t, [2]string{c.result, c.there}, [2]string{result, there})
		})
	}
}

func TestNotifyTellsOfTheCall(t *testing.T) {
	t.Parallel()
	var got seccomp.Call
	var path string
	var rerr, wild error
	sb := asking(t, func(c seccomp.Call) seccomp.Answer {
		got = c
		path, rerr = c.Path(c.Args[1])
		wild = c.Read(make([]byte, 8), 0x10)
		if !c.Waiting() {
			return seccomp.Refuse(syscall.EIO)
		}
		return seccomp.Continue()
	})
	long := "/tmp/" + strings.Repeat("x", 250)
	result, there := mkdir(t, sb, long)
	require.Equal(t, "0", result)
	assert.Equal(t, "yes", there)
	require.NoError(t, rerr)
	assert.Equal(t, long, path)
	assert.Error(t, wild, "nothing is at that address")
	assert.Equal(t, seccomp.NativeArch(), got.Arch)
	name, _ := got.Arch.Name(got.Number)
	assert.Equal(t, "mkdirat", name)
	assert.EqualValues(t, unix.AT_FDCWD, int32(got.Args[0]))
	assert.EqualValues(t, 0o755, got.Args[2])
	assert.NotZero(t, got.TID)
	assert.Contains(t, got.String(), "mkdirat(dirfd=-100, path=0x")
	// Afterwards there is nothing to look at.
	assert.False(t, got.Waiting())
	assert.ErrorIs(t, got.Read(make([]byte, 1), got.Args[1]), seccomp.ErrGone)
	assert.Error(t, got.Context().Err())
}

// The call by which the command itself is started is asked about, with the path that it is looked up by.
func TestNotifyExec(t *testing.T) {
	t.Parallel()
	answered(t)
	var paths atomic.Value
	paths.Store([]string(nil))
	sb := standing(t, WithSeccomp(seccomp.Default(), seccomp.Notify("execve", func(c seccomp.Call) seccomp.Answer {
		p, err := c.Path(c.Args[0])
		paths.Store(append(paths.Load().([]string), fmt.Sprint(p, err)))
		if p == "/bin/false" {
			return seccomp.Refuse(syscall.ENOMEM)
		}
		return seccomp.Continue()
	})))
	require.Equal(t, "in", sh(t, sb, "/bin/echo in"))
	assert.Equal(t, []string{"/bin/sh<nil>", "/bin/echo<nil>"}, paths.Load())
	_, err := sb.Run(inTime(t), "/bin/false")
	assert.ErrorIs(t, err, syscall.ENOMEM)
}

// A name in a policy of its own with conditions: only what they hold for is asked about.
func TestNotifyWithConditions(t *testing.T) {
	t.Parallel()
	answered(t)
	p := seccomp.Default()
	p = p.With(seccomp.Rule{Names: []string{"mkdirat"}, Action: seccomp.Ask, Args: []seccomp.Arg{{Index: 2, Op: seccomp.Equal, Value: 0o700}}}, seccomp.Rule{Names: []string{"mkdirat"}, Action: seccomp.Allow})
	var calls atomic.Int64
	sb := standing(t, asVictim(t), WithSeccomp(p, seccomp.Notify(seccomp.EveryCall, func(seccomp.Call) seccomp.Answer {
		calls.Add(1)
		return seccomp.Refuse(syscall.EXDEV)
	})))
	v := values(play(t, sb, "mkdir", "/tmp/a", "700"))
	assert.Equal(t, "EXDEV", v["result"])
	v = values(play(t, sb, "mkdir", "/tmp/a"))
	assert.Equal(t, "0", v["result"])
	assert.EqualValues(t, 1, calls.Load())
}

func TestNotifyPanic(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(seccomp.Call) seccomp.Answer{
		"panic": func(seccomp.Call) seccomp.Answer { panic(io.ErrNoProgress) },
		"exit":  func(seccomp.Call) seccomp.Answer { t.Log("leaving"); goexit(); return seccomp.Continue() },
	} {
		t.Run(name, func(t *testing.T) {
			sb := asking(t, f)
			c := sb.Command(victimPath)
			c.Env = []string{partEnv + "=mkdir /tmp/x"}
			var b strings.Builder
			c.Stdout = &b
			res, err := c.Run(inTime(t))
			require.NotNil(t, res, "the program has run")
			assert.Equal(t, OK, res.Verdict)
			assert.Contains(t, b.String(), "result=EPERM")
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "notify", e.Stage)
			var h *seccomp.HandlerError
			require.ErrorAs(t, err, &h)
			assert.Contains(t, string(h.Stack), "notify_linux_test.go")
			assert.Contains(t, err.Error(), "mkdirat(")
			if name == "panic" {
				assert.ErrorIs(t, err, io.ErrNoProgress)
			}
		})
	}
}

// A handler that takes too long has refused, and does not hold up other calls.
func TestNotifyLate(t *testing.T) {
	t.Parallel()
	answered(t)
	var late atomic.Int64
	sb := standing(t, asVictim(t), WithSeccomp(seccomp.Default(), seccomp.Notify("mkdirat", func(c seccomp.Call) seccomp.Answer {
		<-c.Context().Done()
		late.Add(1)
		return seccomp.Continue()
	}).Within(time.Millisecond)))
	c := sb.Command(victimPath)
	c.Env = []string{partEnv + "=mkdirs 100"}
	var b strings.Builder
	c.Stdout = &b
	_, err := c.Run(inTime(t))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, "EPERM 100", strings.TrimSpace(b.String()))
	eventually(t, "each handler has been told", func() bool { return late.Load() == 100 })
}

// A flood of calls from many threads is answered by a bounded number of handlers.
func TestNotifyFlood(t *testing.T) {
	t.Parallel()
	var now, most, all atomic.Int64
	sb := asking(t, func(seccomp.Call) seccomp.Answer {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		if all.Add(1)%100 == 1 {
			time.Sleep(time.Millisecond)
		}
		return seccomp.Refuse(syscall.EXDEV)
	})
	assert.Equal(t, "EXDEV 1600", play(t, sb, "flood", "40", "40"))
	assert.EqualValues(t, 1600, all.Load())
	assert.LessOrEqual(t, most.Load(), int64(16))
}

// What a job waits for does not keep it from being killed, and its end reaches the handler.
func TestNotifyKilledWhileAsking(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Cmd, context.CancelFunc) Verdict{
		"kill":   func(c *Cmd, _ context.CancelFunc) Verdict { _ = c.Kill(); return Killed },
		"cancel": func(_ *Cmd, cancel context.CancelFunc) Verdict { cancel(); return Canceled },
		"signal": func(c *Cmd, _ context.CancelFunc) Verdict { _ = c.Signal(unix.SIGKILL); return Signaled },
		"close":  func(c *Cmd, _ context.CancelFunc) Verdict { _ = c.sandbox.Kill(); return Killed },
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan seccomp.Call, 1)
			done := make(chan struct{})
			sb := asking(t, func(c seccomp.Call) seccomp.Answer {
				asked <- c
				<-c.Context().Done()
				close(done)
				return seccomp.Continue()
			})
			c := sb.Command(victimPath)
			c.Env = []string{partEnv + "=mkdir /tmp/x"}
			ctx, cancel := context.WithCancel(inTime(t))
			defer cancel()
			require.NoError(t, c.Start(ctx))
			call := <-asked
			assert.True(t, call.Waiting())
			want := end(c, cancel)
			res, err := c.Wait()
			require.NoError(t, err)
			assert.Equal(t, want, res.Verdict)
			<-done
			assert.False(t, call.Waiting())
		})
	}
}

// A handler that never returns costs its command's Wait a moment, and is told of.
func TestNotifyStuckHandler(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	sb := grouped(t, asking(t, func(seccomp.Call) seccomp.Answer { close(asked); <-release; return seccomp.Continue() }))
	c := sb.Command(victimPath)
	c.Env = []string{partEnv + "=mkdir /tmp/x"}
	require.NoError(t, c.Start(inTime(t)))
	<-asked
	require.NoError(t, c.Kill())
	res, err := c.Wait()
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, Killed, res.Verdict)
	close(release)
	assert.Equal(t, "in", sh(t, sb, "echo in"))
}

// Where nobody has the listener any more the kernel answers ENOSYS: a supervisor that dies hangs nobody.
func TestNotifySupervisorGone(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	sb := asking(t, func(c seccomp.Call) seccomp.Answer {
		asked <- struct{}{}
		<-c.Context().Done()
		return seccomp.Continue()
	})
	c := sb.Command(victimPath)
	c.Env = []string{partEnv + "=mkdirs 3"}
	var b strings.Builder
	c.Stdout = &b
	require.NoError(t, c.Start(inTime(t)))
	<-asked
	c.proc.sup.end()
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict)
	assert.Equal(t, "ENOSYS 3", strings.TrimSpace(b.String()))
}

// What a command leaves behind on purpose is answered for until the sandbox ends.
func TestNotifyLeftovers(t *testing.T) {
	t.Parallel()
	calls := make(chan struct{}, 10)
	sb := grouped(t, asking(t, func(seccomp.Call) seccomp.Answer { calls <- struct{}{}; return seccomp.Continue() }))
	c := sb.Command("/bin/sh", "-c", "(while ! [ -e /tmp/go ]; do sleep 0.01; done; "+partEnv+"='mkdir /tmp/x' "+victimPath+") >/dev/null 2>&1 &")
	c.KeepLeftovers = true
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	require.NoError(t, res.Err())
	require.Empty(t, calls)
	require.NoError(t, sb.WriteFile("/tmp/go", nil, 0o644))
	<-calls
	eventually(t, "made", func() bool { _, err := fs.Stat(sb.FS(), "tmp/x"); return err == nil })
}

// Without a PID namespace of its own the command is known by its user namespace, and by the host's numbers.
func TestNotifyWithoutPIDNamespace(t *testing.T) {
	needRoot(t)
	t.Parallel()
	var path string
	sb := asking(t, func(c seccomp.Call) seccomp.Answer {
		path, _ = c.Path(c.Args[1])
		return seccomp.Continue()
	}, WithHost(namespace.PID))
	result, _ := mkdir(t, sb, "/tmp/y")
	assert.Equal(t, "0", result)
	assert.Equal(t, "/tmp/y", path)
}

// Descriptors of the supervisor are not the job's: it has its three and nothing that answers its own calls.
func TestNotifyNoControl(t *testing.T) {
	t.Parallel()
	sb := asking(t, func(seccomp.Call) seccomp.Answer { return seccomp.Continue() })
	assert.Equal(t, sh(t, standing(t), "ls -l /proc/self/fd | grep -c -e anon_inode -e socket; ls /proc/$$/fd"),
		sh(t, sb, "ls -l /proc/self/fd | grep -c -e anon_inode -e socket; ls /proc/$$/fd"))
	// And it can get no listener of its own beside: the kernel allows one.
	assert.Equal(t, "EBUSY", values(play(t, sb, "listener"))["result"])
	assert.Equal(t, "ok", values(play(t, standing(t, asVictim(t)), "listener"))["result"], "the control")
}

// Where a listener is not to be had, a policy that asks is refused, and one that kills does without and says so.
func TestNoListener(t *testing.T) {
	old := listenerFlags
	defer func() { listenerFlags = old }()
	listenerFlags = func() (seccomp.Flags, error) { return 0, errListenerTaken }
	_, err := New(WithSeccomp(seccomp.Default(), seccomp.Notify("mkdir", func(seccomp.Call) seccomp.Answer { return seccomp.Continue() })))
	require.ErrorIs(t, err, unix.EBUSY)
	assert.ErrorIs(t, err, ErrUnsupported)
	assert.Contains(t, Explain(err), "KillProcess")
	best := newBox(t, asVictim(t), BestEffort(WithSeccomp(seccomp.Default(), seccomp.Notify("mkdirat", func(seccomp.Call) seccomp.Answer { return seccomp.Continue() }))))
	require.Len(t, best.Report().GivenUp, 1)
	assert.Contains(t, best.Report().GivenUp[0].Reason, "ENOSYS")
	result, _ := mkdir(t, best, "/tmp/x")
	assert.Equal(t, "ENOSYS", result)
	assert.Equal(t, "EPERM", values(play(t, best, "calls"))["unshare"], "the filter is on")
	sb := newBox(t, killing(), asVictim(t), WithHostname("unlistened")) // a shape of its own: that of other tests' sandboxes has listeners
	assert.Contains(t, strings.Join(sb.Report().Notes, "\n"), "not named")
	res := part(t, sb, "denied", "ptrace")
	assert.Equal(t, Signaled, res.Verdict)
	assert.Equal(t, unix.SIGSYS, res.Signal)
}

func goexit() { panicFree(func() { var t testing.T; t.SkipNow() }) }

// panicFree lets the linter not see that what follows is never reached.
func panicFree(f func()) { f() }

func init() {
	mk := func(path string, mode uintptr) string {
		p, _ := unix.BytePtrFromString(path)
		r, _, e := unix.Syscall6(unix.SYS_MKDIRAT, uintptr(0xffffffffffffff9c), bytePtr(p), mode, 0, 0, 0)
		if e != 0 {
			return unix.ErrnoName(e)
		}
		text := fmt.Sprint(r)
		b := make([]byte, 100)
		if n, err := unix.Read(int(r), b); r > 2 && r < 100 && err == nil {
			text += " holds " + string(b[:n])
		}
		return text
	}
	parts["mkdir"] = func(args []string) {
		mode := uintptr(0o755)
		if len(args) > 1 {
			mode = 0o700
		}
		fmt.Println("result=" + mk(args[0], mode))
		there := "no"
		if _, err := os.Stat(args[0]); err == nil {
			there = "yes"
		} else if !errors.Is(err, os.ErrNotExist) {
			there = err.Error()
		}
		fmt.Println("there=" + there)
	}
	parts["mkdirs"] = func(args []string) {
		n, same, last := 0, 0, ""
		_, _ = fmt.Sscan(args[0], &n)
		for range n {
			if r := mk("/tmp/x", 0o755); last == "" || r == last {
				same, last = same+1, r
			}
		}
		fmt.Println(last, same)
	}
	// timed is for the benchmark: what mkdirs takes, in ns a call, and what as many of the plainest call do.
	parts["timed"] = func(args []string) {
		n := 0
		_, _ = fmt.Sscan(args[0], &n)
		for name, call := range map[string]func(){"mkdir": func() { mk("/tmp/x", 0o755) }, "plain": func() { unix.Getppid() }} {
			begin := time.Now()
			for range n {
				call()
			}
			fmt.Printf("%s=%d\n", name, time.Since(begin).Nanoseconds()/int64(n))
		}
	}
	parts["flood"] = func(args []string) {
		threads, each := 0, 0
		_, _ = fmt.Sscan(args[0], &threads)
		_, _ = fmt.Sscan(args[1], &each)
		results := make(chan string)
		for range threads {
			go func() {
				for range each {
					results <- mk("/tmp/x", 0o755)
				}
			}()
		}
		same := 0
		for range threads * each {
			if <-results == "EXDEV" {
				same++
			}
		}
		fmt.Println("EXDEV", same)
	}
	parts["listener"] = func([]string) {
		filter := allowAll()
		prog := unix.SockFprog{Len: 1, Filter: (*unix.SockFilter)(ptrOf(filter))}
		_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(newListener), progPtr(&prog))
		fmt.Println("result=" + errnoName(e))
	}
}
