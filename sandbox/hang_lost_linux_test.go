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

// A program that cannot die, since it waits for a file system that never answers, has not ended well: it is ended, whoever asked for that, and its status is nobody's.
func TestHangWhileRunning(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if testing.Short() {
		t.Skip("slow: to give up waiting takes its time")
	}
	hang := mountHanging(t)
	sb, err := New(WithBind(hang.dir, "/hang", ReadOnly))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for _, want := range []Verdict{Killed, Canceled, WallTimeExceeded} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := sb.Command("/bin/sh", "-c", "read line </hang/program")
		if want == WallTimeExceeded {
			c.Limits.WallTime = 200 * time.Millisecond // on a slow machine it is over before the file is opened
		}
		require.NoError(t, c.Start(ctx))
		if want != WallTimeExceeded {
			returns(t, "the control: it opens the file", func() { <-hang.opened })
		}
		switch want {
		case Killed:
			require.NoError(t, c.Kill())
		case Canceled:
			cancel()
		}
		wg.Go(func() {
			res, err := c.Wait()
			if assert.NoError(t, err) {
				assert.Equal(t, []any{want, -1, unix.SIGKILL}, []any{res.Verdict, res.ExitCode, res.Signal}, want)
			}
		})
	}
	returns(t, "the ends", wg.Wait)
	hang.abort(t)
	returns(t, "Close", func() { assert.NoError(t, sb.Close()) })
}
