package sandbox

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHandleEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Sandbox) error{"Kill": (*Sandbox).Kill, "Close": (*Sandbox).Close} {
		t.Run(name, func(t *testing.T) {
			sb := standing(t)
			assert.Equal(t, Running, sb.State())
			c := sb.Command("/bin/sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000")
			require.NoError(t, c.Start(inTime(t)))
			pids := append(hostPIDs(sb), c.PID())
			waited := make(chan error, 1)
			go func() { waited <- sb.Wait() }()
			require.NoError(t, end(sb))
			for _, pid := range pids {
				assert.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
			}
			res, err := c.Wait()
			require.NoError(t, err)
			assert.Equal(t, Killed, res.Verdict)
			require.NoError(t, <-waited)
			assert.Equal(t, Exited, sb.State())
			for range 2 {
				require.NoError(t, sb.Kill())
				require.NoError(t, sb.Close())
				require.NoError(t, sb.Wait())
			}
			_, serr := sb.Stats()
			_, rerr := sb.Run(inTime(t), "/bin/true")
			for _, err := range []error{serr, rerr, sb.Pause(), sb.Resume(), sb.Restart(inTime(t)), c.Kill()} {
				if !errors.Is(err, ErrClosed) {
					assert.ErrorContains(t, err, "finished")
				}
			}
			assert.NotEmpty(t, sb.Plan())
			assert.NotEmpty(t, sb.Report().Enforced)
		})
	}
}

// Everything at once, from many goroutines: nothing hangs, and errors are of a kind.
func TestHandleIsConcurrent(t *testing.T) {
	t.Parallel()
	sandboxes, workers := 8, 6
	if testing.Short() {
		sandboxes = 2
	}
	var wg sync.WaitGroup
	for range sandboxes {
		sb, err := New()
		require.NoError(t, err)
		for w := range workers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 4 {
					c := sb.Command("/bin/sh", "-c", "sleep 0.0"+strconv.Itoa(i))
					if err := c.Start(inTime(t)); err != nil {
						assert.ErrorIs(t, err, ErrClosed)
						continue
					}
					switch w {
					case 0:
						_ = c.Kill()
					case 1:
						_ = c.Signal(syscall.SIGTERM)
					case 2:
						_, _ = sb.Stats()
						_, _ = c.Stats()
					case 3:
						_ = sb.Pause()
						_ = sb.Resume()
					case 4:
						if i == 3 {
							_ = sb.Kill()
						}
					}
					_, err := c.Wait()
					assert.NoError(t, err)
				}
				assert.NoError(t, sb.Close())
			}()
		}
	}
	wg.Wait()
}

func TestManySandboxes(t *testing.T) {
	t.Parallel()
	n := 50
	if testing.Short() {
		n = 8
	}
	gate := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		gate <- struct{}{}
		go func() {
			defer wg.Done()
			defer func() { <-gate }()
			sb, err := New()
			if !assert.NoError(t, err) {
				return
			}
			if i%3 == 0 {
				go func() { _ = sb.Kill() }()
			}
			res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 3")
			if err == nil {
				assert.Contains(t, []Verdict{NonZeroExit, Killed}, res.Verdict)
			} else {
				assert.ErrorIs(t, err, ErrClosed)
				assert.Zero(t, i%3)
			}
			assert.NoError(t, sb.Close())
		}()
	}
	wg.Wait()
}

// A file that was just written is executed, however many do so at once (ETXTBSY).
func TestWriteThenExecute(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			name := "/box/prog" + strconv.Itoa(i)
			for range 15 {
				if !assert.NoError(t, sb.WriteFile(name, []byte("#!/bin/sh\nexit 0\n"), 0o755)) {
					return
				}
				res, err := sb.Run(inTime(t), name)
				if !assert.NoError(t, err) {
					return
				}
				assert.Equal(t, OK, res.Verdict)
			}
		}()
	}
	wg.Wait()
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t))
	c := sb.Command("/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /box/n; sleep 0.005; done")
	require.NoError(t, c.Start(inTime(t)))
	read := func() int {
		b, _ := sb.FS().Open("box/n")
		if b == nil {
			return -1
		}
		defer b.Close()
		data, _ := io.ReadAll(b)
		n, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			return -1
		}
		return n
	}
	eventually(t, "it counts", func() bool { return read() > 3 })
	require.NoError(t, sb.Pause())
	require.NoError(t, sb.Pause(), "again")
	assert.Equal(t, Paused, sb.State())
	first := read()
	time.Sleep(100 * time.Millisecond)
	assert.Equal(t, first, read(), "it stands still")
	require.NoError(t, sb.Resume())
	require.NoError(t, sb.Resume())
	assert.Equal(t, Running, sb.State())
	eventually(t, "it goes on", func() bool { return read() > first })
	// A paused sandbox can be killed, and what is in it.
	require.NoError(t, sb.Pause())
	require.NoError(t, c.Kill())
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, res.Verdict)
	c = sb.Command("/bin/sleep", "1000")
	started := make(chan error, 1)
	go func() { started <- c.Start(inTime(t)) }()
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, sb.Kill())
	if <-started == nil {
		_, err = c.Wait()
		require.NoError(t, err)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("64m"), WithPids(20)))
	c := sb.Command("/bin/sh", "-c", "sleep 1000 & i=0; while :; do i=$((i+1)); done")
	_, err := c.Stats()
	assert.Error(t, err)
	require.NoError(t, c.Start(inTime(t)))
	eventually(t, "it is counted", func() bool {
		s, err := c.Stats()
		require.NoError(t, err)
		return s.CPU.Total > 10*time.Millisecond && s.Pids.Current == 2 && s.Memory.Current > 0
	})
	s, err := sb.Stats()
	require.NoError(t, err)
	assert.Positive(t, s.CPU.Total)
	require.NoError(t, c.Kill())
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, 2, res.Usage.PeakPids)
	after, err := sb.Stats()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, after.CPU.Total, res.Usage.CPU.Total/2, "what has ended is still in the sandbox's accounts")
	_, err = c.Stats()
	assert.Error(t, err)
}

func TestContextEndsACommand(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := sb.Command("/bin/sh", "-c", "sleep 1000 & trap '' TERM; sleep 1000")
	require.NoError(t, c.Start(ctx))
	cancel()
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Canceled, res.Verdict)
	assert.ErrorIs(t, res.Err(), context.Canceled)
	var exit *ExitError
	assert.ErrorAs(t, res.Err(), &exit)

	for wait := 50 * time.Millisecond; ; wait *= 2 { // a slow machine may take longer to start it
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if res, err = sb.Command("/bin/sleep", "1000").Run(ctx); err == nil {
			break
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, wait, patience)
	}
	assert.Equal(t, Canceled, res.Verdict)
	assert.ErrorIs(t, res.Err(), context.DeadlineExceeded)

	why := errors.New("changed my mind")
	cctx, ccancel := context.WithCancelCause(context.Background())
	c = sb.Command("/bin/sleep", "1000")
	require.NoError(t, c.Start(cctx))
	ccancel(why)
	res, err = c.Wait()
	require.NoError(t, err)
	assert.ErrorIs(t, res.Err(), why)

	ctx, cancel = context.WithCancel(context.Background())
	res, err = sb.Command("/bin/true").Run(ctx)
	cancel()
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict, "too late to matter")
}

func TestRestart(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	require.NoError(t, sb.WriteFile("/box/old", nil, 0o644))
	c := sb.Command("/bin/sleep", "1000")
	require.NoError(t, c.Start(inTime(t)))
	before := sb.PID()
	require.NoError(t, sb.Restart(inTime(t)))
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, res.Verdict)
	assert.NotEqual(t, before, sb.PID())
	assert.Empty(t, sh(t, sb, "ls /box"))
	assert.Equal(t, Running, sb.State())
}

// The end of PID 1 by somebody of the host ends the sandbox, and the handle says so.
func TestInitKilledFromOutside(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	if err := syscall.Kill(sb.PID(), syscall.SIGKILL); err != nil {
		needRoot(t)
		require.NoError(t, err)
	}
	require.NoError(t, sb.Wait())
	assert.Equal(t, Exited, sb.State())
	assert.ErrorIs(t, sb.Command("/bin/true").Start(inTime(t)), ErrClosed)
}
