package rootfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestHoldUpper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	upper := filepath.Join(dir, "upper")
	h, err := rootfs.HoldUpper(upper, -1, -1)
	require.NoError(t, err)
	assert.True(t, h.Made)
	work := filepath.Join(dir, h.Work)
	assert.DirExists(t, work)
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("upper", link))
	for _, again := range []string{upper, link} {
		_, err = rootfs.HoldUpper(again, -1, -1)
		require.ErrorIs(t, err, rootfs.ErrUpperInUse)
		require.ErrorIs(t, err, unix.EBUSY)
	}
	assert.DirExists(t, work, "of the one who has it")

	// Another process has it too, and is the first to let go.
	parent, layer := h.Files()
	p, err := unix.Dup(int(parent.Fd()))
	require.NoError(t, err)
	l, err := unix.Dup(int(layer.Fd()))
	require.NoError(t, err)
	rootfs.AdoptUpper(p, l, h.Work).Release()
	assert.NoDirExists(t, work)
	next, err := rootfs.HoldUpper(upper, -1, -1)
	require.NoError(t, err)
	assert.False(t, next.Made)
	h.Undo() // comes late, and touches nothing of the next one's
	h.Release()
	assert.DirExists(t, work)
	assert.DirExists(t, upper)
	_, err = rootfs.HoldUpper(upper, -1, -1)
	require.ErrorIs(t, err, rootfs.ErrUpperInUse)
	next.Release()

	// What a crash has left, with things in it, is cleared away.
	require.NoError(t, os.MkdirAll(filepath.Join(work, "work", "x"), 0o755))
	last, err := rootfs.HoldUpper(upper, -1, -1)
	require.NoError(t, err)
	assert.NoDirExists(t, filepath.Join(work, "work"))
	last.Undo()
	assert.DirExists(t, upper, "it was there before")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		assert.False(t, strings.HasPrefix(e.Name(), "."), e.Name())
	}
}
