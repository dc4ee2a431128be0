package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A group can be made in v2 beside those that are all of v1, for processes to be cloned into.
func TestUnifiedOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a group of v2 needs root")
	}
	h, err := Detect()
	require.NoError(t, err)
	own, ok := h.Unified()
	if !ok {
		t.Skip("not in cgroup v2 here")
	}
	w, err := NewOwner(own, os.Getpid(), Options{Number: 99})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, w.Close()) })
	require.Len(t, w.Parent().Dirs, 1)
	dir := w.Parent().Dirs[0].Path
	assert.Equal(t, own.Dirs[0].Path, filepath.Dir(dir))
	var byFD, byPath unix.Stat_t
	require.NoError(t, unix.Fstat(w.FD(), &byFD))
	require.NoError(t, unix.Stat(dir, &byPath))
	assert.Equal(t, byPath.Ino, byFD.Ino)

	c := exec.Command("cat", "/proc/self/cgroup")
	c.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: w.FD()}
	out, err := c.Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), filepath.Base(dir))

	// Below a threaded group there are none for processes.
	if err := os.WriteFile(filepath.Join(dir, "cgroup.type"), []byte("threaded"), 0); err != nil {
		t.Logf("groups here cannot be threaded: %v", err)
		return
	}
	for i := range h.Hierarchies {
		if h.Hierarchies[i].Version == 2 {
			h.Hierarchies[i].Own = filepath.Join(h.Hierarchies[i].Own, filepath.Base(dir))
		}
	}
	_, ok = h.Unified()
	assert.False(t, ok)
}
