package sandbox

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// lanes counts those of the zygote, and those that nobody uses.
func lanes(t testing.TB) (all, free int) {
	t.Helper()
	z, err := currentZygote()
	require.NoError(t, err)
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.inLanes, len(z.lanes)
}

// However many commands run at once, few threads are blocked, and what each of them did is told to whoever asked.
func TestLanes(t *testing.T) {
	sb := newBox(t)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			// Short ones and some that outlive the moment for which a lane waits.
			res, err := sb.Run(inTime(t), "/bin/sh", "-c", "if [ $0 = 0 ]; then sleep 0.02; fi; exit $1", string('0'+rune(i%3)), string('0'+rune(i%10)))
			if assert.NoError(t, err) {
				assert.Equal(t, i%10, res.ExitCode)
			}
		})
	}
	wg.Wait()
	all, _ := lanes(t)
	assert.LessOrEqual(t, all, maxLanes)
	assert.Positive(t, all)
	eventually(t, "none is lost", func() bool { all, free := lanes(t); return all == free })
}

// A context that ends reaches a command in a lane, whether it runs or hangs, and the lane serves others or goes.
func TestLaneCanceled(t *testing.T) {
	sb := newBox(t)
	for _, after := range []time.Duration{0, 100 * time.Microsecond, time.Millisecond, 20 * time.Millisecond} {
		ctx, cancel := context.WithCancel(inTime(t))
		time.AfterFunc(after, cancel)
		res, err := sb.Run(ctx, "/bin/sleep", "1000")
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		} else {
			assert.Equal(t, Canceled, res.Verdict)
		}
		res, err = sb.Run(inTime(t), "/bin/true")
		require.NoError(t, err)
		require.NoError(t, res.Err())
		eventually(t, "none is lost", func() bool { all, free := lanes(t); return all == free })
	}
}

// Who waits in a lane is told of the zygote's death, as all others.
func TestLaneOfDeadZygote(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		sb := newBox(t)
		z, err := currentZygote()
		require.NoError(t, err)
		if stopped {
			require.NoError(t, unix.Kill(z.pid, unix.SIGSTOP))
		}
		errs := make(chan error, 1)
		go func() {
			for {
				if _, err := sb.Run(context.Background(), "/bin/true"); err != nil {
					errs <- err
					return
				}
			}
		}()
		time.Sleep(5 * time.Millisecond)
		killZygote(t)
		require.ErrorIs(t, <-errs, ErrClosed)
		<-z.dead
		eventually(t, "lanes of the dead are closed", func() bool {
			z.mu.Lock()
			defer z.mu.Unlock()
			return z.inLanes == 0 && len(z.lanes) == 0
		})
		newBox(t) // a zygote that sweeps
	}
}
