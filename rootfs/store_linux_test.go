package rootfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs"
)

func key(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// fillWith returns a fill that writes files, one system call at a time, for others to interrupt.
func fillWith(n int) func(*os.File) (rootfs.Filled, error) {
	return func(dir *os.File) (rootfs.Filled, error) {
		r, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
		if err != nil {
			return rootfs.Filled{}, err
		}
		defer r.Close()
		for i := range n {
			if err := r.MkdirAll(fmt.Sprintf("d%d/e", i%7), 0o755); err != nil {
				return rootfs.Filled{}, err
			}
			if err := r.WriteFile(fmt.Sprintf("d%d/e/f%d", i%7, i), []byte("x"), 0o644); err != nil {
				return rootfs.Filled{}, err
			}
		}
		return rootfs.Filled{Bytes: int64(n), Entries: int64(n), Notes: []string{"a note"}}, nil
	}
}

func never(*os.File) (rootfs.Filled, error) { return rootfs.Filled{}, errors.New("filled again") }

// files counts what a layer has.
func files(t *testing.T, dir string) int {
	n := 0
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	}))
	return n
}

func TestStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := rootfs.Store{Dir: filepath.Join(t.TempDir(), "a", "store")}
	none, err := s.Layers()
	require.NoError(t, err)
	assert.Empty(t, none)
	assert.NoDirExists(t, s.Dir, "listing makes nothing")
	require.ErrorIs(t, s.Remove(key(1)), fs.ErrNotExist)

	h, err := s.Hold(ctx, key(1), fillWith(20))
	require.NoError(t, err)
	assert.Equal(t, 20, files(t, h.Dir))
	assert.Equal(t, []string{"a note"}, h.Notes)
	again, err := s.Hold(ctx, key(1), never)
	require.NoError(t, err)
	assert.Equal(t, h.Dir, again.Dir)

	h.Release()
	h.Release()
	require.ErrorIs(t, s.Remove(key(1)), rootfs.ErrLayerInUse)
	gone, err := s.Prune()
	require.NoError(t, err)
	assert.Empty(t, gone)
	list, err := s.Layers()
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.True(t, list[0].InUse)
	assert.Equal(t, int64(20), list[0].Bytes)
	assert.WithinDuration(t, time.Now(), list[0].Made, time.Hour)

	again.Release()
	list, err = s.Layers()
	require.NoError(t, err)
	assert.False(t, list[0].InUse)
	require.NoError(t, s.Remove(key(1)))
	require.ErrorIs(t, s.Remove(key(1)), fs.ErrNotExist)

	h, err = s.Hold(ctx, key(2), fillWith(1))
	require.NoError(t, err)
	h.Release()
	gone, err = s.Prune()
	require.NoError(t, err)
	require.Len(t, gone, 1)
	assert.Equal(t, key(2), gone[0].Key)
	assert.Zero(t, files(t, s.Dir))
}

// A layer that could not be filled is not there, nor anything of it.
func TestStoreFillFails(t *testing.T) {
	t.Parallel()
	s := rootfs.Store{Dir: filepath.Join(t.TempDir(), "store")}
	mine := errors.New("mine")
	_, err := s.Hold(t.Context(), key(1), func(dir *os.File) (rootfs.Filled, error) {
		_, err := fillWith(10)(dir)
		return rootfs.Filled{}, errors.Join(err, mine)
	})
	require.ErrorIs(t, err, mine)
	assert.Zero(t, files(t, s.Dir))
	left, err := os.ReadDir(filepath.Join(s.Dir, "tmp"))
	require.NoError(t, err)
	assert.Empty(t, left)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Hold(ctx, key(1), never)
	require.ErrorIs(t, err, context.Canceled)
}

func TestStoreIsTheCallersAlone(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "sha256:x", "sha256:../../etc", "sha256:" + strings.Repeat("A", 64), "md5:" + strings.Repeat("0", 32)} {
		_, err := rootfs.Store{Dir: filepath.Join(t.TempDir(), "s")}.Hold(t.Context(), bad, never)
		require.ErrorIs(t, err, fs.ErrInvalid, bad)
	}
	_, err := rootfs.Store{Dir: "relative"}.Hold(t.Context(), key(1), never)
	require.ErrorIs(t, err, fs.ErrInvalid)
	dir := t.TempDir()
	h, err := rootfs.Store{Dir: filepath.Join(dir, "control")}.Hold(t.Context(), key(1), fillWith(1))
	require.NoError(t, err, "control")
	h.Release()
	require.NoError(t, os.Chmod(filepath.Join(dir, "control"), 0o710))
	_, err = rootfs.Store{Dir: filepath.Join(dir, "control")}.Hold(t.Context(), key(1), never)
	require.ErrorIs(t, err, rootfs.ErrStoreOpen)
	if os.Geteuid() == 0 {
		require.NoError(t, os.Mkdir(filepath.Join(dir, "theirs"), 0o700))
		require.NoError(t, os.Chown(filepath.Join(dir, "theirs"), 1234, 1234))
		_, err = rootfs.Store{Dir: filepath.Join(dir, "theirs")}.Hold(t.Context(), key(1), never)
		require.ErrorIs(t, err, rootfs.ErrStoreOpen)
	}
}

// Many at once want the same layers, and others remove them: each is filled by one at a time, and who holds one has all of it
// (case 94, CVE-2025-47290).
func TestStoreAtOnce(t *testing.T) {
	t.Parallel()
	s := rootfs.Store{Dir: filepath.Join(t.TempDir(), "store")}
	const layers, each = 3, 30
	var filling [layers]atomic.Int32
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 6 {
				n := (g + i) % layers
				h, err := s.Hold(t.Context(), key(n), func(dir *os.File) (rootfs.Filled, error) {
					assert.Equal(t, int32(1), filling[n].Add(1), "two fill one layer")
					defer filling[n].Add(-1)
					return fillWith(each)(dir)
				})
				if !assert.NoError(t, err) {
					return
				}
				assert.Equal(t, each, files(t, h.Dir))
				h.Release()
				if g%4 == 0 {
					if err := s.Remove(key(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
						assert.ErrorIs(t, err, rootfs.ErrLayerInUse)
					}
				}
			}
		})
	}
	wg.Wait()
	_, err := s.Prune()
	require.NoError(t, err)
	assert.Zero(t, files(t, s.Dir))
}

const storeEnv = "BELLJAR_TEST_STORE"

// TestStorePart is run in other processes: it fills and removes layers until it is killed, or once.
func TestStorePart(t *testing.T) {
	dir, ok := os.LookupEnv(storeEnv)
	if !ok {
		return
	}
	dir, once := strings.CutPrefix(dir, "once:")
	s := rootfs.Store{Dir: dir}
	for {
		h, err := s.Hold(context.Background(), key(1), fillWith(60))
		require.NoError(t, err)
		require.Equal(t, 60, files(t, h.Dir))
		h.Release()
		if once {
			return
		}
		_ = s.Remove(key(1))
	}
}

func storePart(t *testing.T, arg string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", "-test.run=^TestStorePart$")
	c.Env = append(os.Environ(), storeEnv+"="+arg)
	c.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return c
}

// Processes that fill and remove the same layer are killed at any moment: who comes next finds a whole layer or none, and
// nothing of the dead stays.
func TestStoreKilled(t *testing.T) {
	t.Parallel()
	s := rootfs.Store{Dir: filepath.Join(t.TempDir(), "store")}
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		var two []*exec.Cmd
		for range 2 {
			c := storePart(t, s.Dir)
			require.NoError(t, c.Start())
			two = append(two, c)
		}
		for _, c := range two {
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			require.NoError(t, c.Process.Kill())
			require.ErrorContains(t, c.Wait(), "killed")
		}
		h, err := s.Hold(t.Context(), key(1), fillWith(60))
		require.NoError(t, err)
		require.Equal(t, 60, files(t, h.Dir))
		h.Release()
	}
	_, err := s.Prune()
	require.NoError(t, err)
	for _, sub := range []string{"tmp", "layers"} {
		left, err := os.ReadDir(filepath.Join(s.Dir, sub))
		require.NoError(t, err)
		assert.Empty(t, left, sub)
	}
	c := storePart(t, "once:"+s.Dir)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
