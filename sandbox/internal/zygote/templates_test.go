//go:build linux

package zygote

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stand makes a template of this process's own mount namespace.
func (ts *templates) stand(t *testing.T, id uint64, sources ...string) {
	t.Helper()
	ts.watchMounts()
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	tpl := &template{ns: ns, used: time.Now()}
	for _, s := range sources {
		f, err := lookAt(s)
		require.NoError(t, err)
		tpl.sources = append(tpl.sources, f)
	}
	ts.add(id, tpl)
}

func (ts *templates) usable(t *testing.T, id uint64) bool {
	t.Helper()
	fd, err := ts.clone(id)
	if err != nil {
		require.ErrorIs(t, err, errNoTemplate)
		return false
	}
	require.NoError(t, unix.Close(fd))
	return true
}

// A template is good while the host is as it was when it was made, and somebody uses it.
func TestTemplates(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("cloning trees of the host needs root")
	}
	ts := &templates{}
	defer func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		for id := range ts.byID {
			ts.drop(id)
		}
		ts.mounts.Close()
		_ = unix.Close(ts.home)
		_ = unix.Close(ts.root)
		ts.idle.Stop()
	}()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))

	// Others on this machine may mount something just now, so each is tried a few times.
	good := func() bool {
		for range 100 {
			ts.stand(t, 1, file)
			if ts.usable(t, 1) {
				return true
			}
		}
		return false
	}
	require.True(t, good())
	assert.False(t, ts.usable(t, 2), "nobody made it")

	require.NoError(t, os.Rename(file, file+"-old"))
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	assert.False(t, ts.usable(t, 1), "another file of that name")
	require.True(t, good())
	require.NoError(t, os.Remove(file))
	assert.False(t, ts.usable(t, 1), "no file of that name")
	require.NoError(t, os.WriteFile(file, nil, 0o644))

	require.True(t, good())
	require.NoError(t, unix.Mount("belljar-test", dir, "tmpfs", 0, "size=4k"))
	lost := !ts.usable(t, 1)
	require.NoError(t, unix.Unmount(dir, 0))
	assert.True(t, lost, "something has been mounted")

	require.True(t, good())
	ts.mu.Lock()
	ts.byID[1].used = time.Now().Add(-2 * templatesIdle)
	ts.mu.Unlock()
	ts.rest()
	assert.False(t, ts.usable(t, 1), "nobody has used it")
	require.True(t, good())
	ts.rest()
	for id := uint64(2); id < 2+maxTemplates; id++ {
		ts.stand(t, id)
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	assert.LessOrEqual(t, len(ts.byID), maxTemplates)
	assert.NotContains(t, ts.byID, uint64(1), "the one that was used longest ago")
}
