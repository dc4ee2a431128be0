package sandbox

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// withoutRoom has a process get no further descriptor while f runs.
func withoutRoom(t *testing.T, pid int, f func()) {
	t.Helper()
	var before unix.Rlimit
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before))
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}, nil))
	defer func() { require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil)) }()
	f()
}

// A program, or a zygote, that has no room for another descriptor fails to do what needs one, and goes on with all else. It is what a server comes to that has too many clients.
func TestNoRoomForDescriptors(t *testing.T) {
	sb := newBox(t)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer null.Close()
	run := func() error {
		c := sb.Command("/bin/true")
		c.ExtraFiles = []*os.File{null}
		res, err := c.Run(inTime(t))
		if err == nil {
			err = res.Err()
		}
		return err
	}
	open := func() error {
		f, err := sb.FS().Open("bin/sh")
		if err == nil {
			err = f.Close()
		}
		return err
	}
	require.NoError(t, run(), "the control")
	require.NoError(t, open(), "the control")
	withoutRoom(t, sb.engine.z.pid, func() { assert.ErrorIs(t, run(), unix.EMFILE) })
	assert.NoError(t, run())
	withoutRoom(t, 0, func() { assert.ErrorIs(t, open(), unix.EMFILE) })
	assert.NoError(t, open())
	assert.Equal(t, Running, sb.State())
}
