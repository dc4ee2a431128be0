package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// killZygote ends the zygote of this process, as the kernel does when memory runs out.
func killZygote(t testing.TB) {
	t.Helper()
	z, err := currentZygote()
	require.NoError(t, err)
	if err := unix.Kill(z.pid, unix.SIGKILL); err != unix.ESRCH { // the one killed before, whose end has not been noticed yet
		require.NoError(t, err)
	}
	t.Cleanup(leaktest.ReapOrphans)
}

// TestZygoteKilled: what it held is gone, every handle says so, and the next sandbox works.
func TestZygoteKilled(t *testing.T) {
	sb, err := New()
	require.NoError(t, err)
	idle, err := New()
	require.NoError(t, err)
	c := sb.Command("/bin/sh", "-c", "echo up; sleep 1000")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(inTime(t)))
	b := make([]byte, 3)
	_, err = io.ReadFull(out, b)
	require.NoError(t, err)
	z, err := currentZygote()
	require.NoError(t, err)
	inside := sandboxed(z.pid)
	require.NotEmpty(t, inside)
	files := idle.FS()

	killZygote(t)
	_, err = c.Wait()
	require.ErrorIs(t, err, ErrClosed)
	assert.Contains(t, err.Error(), "the zygote was killed by SIGKILL")
	require.NoError(t, sb.Wait())
	require.NoError(t, idle.Wait())
	for _, s := range []*Sandbox{sb, idle} {
		eventually(t, "exited", func() bool { return s.State() == Exited })
		_, err = s.Run(inTime(t), "/bin/true")
		require.ErrorIs(t, err, ErrClosed)
		_, err = s.Stats()
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, s.Pause(), ErrClosed)
		require.ErrorIs(t, s.WriteFile("/box/a", nil, 0o600), ErrClosed)
		require.ErrorIs(t, s.Restart(inTime(t)), ErrClosed)
	}
	_, err = files.Open("etc/passwd")
	require.ErrorIs(t, err, ErrClosed)
	require.Error(t, c.Signal(unix.SIGTERM))

	again := newBox(t)
	res, err := again.Run(inTime(t), "/bin/true")
	require.NoError(t, err)
	require.NoError(t, res.Err())
	require.NoError(t, sb.Close())
	require.NoError(t, idle.Close())
	eventually(t, "processes gone", func() bool {
		leaktest.ReapOrphans()
		for _, p := range leaktest.Descendants(os.Getpid()) {
			for _, q := range inside {
				if p.PID == q.PID && p.Start == q.Start {
					return false
				}
			}
		}
		return true
	})
	eventually(t, "the new one has swept what the old one left", func() bool { return len(groupsOf(z.pid)) == 0 })
}

// What a killed zygote had ready for commands dies a moment after it and keeps its lock until then: the next one sweeps once more.
func TestZygoteSweepsAgain(t *testing.T) {
	needRoot(t) // an ordinary user's program may have stepped aside into the group, and stays there till the next zygote
	sb := grouped(t, newBox(t))
	z, err := currentZygote()
	require.NoError(t, err)
	groups := groupsOf(z.pid)
	require.NotEmpty(t, groups)
	killZygote(t)
	require.NoError(t, sb.Wait())
	top := slices.MinFunc(groups, func(a, b string) int { return len(a) - len(b) })
	held, err := os.Open(top)
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, unix.Flock(int(held.Fd()), unix.LOCK_EX))
	newBox(t)
	require.DirExists(t, top, "control: it is not swept while somebody has the lock")
	require.NoError(t, held.Close())
	eventually(t, "swept", func() bool { return len(groupsOf(z.pid)) == 0 })
}

// TestZygoteKilledWhileBusy kills it under everything at once: nothing hangs, and every error says what happened.
func TestZygoteKilledWhileBusy(t *testing.T) {
	const rounds = 5
	stop := make(chan struct{})
	errs := make(chan error, 1000)
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	t.Cleanup(end) // a failure must not leave them running beside the next test
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				sb, err := New()
				if err == nil {
					_, err = sb.Run(context.Background(), "/bin/true")
					err = errors.Join(err, sb.Close())
				}
				if err != nil {
					select {
					case errs <- err:
					default: // a thousand are enough to look at
					}
				}
			}
		})
	}
	for range rounds {
		time.Sleep(time.Duration(20+rand.IntN(30)) * time.Millisecond)
		killZygote(t)
	}
	end()
	close(errs)
	for err := range errs {
		assert.ErrorIs(t, err, ErrClosed)
		var e *Error
		assert.ErrorAs(t, err, &e)
	}
	newBox(t)
}

// TestZygoteStarterEnds has the thread that started zygote and sandbox end (runtime.LockOSThread): neither may depend on it, as they would
// if their end were tied to it by PDEATHSIG.
func TestZygoteStarterEnds(t *testing.T) {
	stopZygote()
	var sb *Sandbox
	var c *Cmd
	thread := 0
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		thread = unix.Gettid()
		var err error
		if sb, err = New(); err == nil {
			c = sb.Command("sleep", "1000")
			err = c.Start(context.Background())
		}
		done <- err
	}()
	require.NoError(t, <-done)
	defer sb.Close()
	eventually(t, "thread gone", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", thread))
		return os.IsNotExist(err) || thread == os.Getpid()
	})
	for range 3 {
		res, err := sb.Run(inTime(t), "/bin/true")
		require.NoError(t, err)
		require.NoError(t, res.Err())
	}
	require.NoError(t, c.Kill())
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, res.Verdict)
}

// staysFlat waits until hardly more is there than was: what is made ahead may have come in between, but a leak of
// one command in ten is more than this leaves room for.
func staysFlat(t *testing.T, before []string, goroutines int) {
	t.Helper()
	const room = 4
	var now []string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if now = settled(t); len(now) <= len(before)+room && len(leaktest.Goroutines()) <= goroutines+room {
			return
		}
	}
	t.Fatalf("there was %q with %d goroutines, and is %q with %q", before, goroutines, now, leaktest.Goroutines())
}

// TestWarmIsFlat runs many commands, good, bad and impossible ones, in one sandbox.
func TestWarmIsFlat(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 50
	}
	sb := newBox(t)
	once := func(i int) {
		ctx := inTime(t)
		switch i % 10 {
		case 7:
			_, err := sb.Run(ctx, "/nonexistent")
			require.ErrorIs(t, err, unix.ENOENT)
		case 8:
			res, err := sb.Run(ctx, "/bin/sh", "-c", "sleep 100 & exit 3")
			require.NoError(t, err)
			assert.Equal(t, 3, res.ExitCode)
		case 9:
			_, err := sb.Run(ctx, "/etc/passwd")
			require.ErrorIs(t, err, unix.EACCES)
		default:
			res, err := sb.Run(ctx, "/bin/true")
			require.NoError(t, err)
			require.NoError(t, res.Err())
		}
	}
	for i := range 20 {
		once(i)
	}
	// The next command's leaf is there as soon as a process is ready, and one more for the command after that a moment later: its files and directories are
	// some sixteen.
	var before []string
	for range 5 {
		readied(t, sb)
		if now := settled(t); len(now) > len(before) {
			before = now
		}
	}
	goroutines := len(leaktest.Goroutines())
	for i := range n {
		once(i)
	}
	readied(t, sb)
	staysFlat(t, before, goroutines)
}

// TestColdIsFlat makes and closes many sandboxes, some of them impossible.
func TestColdIsFlat(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 20
	}
	once := func(i int) {
		if i%10 == 9 {
			_, err := New(WithRootfs("/nonexistent"))
			require.ErrorIs(t, err, unix.ENOENT)
			return
		}
		sb, err := New()
		require.NoError(t, err)
		if i%3 == 0 {
			require.NoError(t, sb.Kill())
		}
		require.NoError(t, sb.Close())
	}
	for i := range 10 {
		once(i)
	}
	before, goroutines := settled(t), len(leaktest.Goroutines())
	for i := range n {
		once(i)
	}
	staysFlat(t, before, goroutines)
}

// TestConcurrentLives does everything to sandboxes at once, several times over.
func TestConcurrentLives(t *testing.T) {
	n := 64
	if testing.Short() {
		n = 8
	}
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			live(t, i)
		}()
	}
	wg.Wait()
}

// live is one sandbox used from many goroutines, which end it in an order that nobody knows.
func live(t *testing.T, i int) {
	sb, err := New()
	if !assert.NoError(t, err) {
		return
	}
	c := sb.Command("/bin/sh", "-c", "sleep 1000")
	if !assert.NoError(t, c.Start(context.Background())) {
		return
	}
	var wg sync.WaitGroup
	do := func(f func()) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			f()
		}()
	}
	for range 2 {
		do(func() { assert.NoError(t, sb.Wait()) })
		do(func() { assert.NoError(t, sb.Close()) })
		do(func() { assert.NoError(t, sb.Kill()) })
		do(func() { _ = c.Kill() })
		do(func() { _, _ = sb.Stats() })
		do(func() { _, _ = c.Stats() })
		do(func() { _ = c.Signal(unix.SIGTERM) })
		do(func() { _, _, _, _ = sb.State(), sb.PID(), sb.Plan(), sb.Report() })
	}
	do(func() {
		_, err := sb.Run(context.Background(), "/bin/true")
		if err != nil {
			var e *Error
			assert.ErrorAs(t, err, &e)
		}
	})
	do(func() {
		if i%2 == 0 {
			_ = sb.Pause()
		}
	})
	do(func() {
		res, err := c.Wait()
		if assert.NoError(t, err) {
			assert.Contains(t, []Verdict{Killed, Signaled}, res.Verdict)
		}
	})
	wg.Wait()
	assert.Equal(t, Exited, sb.State())
}

// TestNameAlone runs a program under the zygote's name: without its socket it is an ordinary program, whatever stands at descriptor 3.
func TestNameAlone(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	seq, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0) // connected to nobody
	require.NoError(t, err)
	files := map[string]*os.File{
		"none": nil, "pipe": r, "file": null, "stream": os.NewFile(uintptr(pair[0]), "stream"),
		"udp": os.NewFile(uintptr(udp), "udp"), "seqpacket": os.NewFile(uintptr(seq), "seqpacket"),
	}
	defer func() {
		_ = w.Close()
		_ = unix.Close(pair[1])
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for name, f := range files {
		t.Run(name, func(t *testing.T) {
			c := exec.Command("/proc/self/exe")
			c.Args = []string{"belljar-zygote"}
			c.Env = []string{partEnv + "=host say"}
			if f != nil {
				c.ExtraFiles = []*os.File{f}
			}
			out, err := c.CombinedOutput()
			require.NoError(t, err)
			assert.Equal(t, "main ran\n", string(out))
		})
	}
}
