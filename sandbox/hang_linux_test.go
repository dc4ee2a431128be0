package sandbox

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tooLong is what nothing here may take that does not wait for the file system itself.
const tooLong = patience

// returns fails the test if f takes too long: then something waits for a file system that never answers.
func returns(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(tooLong):
		t.Fatal("hangs: " + what)
	}
}

// TestHang executes a program that can never be opened, several times at once, and looks at what else goes on meanwhile.
func TestHang(t *testing.T) {
	hang := mountHanging(t)
	newBox(t)
	before := settled(t)
	sb, err := New(WithBind(hang.dir, "/hang", ReadOnly))
	require.NoError(t, err)
	other, err := New()
	require.NoError(t, err)

	var wg sync.WaitGroup
	launch := func(start func() error, check func(err error)) {
		wg.Add(1)
		go func() { defer wg.Done(); check(start()) }()
	}
	for range 4 {
		launch(func() error {
			c := sb.Command("/hang/program")
			c.Limits.WallTime = 2 * time.Second // long enough to come as far as the program
			_, err := c.Run(context.Background())
			return err
		}, func(err error) {
			var e *Error
			if assert.ErrorAs(t, err, &e) {
				assert.Equal(t, [3]string{"exec", "execve", "/hang/program"}, [3]string{e.Stage, e.Op, e.Path})
				assert.ErrorIs(t, err, unix.ETIMEDOUT)
			}
		})
		launch(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			res, err := sb.Run(ctx, "/hang/program")
			if err == nil {
				err = res.Err() // it was killed just as it could have begun
			}
			return err
		}, func(err error) {
			assert.Error(t, err)
			assert.True(t, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, unix.EINTR), "%v", err)
		})
	}
	// On a quick machine all eight of them do; on a slow one the time of some is up before.
	returns(t, "the control: somebody opens the program", func() { <-hang.opened })
	returns(t, "another sandbox", func() {
		for range 20 {
			res, err := other.Run(context.Background(), "/bin/true")
			if assert.NoError(t, err) {
				assert.NoError(t, res.Err())
			}
		}
		fresh, err := New()
		if assert.NoError(t, err) {
			assert.NoError(t, fresh.Close())
		}
	})
	returns(t, "the same sandbox", func() {
		res, err := sb.Run(context.Background(), "/bin/true")
		if assert.NoError(t, err) {
			assert.NoError(t, res.Err())
		}
	})
	returns(t, "launches past their deadline", wg.Wait)
	returns(t, "Close", func() {
		if err := sb.Close(); err != nil {
			assert.ErrorIs(t, err, unix.EBUSY)
			t.Log("documented:", err)
		}
	})
	hang.abort(t)
	assert.NoError(t, other.Close())
	unchanged(t, before, "after the file system has been given up")
}

// TestHangClosed leaves the launch hanging when the sandbox is closed.
func TestHangClosed(t *testing.T) {
	hang := mountHanging(t)
	newBox(t)
	before := settled(t)
	sb, err := New(WithBind(hang.program(), "/program", ReadOnly))
	require.NoError(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := sb.Run(context.Background(), "/program")
		failed <- err
	}()
	returns(t, "the control: somebody opens the program", func() { <-hang.opened })
	returns(t, "Close", func() {
		if err := sb.Close(); err != nil {
			assert.ErrorIs(t, err, unix.EBUSY)
		}
	})
	returns(t, "the launch", func() {
		err := <-failed
		assert.Error(t, err)
		t.Log(err)
	})
	hang.abort(t)
	unchanged(t, before, "after the file system has been given up")
}
