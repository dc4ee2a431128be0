package sandbox

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func newPool(t testing.TB, n int, opts ...Option) *Pool {
	t.Helper()
	p, err := NewPool(n, opts...)
	needsHost(t, err)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func get(t testing.TB, p *Pool) *Sandbox {
	t.Helper()
	sb, err := p.Get(inTime(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close()) })
	return sb
}

func TestPoolRefusesBadInput(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func() (*Pool, error){
		"size 0":       func() (*Pool, error) { return NewPool(0) },
		"bad option":   func() (*Pool, error) { return NewPool(1, WithMemory("many")) },
		"no such root": func() (*Pool, error) { return NewPool(1, WithRootfs("/no/such/root")) },
	} {
		p, err := make()
		var e *Error
		require.ErrorAs(t, err, &e, name)
		require.Nil(t, p, name)
	}
}

// TestPoolHandsOutEachOnce is case 79 of a pool: nothing that one holder leaves is there for the next.
func TestPoolHandsOutEachOnce(t *testing.T) {
	t.Parallel()
	const leave = "echo secret > /tmp/left; echo secret > /dev/shm/left; echo secret > /box/left; (sleep 1000 &) ; cat /tmp/left /dev/shm/left /box/left"
	const look = "cat /tmp/left /dev/shm/left /box/left 2>/dev/null; true"
	p := newPool(t, 1)
	first := get(t, p)
	require.Equal(t, "secret\nsecret\nsecret", sh(t, first, leave))
	require.Equal(t, "secret\nsecret\nsecret", sh(t, first, look), "control: the same sandbox has it")
	pid := first.PID()
	require.NoError(t, first.Close())
	second := get(t, p)
	require.NotSame(t, first, second)
	require.NotEqual(t, pid, second.PID())
	require.Empty(t, sh(t, second, look))
}

func TestPoolBoundsWhatExists(t *testing.T) {
	t.Parallel()
	p := newPool(t, 2)
	a, b := get(t, p), get(t, p)
	s := p.Stats()
	require.Equal(t, 2, s.Lent)
	require.Zero(t, s.Ready+s.Making)

	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error)
	go func() { _, err := p.Get(ctx); failed <- err }()
	eventually(t, "a caller waits", func() bool { return p.Stats().Waiting == 1 })
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	require.Zero(t, p.Stats().Waiting)

	require.NoError(t, a.Close())
	c := get(t, p)
	require.NoError(t, b.Close())
	require.NoError(t, c.Kill(), "any end makes room")
	eventually(t, "the pool is full again", func() bool { return p.Stats().Ready == 2 })
	require.Equal(t, uint64(5), p.Stats().Created)
}

func TestPoolServesInOrder(t *testing.T) {
	t.Parallel()
	p := newPool(t, 1)
	held := get(t, p)
	const callers = 5
	served := make(chan int, callers)
	var done sync.WaitGroup
	for i := range callers {
		done.Go(func() {
			sb, err := p.Get(inTime(t))
			if err != nil {
				t.Error(err)
				return
			}
			served <- i
			if err := sb.Close(); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "the caller waits", func() bool { return p.Stats().Waiting == i+1 })
	}
	require.NoError(t, held.Close())
	done.Wait()
	for i := range callers {
		require.Equal(t, i, <-served)
	}
}

func TestPoolReplacesWhatDies(t *testing.T) {
	t.Parallel()
	p := newPool(t, 1)
	eventually(t, "it is ready", func() bool { return p.Stats().Ready == 1 })
	p.mu.Lock()
	dying := p.ready[0]
	p.mu.Unlock()
	require.NoError(t, unix.Kill(dying.PID(), unix.SIGKILL))
	require.NoError(t, dying.Wait())
	sb := get(t, p)
	require.NotSame(t, dying, sb)
	require.Equal(t, "alive", sh(t, sb, "echo alive"))
	require.Equal(t, uint64(1), p.Stats().Discarded)
}

func TestPoolTellsOfFailures(t *testing.T) {
	t.Parallel()
	p := newPool(t, 1)
	broken := errors.New("the host is broken")
	var breaks atomic.Bool
	works := p.open
	p.mu.Lock()
	p.open = func() (*Sandbox, error) {
		if breaks.Load() {
			return nil, broken
		}
		return works()
	}
	p.mu.Unlock()
	breaks.Store(true)
	held := get(t, p)
	require.NoError(t, held.Close())
	for range 3 { // each caller is told, none waits for ever
		_, err := p.Get(inTime(t))
		require.ErrorIs(t, err, broken)
	}
	require.GreaterOrEqual(t, p.Stats().Failed, uint64(3))
	breaks.Store(false)
	require.Equal(t, "alive", sh(t, get(t, p), "echo alive"))
}

func TestPoolRecoversByItself(t *testing.T) {
	t.Parallel()
	p := newPool(t, 1)
	var fails atomic.Int32
	fails.Store(2)
	works := p.open
	p.mu.Lock()
	p.open = func() (*Sandbox, error) {
		if fails.Add(-1) >= 0 {
			return nil, errors.New("not yet")
		}
		return works()
	}
	p.mu.Unlock()
	require.NoError(t, get(t, p).Close())
	eventually(t, "it is ready though nobody asked", func() bool { return p.Stats().Ready == 1 })
	require.Equal(t, uint64(2), p.Stats().Failed)
}

func TestPoolCloses(t *testing.T) {
	t.Parallel()
	p := newPool(t, 1)
	held := get(t, p)
	failed := make(chan error)
	go func() { _, err := p.Get(inTime(t)); failed <- err }()
	eventually(t, "a caller waits", func() bool { return p.Stats().Waiting == 1 })
	require.NoError(t, p.Close())
	require.ErrorIs(t, <-failed, ErrClosed)
	_, err := p.Get(inTime(t))
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, "mine", sh(t, held, "echo mine"), "what was handed out is its holder's")
	require.NoError(t, held.Close())
	require.Zero(t, p.Stats().Making+p.Stats().Ready, "nothing is made any more")
}

// TestPoolUnderLoad has more callers than sandboxes, some of whom give up in the moment they are served.
func TestPoolUnderLoad(t *testing.T) {
	t.Parallel()
	const size, callers, rounds = 3, 16, 4
	p := newPool(t, size)
	var live, most atomic.Int64
	var done sync.WaitGroup
	for i := range callers {
		done.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(inTime(t))
				if i%4 == 0 {
					go cancel()
				}
				sb, err := p.Get(ctx)
				cancel()
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					continue
				}
				n := live.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				if i%2 == 0 {
					if res, err := sb.Run(inTime(t), "/bin/true"); err != nil || res.Verdict != OK {
						t.Error(res, err)
					}
				}
				live.Add(-1)
				if err := sb.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	require.LessOrEqual(t, most.Load(), int64(size))
	eventually(t, "the pool is full again", func() bool { return p.Stats().Ready == size })
	s := p.Stats()
	require.Zero(t, s.Lent+s.Waiting+s.Making)
	require.Zero(t, s.Failed)
}
