package image_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
)

// faultyImage has something for every step of unpacking.
func faultyImage(t *testing.T) string {
	low := layerOf(t, item{name: "d/", xattrs: map[string]string{"user.a": "b"}}, item{name: "d/f", content: strings.Repeat("x", 9000)}, item{name: "d/l", hard: "d/f"}, item{name: "s", link: "d"}, item{name: "p", kind: tar.TypeFifo}, item{name: "o/x/y"})
	high := layerOf(t, item{name: "d/.wh.f"}, item{name: "o/.wh..wh..opq"}, item{name: "o/z/z/z", content: "z"}, item{name: "s/", mode: 0o700})
	return imageOf(t, low, high)
}

// attempt unpacks and, if that fails, finds an error of the given kind and nothing of the layer that failed.
func attempt(t *testing.T, store rootfs.Store, dir string, kind error) bool {
	t.Helper()
	img, err := image.Open(dir, image.WithStore(store))
	if err == nil {
		var u *image.Unpacked
		u, err = img.Unpack(t.Context())
		u.Release()
		require.NoError(t, img.Close())
	}
	if err == nil {
		return true
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("needs Linux 6.6: a tmpfs that keeps user attributes")
	}
	require.ErrorIs(t, err, kind)
	left, err := os.ReadDir(filepath.Join(store.Dir, "tmp"))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	require.Empty(t, left)
	list, err := store.Layers()
	require.NoError(t, err)
	for _, l := range list {
		require.False(t, l.InUse)
	}
	return false
}

const faultEnv = "BELLJAR_TEST_FAULT"

// Every step that takes a descriptor is made to fail, one after the other, by a limit that is raised bit by bit. This happens in a process of its own.
func TestDescriptorsRunOut(t *testing.T) {
	if os.Getenv(faultEnv) == "" {
		c := exec.Command("/proc/self/exe", "-test.run=^TestDescriptorsRunOut$", "-test.v")
		c.Env = append(os.Environ(), faultEnv+"=1")
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "after several failures")
		return
	}
	dir := faultyImage(t)
	failed := 0
	for n := open(t); ; n++ {
		store := storeIn(t)
		before := open(t)
		restore := limit(t, n)
		ok := try(store, dir)
		restore()
		require.Equal(t, before, open(t), "a descriptor is left")
		// What could not even be removed for lack of descriptors the next one removes.
		_, err := store.Prune()
		require.NoError(t, err)
		if left, err := os.ReadDir(filepath.Join(store.Dir, "tmp")); err == nil {
			require.Empty(t, left)
		}
		if ok == nil {
			break
		}
		require.ErrorIs(t, ok, unix.EMFILE)
		failed++
	}
	require.Greater(t, failed, 8)
	fmt.Println("after several failures:", failed)
}

// try is attempt where nothing else can be opened.
func try(store rootfs.Store, dir string) error {
	img, err := image.Open(dir, image.WithStore(store))
	if err != nil {
		return err
	}
	defer img.Close()
	u, err := img.Unpack(context.Background())
	u.Release()
	return err
}

// open counts descriptors: one more is open while it does.
func open(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries) - 1
}

// limit lets descriptors be below n.
func limit(t *testing.T, n int) (restore func()) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: old.Max}))
	return func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }
}

// Every step that makes something is made to fail, one after the other, by a disk that is full: of files, and of bytes.
func TestDiskIsFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := faultyImage(t)
	for _, option := range []string{"nr_inodes", "nr_blocks"} {
		failed := 0
		for n := 2; ; n++ {
			at := filepath.Join(t.TempDir(), "disk")
			require.NoError(t, os.Mkdir(at, 0o700))
			require.NoError(t, unix.Mount("tmpfs", at, "tmpfs", 0, option+"="+strconv.Itoa(n)))
			t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
			ok := attempt(t, rootfs.Store{Dir: filepath.Join(at, "store")}, dir, unix.ENOSPC)
			require.NoError(t, unix.Unmount(at, 0), "something is open")
			if ok {
				break
			}
			failed++
		}
		require.Greater(t, failed, 2, option)
	}
}
