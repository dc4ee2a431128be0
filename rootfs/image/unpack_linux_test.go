package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
)

// item is an entry of a layer that a test makes. Its type follows from what is set.
type item struct {
	name    string
	content string
	link    string // of a symbolic link
	hard    string // of a hard link
	kind    byte   // if it is none of these nor a file, or a directory by its name's slash
	mode    int64  // 0: 0644, of a directory 0755
	uid     int
	xattrs  map[string]string
	size    int64 // claimed, of a file without content
}

var stamp = time.Unix(1_500_000_000, 0)

func (i item) header() *tar.Header {
	h := &tar.Header{Name: i.name, Mode: i.mode, Uid: i.uid, Gid: i.uid, ModTime: stamp, Typeflag: i.kind, Format: tar.FormatPAX}
	for k, v := range i.xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+k] = v
	}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	switch {
	case i.link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, i.link
	case i.hard != "":
		h.Typeflag, h.Linkname = tar.TypeLink, i.hard
	case i.kind != 0:
	case strings.HasSuffix(i.name, "/"):
		h.Typeflag = tar.TypeDir
		if i.mode == 0 {
			h.Mode = 0o755
		}
	default:
		h.Typeflag, h.Size = tar.TypeReg, max(int64(len(i.content)), i.size)
	}
	return h
}

// layerOf packs items, in their order.
func layerOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := i.header()
		require.NoError(t, w.WriteHeader(h), i.name)
		content := i.content
		if h.Size > int64(len(content)) {
			content = strings.Repeat("\x00", int(h.Size))
		}
		_, err := w.Write([]byte(content))
		if h.Size > 0 {
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// imageOf makes a layout of layers and returns its folder.
func imageOf(t *testing.T, raws ...[]byte) string {
	t.Helper()
	l := newLayout(t)
	var layers []object
	var ids []string
	for i, raw := range raws {
		suffix := []string{"", "+gzip", "+zstd"}[i%3]
		ids = append(ids, sum(raw))
		layers = append(layers, l.blob(oci+"layer.v1.tar"+suffix, packed(t, raw, suffix)))
	}
	c := l.blob(oci+"config.v1+json", encoded(t, config(runtime.GOARCH, ids...)))
	l.files["index.json"] = l.index(l.blob(oci+"manifest.v1+json", encoded(t, object{"schemaVersion": 2, "config": c, "layers": layers})))
	return l.write()
}

func storeIn(t *testing.T) rootfs.Store {
	return rootfs.Store{Dir: filepath.Join(t.TempDir(), "store")}
}

// unpack unpacks a layout into a store.
func unpack(t *testing.T, s rootfs.Store, dir string, opts ...image.Option) (*image.Unpacked, error) {
	t.Helper()
	img, err := image.Open(dir, append(opts, image.WithStore(s))...)
	require.NoError(t, err)
	defer img.Close()
	u, err := img.Unpack(t.Context())
	t.Cleanup(u.Release)
	return u, err
}

// must unpacks layers that are good.
func must(t *testing.T, raws ...[]byte) *image.Unpacked {
	t.Helper()
	u, err := unpack(t, storeIn(t), imageOf(t, raws...))
	require.NoError(t, err)
	return u
}

// refused unpacks layers that are not, and finds nothing left in the store.
func refused(t *testing.T, kind error, raws ...[]byte) {
	t.Helper()
	s := storeIn(t)
	_, err := unpack(t, s, imageOf(t, raws...))
	require.ErrorIs(t, err, kind)
	var e *image.Error
	require.ErrorAs(t, err, &e)
	left, err := os.ReadDir(filepath.Join(s.Dir, "tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// shown lists what layers show together, computed in another way than the library does: path by path, layer by layer.
func shown(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	view := map[string]string{}
	drop := func(p string, self bool) {
		for q := range view {
			if self && q == p || strings.HasPrefix(q, p+"/") {
				delete(view, q)
			}
		}
	}
	for _, dir := range dirs {
		require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			rel, _ := filepath.Rel(dir, p)
			info, err := d.Info()
			require.NoError(t, err)
			st := info.Sys().(*syscall.Stat_t)
			switch {
			case rel == ".":
			case info.Mode()&fs.ModeCharDevice != 0:
				require.Zero(t, st.Rdev)
				drop(rel, true)
			case d.IsDir():
				var v [1]byte
				n, _ := unix.Lgetxattr(p, "user.overlay.opaque", v[:])
				if n == 1 || view[rel] != "dir" {
					drop(rel, true)
				}
				view[rel] = "dir"
			case info.Mode()&fs.ModeSymlink != 0:
				drop(rel, true)
				to, _ := os.Readlink(p)
				view[rel] = "-> " + to
			case info.Mode().IsRegular():
				drop(rel, true)
				data, err := os.ReadFile(p)
				require.NoError(t, err)
				view[rel] = string(data)
			default:
				drop(rel, true)
				view[rel] = info.Mode().Type().String()
			}
			return nil
		}))
	}
	return view
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 255)
	deep := strings.Repeat("d/", 120) + "end"
	u := must(t, layerOf(t,
		item{name: "./", mode: 0o711}, item{name: "etc/", mode: 0o750}, item{name: "etc/conf", content: "one", mode: 0o640, xattrs: map[string]string{"user.a": "b\x00c"}},
		item{name: "etc/conf", content: "two", mode: 0o604}, item{name: "etc/same", hard: "etc/conf"}, item{name: "/abs", content: "x"},
		item{name: "to", link: "/etc/conf"}, item{name: "up", link: "../../../etc"}, item{name: "fifo", kind: tar.TypeFifo, mode: 0o622},
		item{name: long, content: "long"}, item{name: deep, content: "deep"}, item{name: "su", mode: 0o4755, content: "#!"}, item{name: "shut/", mode: 0o555}, item{name: "shut/in", content: "in"},
		item{name: "holes", size: 3 << 20}, item{name: "turned", content: "file"}, item{name: "turned/", mode: 0o700}, item{name: "turned/f"}, item{name: "was/x/y", content: "gone"}, item{name: "was", link: "to"},
	))
	require.Len(t, u.Dirs, 1)
	dir := u.Dirs[0]
	v := shown(t, dir)
	assert.Equal(t, "two", v["etc/conf"])
	assert.Equal(t, "x", v["abs"])
	assert.Equal(t, "-> /etc/conf", v["to"])
	assert.Equal(t, "-> ../../../etc", v["up"])
	assert.Equal(t, "p---------", v["fifo"])
	assert.Equal(t, "long", v[long])
	assert.Equal(t, "deep", v[deep])
	assert.Equal(t, "in", v["shut/in"])
	assert.Equal(t, "dir", v["turned"])
	assert.Equal(t, "-> to", v["was"])
	assert.NotContains(t, v, "was/x")

	modes := map[string]uint32{".": 0o711, "etc": 0o750, "etc/conf": 0o604, "shut": 0o555, "su": 0o4755, "fifo": 0o622}
	if os.Geteuid() != 0 {
		modes["shut"] |= 0o700
		require.NotEmpty(t, u.Notes)
	}
	for name, mode := range modes {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(filepath.Join(dir, name), &st))
		assert.Equal(t, mode, st.Mode&0o7777, name)
		assert.Equal(t, stamp.Unix(), st.Mtim.Sec, name)
	}
	var a, b, holes unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(dir, "etc/conf"), &a))
	require.NoError(t, unix.Stat(filepath.Join(dir, "etc/same"), &b))
	assert.Equal(t, a.Ino, b.Ino)
	require.NoError(t, unix.Stat(filepath.Join(dir, "holes"), &holes))
	assert.Equal(t, int64(3<<20), holes.Size)
	assert.Less(t, holes.Blocks*512, int64(1<<20), "what is zero takes no room")
}

func TestUnpackKeepsAttributes(t *testing.T) {
	t.Parallel()
	u := must(t, layerOf(t, item{name: "f", xattrs: map[string]string{"user.a": "b\x01c"}}, item{name: "d/", xattrs: map[string]string{"user.d": "e"}}))
	var value [8]byte
	n, err := unix.Getxattr(filepath.Join(u.Dirs[0], "f"), "user.a", value[:])
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("no user attributes on " + u.Dirs[0])
	}
	require.NoError(t, err)
	assert.Equal(t, "b\x01c", string(value[:n]))
	_, err = unix.Getxattr(filepath.Join(u.Dirs[0], "d"), "user.d", value[:])
	require.NoError(t, err)
}

func TestUnpackOwners(t *testing.T) {
	t.Parallel()
	u := must(t, layerOf(t, item{name: "d/", uid: 7}, item{name: "d/f", uid: 1234}, item{name: "d/l", link: "f", uid: 99}, item{name: "d/s", uid: 8, mode: 0o6711}))
	want := map[string]uint32{"d": 7, "d/f": 1234, "d/l": 99, "d/s": 8}
	for name, uid := range want {
		if me := os.Geteuid(); me != 0 {
			uid = uint32(me)
		}
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(filepath.Join(u.Dirs[0], name), &st))
		assert.Equal(t, uid, st.Uid, name)
		if name == "d/s" {
			assert.Equal(t, uint32(0o6711), st.Mode&0o7777)
		}
	}
	for _, bad := range []int{-1, 1 << 31, 1<<32 - 1, 1 << 32} {
		h := item{name: "f"}.header()
		h.Uid = bad
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		h.Format = tar.FormatUnknown
		require.NoError(t, w.WriteHeader(h))
		require.NoError(t, w.Close())
		refused(t, image.ErrInvalid, b.Bytes())
	}
}

// Whiteouts and opaque directories, wherever in a layer they stand, hide what layers below have and nothing of their own.
func TestUnpackWhiteouts(t *testing.T) {
	t.Parallel()
	low := layerOf(t,
		item{name: "f", content: "low"}, item{name: "kept", content: "low"}, item{name: "d/", mode: 0o751, uid: 5}, item{name: "d/a", content: "low"}, item{name: "d/b", content: "low"},
		item{name: "o/x", content: "low"}, item{name: "o/sub/x", content: "low"}, item{name: "r/x", content: "low"}, item{name: "r2/x", content: "low"}, item{name: "l", link: "d"}, item{name: "s/", mode: 0o1777},
	)
	high := layerOf(t,
		item{name: ".wh.f"}, item{name: "d/.wh.a"}, item{name: "d/c", content: "high"}, item{name: "o/.wh..wh..opq"}, item{name: "o/y", content: "high"}, item{name: "o/sub/", mode: 0o700}, item{name: "o/.wh.x"},
		item{name: ".wh.r"}, item{name: "r/", mode: 0o700}, item{name: "r/new", content: "high"}, item{name: "r2/new", content: "high"}, item{name: ".wh.r2"}, item{name: ".wh.l"}, item{name: ".wh.never"}, item{name: "s/t", content: "high"},
		item{name: ".wh..wh.plnk/1.2", content: "aufs"}, item{name: ".wh..wh.aufs"},
	)
	u := must(t, low, high)
	want := map[string]string{
		"kept": "low", "d": "dir", "d/b": "low", "d/c": "high", "o": "dir", "o/y": "high", "o/sub": "dir", "r": "dir", "r/new": "high", "r2": "dir", "r2/new": "high", "s": "dir", "s/t": "high",
	}
	assert.Equal(t, want, shown(t, u.Dirs...))
	for _, gone := range []string{"never", "o/x"} {
		assert.NoFileExists(t, filepath.Join(u.Dirs[1], gone), "a whiteout of nothing would show")
	}
	for name, mode := range map[string]uint32{"d": 0o751, "s": 0o1777} {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(filepath.Join(u.Dirs[1], name), &st))
		assert.Equal(t, mode, st.Mode&0o7777, "%s, which the layer does not have itself", name)
		if os.Geteuid() == 0 && name == "d" {
			assert.Equal(t, uint32(5), st.Uid)
		}
	}
	root := layerOf(t, item{name: "d/only", content: "root"}, item{name: ".wh..wh..opq"})
	u = must(t, low, high, root)
	assert.Equal(t, map[string]string{"d": "dir", "d/only": "root"}, shown(t, u.Dirs...))
	again := layerOf(t, item{name: "f", content: "again"}, item{name: "kept/", mode: 0o755}, item{name: "d", content: "now a file"}, item{name: "r/x", content: "back"}, item{name: "d/.wh.b"})
	u = must(t, low, high, again)
	v := shown(t, u.Dirs...)
	assert.Equal(t, "again", v["f"])
	assert.Equal(t, "dir", v["kept"])
	assert.Equal(t, "now a file", v["d"])
	assert.NotContains(t, v, "d/b")
	assert.Equal(t, "back", v["r/x"])
}

func TestUnpackOnce(t *testing.T) {
	t.Parallel()
	s := storeIn(t)
	a, b := layerOf(t, item{name: "a"}), layerOf(t, item{name: "b", content: strings.Repeat("0123456789abcdef", 1<<18)})
	dir := imageOf(t, a, b)
	var seen []image.Progress
	note := image.WithProgress(func(p image.Progress) { seen = append(seen, p) })
	u, err := unpack(t, s, dir, note)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(seen), 4)
	last := seen[len(seen)-1]
	assert.True(t, last.Done)
	assert.Equal(t, last.Size, last.Read)
	assert.False(t, last.Stored)
	assert.Equal(t, 1, last.Layer)

	seen = nil
	again, err := unpack(t, s, dir, note)
	require.NoError(t, err)
	assert.Equal(t, u.Dirs, again.Dirs)
	require.Len(t, seen, 2)
	assert.True(t, seen[1].Stored)

	other, err := unpack(t, s, imageOf(t, a, layerOf(t, item{name: "c"})))
	require.NoError(t, err)
	assert.Equal(t, u.Dirs[0], other.Dirs[0], "a layer is shared")
	assert.NotEqual(t, u.Dirs[1], other.Dirs[1])
	gone, err := s.Prune()
	require.NoError(t, err)
	assert.Empty(t, gone)
	for _, h := range []*image.Unpacked{u, again, other} {
		h.Release()
	}
	gone, err = s.Prune()
	require.NoError(t, err)
	assert.Len(t, gone, 3)
}

// Many unpack the same images into one store at once (case 94, CVE-2025-47290): each sees whole layers.
func TestUnpackAtOnce(t *testing.T) {
	t.Parallel()
	s := storeIn(t)
	var items []item
	for i := range 50 {
		items = append(items, item{name: fmt.Sprint("d/", i), content: fmt.Sprint(i)})
	}
	base := layerOf(t, items...)
	dirs := []string{imageOf(t, base, layerOf(t, item{name: "d/.wh.1"})), imageOf(t, base, layerOf(t, item{name: "d/.wh..wh..opq"}))}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			img, err := image.Open(dirs[i%2], image.WithStore(s))
			if !assert.NoError(t, err) {
				return
			}
			defer img.Close()
			u, err := img.Unpack(context.Background())
			if !assert.NoError(t, err) {
				return
			}
			defer u.Release()
			assert.Len(t, shown(t, u.Dirs...), []int{50, 1}[i%2])
		})
	}
	wg.Wait()
}

// A canceled unpacking ends, and leaves nothing half-done.
func TestUnpackCanceled(t *testing.T) {
	t.Parallel()
	s := storeIn(t)
	dir := imageOf(t, layerOf(t, item{name: "first"}), layerOf(t, item{name: "big", content: strings.Repeat("0123456789abcdef", 1<<18)}))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	img, err := image.Open(dir, image.WithStore(s), image.WithProgress(func(p image.Progress) {
		if p.Layer == 1 {
			cancel(why)
		}
	}))
	require.NoError(t, err)
	defer img.Close()
	_, err = img.Unpack(ctx)
	require.ErrorIs(t, err, why)
	list, err := s.Layers()
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.False(t, list[0].InUse)
	left, err := os.ReadDir(filepath.Join(s.Dir, "tmp"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
