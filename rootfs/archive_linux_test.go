package rootfs_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs"
)

// entriesOf lists what an archive has: type, name, mode, target, content.
func entriesOf(t testing.TB, data []byte) (lines []string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%c %q %o %s%s", h.Typeflag, h.Name, h.Mode, h.Linkname, content)))
		if v := h.PAXRecords["SCHILY.xattr.user.mine"]; v != "" {
			lines[len(lines)-1] += " mine=" + v
		}
		for k := range h.PAXRecords {
			assert.NotContains(t, k, "overlay")
		}
		if h.Typeflag == tar.TypeReg && !strings.Contains(h.Name, ".wh.") {
			assert.Equal(t, int64(1e9*1e9+5e8), h.ModTime.UnixNano(), h.Name)
			assert.Equal(t, os.Geteuid(), h.Uid)
		}
	}
	return lines
}

// An archive has what the upper layer changes, as layers of images have it: whiteouts by name, before what is in an opaque directory its mark.
func TestWriteLayer(t *testing.T) {
	t.Parallel()
	low := treeIn(t, "gone 1", "opaque/hidden 1", "d/a 1", "was-dir/x 1")
	upper := treeIn(t, "gone -", "never -", "opaque/ opaque", "opaque/new 1", "new-opaque/ opaque", "d/b 2", "link ->d/b", "pipe fifo", "sock socket", "was-dir 1", "skipped/x 1", "h/one 3", "odd\n\xff\x1b 4")
	require.NoError(t, os.Link(filepath.Join(upper, "h", "one"), filepath.Join(upper, "h", "two")))
	require.NoError(t, os.Chmod(filepath.Join(upper, "d"), 0o500|os.ModeSticky))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(upper, "d"), 0o700) })
	require.NoError(t, unix.Setxattr(filepath.Join(upper, "h", "one"), "user.mine", []byte("1"), 0))
	require.NoError(t, unix.Setxattr(filepath.Join(upper, "h", "one"), "user.a=b", []byte("1"), 0))
	require.NoError(t, unix.Setxattr(filepath.Join(upper, "h"), "user.overlay.redirect", []byte("/etc"), 0))
	d := rootfs.Delta{Upper: upper, Lowers: []string{low}, Skip: []string{"/skipped"}}
	var b bytes.Buffer
	require.NoError(t, d.WriteLayer(&b))
	lines := entriesOf(t, b.Bytes())
	at := func(l string) int { return slices.Index(lines, l) }
	assert.Greater(t, at(`0 "opaque/new" 644 1`), at(`0 "opaque/.wh..wh..opq" 600`))
	assert.Greater(t, at(`0 "opaque/.wh..wh..opq" 600`), at(`5 "opaque/" 755`))
	one, two := at(`0 "h/one" 644 3 mine=1`), at(`1 "h/two" 644 h/one`)
	if one < 0 { // the file system has them in another order
		one, two = at(`0 "h/two" 644 3 mine=1`), at(`1 "h/one" 644 h/two`)
	}
	assert.GreaterOrEqual(t, one, 0)
	assert.Greater(t, two, one)
	rest := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.Contains(l, `"h/`) })
	slices.Sort(rest)
	assert.Equal(t, []string{
		`0 ".wh.gone" 600`, `0 "d/b" 644 2`, `0 "odd\n\xff\x1b" 644 4`, `0 "opaque/.wh..wh..opq" 600`, `0 "opaque/new" 644 1`, `0 "was-dir" 644 1`,
		`2 "link" 777 d/b`, `5 "d/" 1500`, `5 "new-opaque/" 755`, `5 "opaque/" 755`, `6 "pipe" 644`,
	}, rest)

	d.Owner = func(uid, gid uint32) (uint32, uint32) { return uid + 7, gid + 8 }
	b.Reset()
	require.NoError(t, d.WriteLayer(&b))
	r := tar.NewReader(&b)
	h, err := r.Next()
	for err == nil && strings.Contains(h.Name, ".wh.") { // nobody's; which comes first is the file system's affair
		h, err = r.Next()
	}
	require.NoError(t, err)
	assert.Equal(t, [2]int{os.Geteuid() + 7, os.Getegid() + 8}, [2]int{h.Uid, h.Gid})
}

type fullWriter struct{ room int }

func (w *fullWriter) Write(b []byte) (int, error) {
	if w.room -= len(b); w.room < 0 {
		return 0, unix.ENOSPC
	}
	return len(b), nil
}

// What would remove somebody else's file, or fill the host with holes, is refused; so is half an archive.
func TestWriteLayerRefuses(t *testing.T) {
	t.Parallel()
	low := treeIn(t, "f 1")
	for name, errno := range map[string]error{".wh.f": unix.EINVAL, ".wh..wh..opq": unix.EINVAL, "hole": unix.EFBIG} {
		upper := treeIn(t, "d/ -", "g 1", "d/"+name+" 1")
		if name == "hole" {
			require.NoError(t, os.Truncate(filepath.Join(upper, "d", name), 1<<40))
		}
		err := rootfs.Delta{Upper: upper, Lowers: []string{low}}.WriteLayer(io.Discard)
		require.ErrorIs(t, err, errno, name)
		assert.Contains(t, err.Error(), "/d/"+name)
	}
	d := rootfs.Delta{Upper: treeIn(t, "g 1"), Lowers: []string{low}}
	var whole bytes.Buffer
	require.NoError(t, d.WriteLayer(&whole), "the control")
	for room := 0; room < whole.Len(); room += 512 {
		require.ErrorIs(t, d.WriteLayer(&fullWriter{room}), unix.ENOSPC, room)
	}
	require.ErrorIs(t, rootfs.Delta{Upper: "/no/such"}.WriteLayer(io.Discard), os.ErrNotExist)
}
