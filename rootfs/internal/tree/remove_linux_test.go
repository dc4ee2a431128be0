package tree_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// deepen makes n directories in one another, by descriptors: no path is short enough for them.
func deepen(t *testing.T, top int, n int) {
	t.Helper()
	fd, err := unix.Openat(top, ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	for range n {
		require.NoError(t, unix.Mkdirat(fd, "d", 0o700))
		next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		fd = next
	}
	require.NoError(t, unix.Close(fd))
}

func TestRemove(t *testing.T) {
	top := t.TempDir()
	d, err := os.Open(top)
	require.NoError(t, err)
	defer d.Close()
	fd := int(d.Fd())
	require.NoError(t, os.WriteFile(top+"/outside", nil, 0o600))

	assert.NoError(t, tree.Remove(fd, "nothing"))

	require.NoError(t, os.MkdirAll(top+"/x/a/b", 0o700))
	require.NoError(t, os.WriteFile(top+"/x/a/f\nnewline", []byte("x"), 0o400))
	require.NoError(t, os.Symlink("..", top+"/x/a/up"))
	require.NoError(t, os.Symlink(top, top+"/x/out"))
	require.NoError(t, unix.Mkfifo(top+"/x/fifo", 0o600))
	require.NoError(t, os.Mkdir(top+"/x/closed", 0o700))
	require.NoError(t, os.WriteFile(top+"/x/closed/f", nil, 0o600))
	require.NoError(t, os.Chmod(top+"/x/closed", 0))
	require.NoError(t, os.Chmod(top+"/x/a", 0o500))
	require.NoError(t, tree.Remove(fd, "x"))
	assert.NoFileExists(t, top+"/x")
	assert.FileExists(t, top+"/outside")

	require.NoError(t, os.Symlink(top, top+"/link"))
	require.NoError(t, tree.Remove(fd, "link"))
	assert.FileExists(t, top+"/outside")

	require.NoError(t, os.Mkdir(top+"/deep", 0o700))
	deep, err := os.Open(top + "/deep")
	require.NoError(t, err)
	defer deep.Close()
	levels := 10_000
	if testing.Short() {
		levels = 2000 // still more than descriptors
	}
	deepen(t, int(deep.Fd()), levels)
	require.NoError(t, tree.Remove(fd, "deep"))
	assert.NoFileExists(t, top+"/deep")
}
