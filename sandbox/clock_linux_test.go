package sandbox

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// leap is by how much the host's clock is stepped: more than any limit.
const leap = 24 * time.Hour

// hostClock reads the clock that can be stepped, and the one that cannot.
func hostClock(t testing.TB) (stepped, steady time.Duration) {
	var r, m unix.Timespec
	assert.NoError(t, unix.ClockGettime(unix.CLOCK_REALTIME, &r))
	assert.NoError(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &m))
	return time.Duration(r.Nano()), time.Duration(m.Nano())
}

// stepClock sets the host's clock to so much from what it says.
func stepClock(t testing.TB, by time.Duration) {
	now, _ := hostClock(t)
	to := unix.NsecToTimespec(int64(now + by))
	assert.NoError(t, unix.ClockSettime(unix.CLOCK_REALTIME, &to))
}

// Catalogue 75: whoever steps the host's clock, be it a time server, ends no command early and lets none live for longer, and no account has it. Not
// parallel: it is everybody's clock.
func TestCase75ClockStepped(t *testing.T) {
	needRoot(t)
	if os.Getenv("BELLJAR_OWN_MACHINE") != "1" {
		t.Skip("steps the clock, which needs a machine of its own")
	}
	stepped, steady := hostClock(t)
	t.Cleanup(func() {
		_, now := hostClock(t)
		to := unix.NsecToTimespec(int64(stepped + now - steady))
		require.NoError(t, unix.ClockSettime(unix.CLOCK_REALTIME, &to))
	})
	// The control: a deadline by that clock would have passed, or would not come.
	for _, by := range []time.Duration{leap, -leap} {
		begin := time.Now()
		stepClock(t, by)
		end := time.Now()
		assert.InDelta(t, by.Hours(), end.Round(0).Sub(begin.Round(0)).Hours(), 1)
		assert.InDelta(t, 0, end.Sub(begin).Hours(), 1)
	}

	sb := newBox(t)
	long, short := time.Hour, 300*time.Millisecond
	for _, c := range []struct {
		name   string
		step   time.Duration
		want   Verdict
		script string
		limits Limits
		ctx    time.Duration
	}{
		{"deadline far off", leap, OK, "sleep 0.3", Limits{WallTime: long}, long},
		{"deadline near", -leap, WallTimeExceeded, "sleep 100000", Limits{WallTime: short}, long},
		{"context", -leap, Canceled, "sleep 100000", Limits{}, short},
		{"CPU time", -leap, CPUTimeExceeded, "while :; do :; done", Limits{CPUTime: short, WallTime: long}, long},
		{"CPU time, forwards", leap, CPUTimeExceeded, "while :; do :; done", Limits{CPUTime: short, WallTime: long}, long},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cmd *Cmd
			for wait := c.ctx; ; wait *= 2 { // a slow machine may take longer to start it
				ctx, cancel := context.WithTimeout(inTime(t), wait)
				defer cancel()
				cmd = sb.Command("/bin/sh", "-c", c.script)
				cmd.Limits = c.limits
				err := cmd.Start(ctx)
				if err == nil {
					break
				}
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Less(t, wait, patience)
			}
			stepClock(t, c.step)
			res, err := cmd.Wait()
			require.NoError(t, err)
			assert.Equal(t, c.want, res.Verdict)
			assert.Less(t, res.Usage.Wall, long)
			assert.Positive(t, res.Usage.Wall)
			assert.Less(t, res.Usage.CPU.Total, long)
			for _, s := range res.Stages() {
				assert.Less(t, s.Duration, long, s.Name)
				assert.GreaterOrEqual(t, s.Duration, time.Duration(0), s.Name)
			}
			stepClock(t, -c.step)
		})
	}

	t.Run("while it leaps to and fro", func(t *testing.T) {
		done := make(chan struct{})
		var leaping sync.WaitGroup
		leaping.Go(func() {
			for by := leap; ; by = -by {
				select {
				case <-done:
					return
				default:
					stepClock(t, by)
				}
				time.Sleep(500 * time.Microsecond)
			}
		})
		defer leaping.Wait()
		defer close(done)
		for range 3 {
			sb, err := New(WithWallTime(long))
			require.NoError(t, err)
			for range 3 {
				res, err := sb.Run(inTime(t), "/bin/true")
				require.NoError(t, err)
				assert.Equal(t, OK, res.Verdict)
				assert.Less(t, res.Usage.Wall, long)
			}
			require.NoError(t, sb.Close())
			for _, s := range sb.Report().Stages {
				assert.Less(t, s.Duration, long, s.Name)
			}
		}
	})
}
