package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// FuzzEntry holds the names of entries against what may be made of them: a path that stays below the layer, and has no mark left in it.
func FuzzEntry(f *testing.F) {
	for _, name := range []string{"a/b", "/", "./a/../b", "a/.wh.b", "a/.wh..wh..opq", ".wh..", ".wh..wh.plnk/x", "a/.wh.b/c", "a\x00b", "..", ".wh."} {
		f.Add(name, "b", byte(tar.TypeLink))
	}
	f.Fuzz(func(t *testing.T, name, link string, kind byte) {
		e, err := readEntry(&tar.Header{Name: name, Linkname: link, Typeflag: kind})
		if err != nil {
			require.True(t, errors.Is(err, ErrInvalid), "%v", err)
			return
		}
		if e.kind == entryIgnored {
			return
		}
		paths := []string{e.path}
		if e.target != "" {
			paths = append(paths, e.target)
		}
		for _, p := range paths {
			require.Equal(t, path.Clean(p), p)
			require.False(t, path.IsAbs(p) || strings.ContainsRune(p, 0), "%q", p)
			for part := range strings.SplitSeq(p, "/") {
				require.NotEqual(t, "..", part)
				if e.kind == entryPut {
					require.False(t, strings.HasPrefix(part, ".wh."), "%q", p)
				}
			}
		}
		if e.kind == entryPut && e.path == "." {
			require.Equal(t, byte(tar.TypeDir), kind)
		}
	})
}

// FuzzLayer unpacks anything over a layer that is good: nothing appears or changes beside the directory it goes to, nothing in it is a
// device but whiteouts of what is below, and there is no more of it than allowed.
func FuzzLayer(f *testing.F) {
	pack := func(headers ...tar.Header) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			require.NoError(f, w.WriteHeader(&h))
			_, _ = w.Write(make([]byte, h.Size))
		}
		require.NoError(f, w.Flush())
		f.Add(b.Bytes())
	}
	pack(tar.Header{Name: "d/.wh.f", Typeflag: tar.TypeReg}, tar.Header{Name: "d/n", Size: 3, Typeflag: tar.TypeReg})
	pack(tar.Header{Name: "o", Linkname: "../victim", Typeflag: tar.TypeSymlink}, tar.Header{Name: "o/f", Typeflag: tar.TypeReg})
	pack(tar.Header{Name: "a/b/", Mode: 0o7000, Typeflag: tar.TypeDir}, tar.Header{Name: "a/l", Linkname: "a/b", Typeflag: tar.TypeLink}, tar.Header{Name: "../victim/.wh.f", Typeflag: tar.TypeReg})
	pack(tar.Header{Name: ".wh..wh..opq", Typeflag: tar.TypeReg}, tar.Header{Name: "c", Typeflag: tar.TypeChar}, tar.Header{Name: "p", Typeflag: tar.TypeFifo})
	pack(tar.Header{Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.overlay.opaque": "y", "path": "d/../../victim/f"}})

	top := f.TempDir()
	for _, dir := range []string{"low/d", "low/e", "victim"} {
		require.NoError(f, os.MkdirAll(filepath.Join(top, dir), 0o755))
		require.NoError(f, os.WriteFile(filepath.Join(top, dir, "f"), []byte("safe"), 0o644))
	}
	low, err := unix.Open(filepath.Join(top, "low"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(f, err)
	parent, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(f, err)
	f.Cleanup(func() {
		_ = unix.Close(low)
		_ = unix.Close(parent)
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, unix.Mkdirat(parent, "into", 0o700))
		defer func() { require.NoError(t, tree.Remove(parent, "into")) }()
		into, err := unix.Openat(parent, "into", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(into)
		limits := Limits{Bytes: 1 << 20, Entries: 200}
		w := newLayerWriter(into, tree.Stack{low}, newBudget(limits))
		err = w.write(t.Context(), bytes.NewReader(data))
		require.Equal(t, -1, w.fd)

		for _, p := range []string{"low/d", "low/e", "victim", "."} {
			entries, err := os.ReadDir(filepath.Join(top, p))
			require.NoError(t, err)
			if p == "." {
				require.Len(t, entries, 3)
				continue
			}
			require.Len(t, entries, 1)
			content, err := os.ReadFile(filepath.Join(top, p, "f"))
			require.NoError(t, err)
			require.Equal(t, "safe", string(content))
		}
		if err == nil {
			sound(t, filepath.Join(top, "into"), tree.Stack{low}, limits)
		}
	})
}

// sound looks through a layer that was unpacked.
func sound(t *testing.T, dir string, lower tree.Stack, limits Limits) {
	t.Helper()
	n := int64(0)
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		n++
		rel, err := filepath.Rel(dir, p)
		require.NoError(t, err)
		require.False(t, strings.HasPrefix(d.Name(), ".wh."), "%q", rel)
		info, err := d.Info()
		require.NoError(t, err)
		if st := info.Sys().(*syscall.Stat_t); info.Mode()&fs.ModeDevice != 0 {
			require.Zero(t, st.Rdev, "%q", rel)
			below, err := lower.Stat(rel)
			require.NoError(t, err)
			require.NotNil(t, below, "%q hides nothing", rel)
		}
		buf := make([]byte, 256)
		names, err := unix.Llistxattr(p, buf)
		require.NoError(t, err)
		if strings.Contains(string(buf[:names]), "overlay") {
			require.True(t, d.IsDir(), "%q", rel)
			require.Equal(t, tree.Opaque+"\x00", string(buf[:names]))
		}
		return nil
	}))
	require.LessOrEqual(t, n, limits.Entries+1)
}
