//go:build linux

package launch

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// hangForever waits for nothing.
func hangForever(b *plan.Builder) {
	b.Call(unix.SYS_PPOLL, "ppoll", "nothing", plan.Null, plan.Zero, plan.Null, plan.Null)
}

// TestKill ends a launch that waits for something, from another goroutine, before it begins and while it goes on.
func TestKill(t *testing.T) {
	for name, m := range modes {
		for _, delay := range []time.Duration{-1, 0, time.Millisecond, 20 * time.Millisecond} {
			t.Run(name+" "+delay.String(), func(t *testing.T) {
				b := builder(m)
				hangForever(b)
				execTrue(b, "/bin/true")
				h := &Handle{}
				if delay < 0 {
					h.Kill()
				} else {
					time.AfterFunc(delay, h.Kill)
				}
				p, err := Launch(&Request{Plan: b.Plan(), Mode: m, Cgroup: -1, Handle: h})
				if err != nil {
					return
				}
				assert.Equal(t, unix.SIGKILL, wait(t, p).Signal())
			})
		}
	}
}

// TestDeadlines gives launches up at every moment of their short lives: whatever has been started by then is gone.
func TestDeadlines(t *testing.T) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			for d := time.Duration(0); d < 2*time.Millisecond; d += 50 * time.Microsecond {
				b := builder(m)
				execTrue(b, "/bin/true")
				p, err := Launch(&Request{Plan: b.Plan(), Mode: m, Cgroup: -1, Until: time.Now().Add(d)})
				if err != nil {
					require.ErrorIs(t, err, unix.ETIMEDOUT)
					continue
				}
				assert.Equal(t, 0, wait(t, p).ExitStatus())
			}
		})
	}
}

// TestManyAtOnce launches side by side, some of them hanging.
func TestManyAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			m := Mode(i % 3)
			b := builder(m)
			r := &Request{Mode: m, Cgroup: -1}
			hangs := i%4 == 0
			if hangs {
				hangForever(b)
				r.Until = time.Now().Add(30 * time.Millisecond)
			}
			execTrue(b, "/bin/true")
			r.Plan = b.Plan()
			p, err := Launch(r)
			if hangs {
				assert.ErrorIs(t, err, unix.ETIMEDOUT)
				return
			}
			if assert.NoError(t, err) {
				var ws unix.WaitStatus
				_, err := unix.Wait4(p.PID, &ws, unix.WALL, nil)
				assert.NoError(t, err)
				assert.Equal(t, 0, ws.ExitStatus())
				assert.NoError(t, unix.Close(p.PIDFD))
			}
		}()
	}
	wg.Wait()
}

// TestHeldArena: who ends what a launch has left keeps the launch's memory, though the process that shared it is gone already.
func TestHeldArena(t *testing.T) {
	a, err := newArena(builder(Direct).Plan())
	require.NoError(t, err)
	a.ctl.done = 0 // as the kernel leaves it
	a.held.Store(true)
	a.release()
	taken := func() (stuck, free bool) {
		pool.Lock()
		defer pool.Unlock()
		pool.reclaim()
		return slices.Contains(pool.stuck, a), slices.Contains(pool.free, a)
	}
	stuck, free := taken()
	assert.True(t, stuck)
	assert.False(t, free)
	a.held.Store(false)
	stuck, free = taken()
	assert.False(t, stuck)
	assert.True(t, free)
}
