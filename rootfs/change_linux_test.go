package rootfs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// treeIn makes a directory from lines "PATH CONTENT": a path that ends in / is a directory, with content "opaque" an opaque one; content "-" is
// a whiteout, "->X" a link to X, "fifo" a FIFO, "socket" a socket.
func treeIn(t testing.TB, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	then := time.Unix(1e9, 5e8)
	for _, l := range lines {
		name, content, _ := strings.Cut(l, " ")
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case strings.HasSuffix(name, "/"):
			require.NoError(t, os.MkdirAll(p, 0o755))
			if content == "opaque" {
				if err := unix.Setxattr(p, "user.overlay.opaque", []byte("y"), 0); err != nil {
					t.Skipf("no user attributes here: %v", err)
				}
			}
			continue
		case content == "-":
			require.NoError(t, unix.Mknod(p, unix.S_IFCHR, 0))
		case strings.HasPrefix(content, "->"):
			require.NoError(t, os.Symlink(content[2:], p))
		case content == "fifo":
			require.NoError(t, unix.Mkfifo(p, 0o644))
		case content == "socket":
			require.NoError(t, unix.Mknod(p, unix.S_IFSOCK|0o644, 0))
		default:
			require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
		}
		ts := []unix.Timespec{unix.NsecToTimespec(then.UnixNano()), unix.NsecToTimespec(then.UnixNano())}
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	return dir
}

// changes lists a diff in the order of paths.
func changes(t testing.TB, d rootfs.Delta) (lines []string) {
	t.Helper()
	for c, err := range d.Changes() {
		require.NoError(t, err)
		lines = append(lines, c.String())
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	return lines
}

func TestDiff(t *testing.T) {
	t.Parallel()
	low := treeIn(t, "same 1", "changed 1", "longer 1", "gone 1", "link ->a", "moved ->a", "was-dir/in/deep 1", "was-file 1", "mode 1", "time 1", "pipe fifo",
		"d/kept 1", "d/gone 1", "opaque/hidden 1", "opaque/same 1", "opaque/sub/x 1", "covered/x 1", "attr 1", "fifo-file 1")
	mid := treeIn(t, "covered -", "opaque/again -", "opaque/mid 1", "d/mid 1", "whited 1")
	require.NoError(t, os.Chmod(filepath.Join(low, "pipe"), 0o600))
	upper := treeIn(t, "same 1", "changed 2", "longer 12", "gone -", "link ->a", "moved ->b", "was-dir 1", "was-file/in 1", "mode 1", "time 1", "pipe fifo",
		"d/gone -", "d/new 1", "d/never -", "opaque/ opaque", "opaque/same 1", "opaque/new 1", "covered/y 1", "attr 1", "fifo-file fifo", "new/", "new/deep/er 1", "whited -", "sock socket")
	require.NoError(t, os.Chmod(filepath.Join(upper, "pipe"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(upper, "mode"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(upper, "d"), 0o700))
	now := []unix.Timespec{{Sec: 2e9}, {Sec: 2e9}}
	require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(upper, "time"), now, 0))
	require.NoError(t, unix.Setxattr(filepath.Join(upper, "attr"), "user.mine", []byte("1"), 0))
	require.NoError(t, unix.Setxattr(filepath.Join(upper, "same"), "user.overlay.origin", []byte("1"), 0), "of overlayfs: no change")
	assert.Equal(t, []string{
		"C /attr (attributes)", "C /changed (content)", "A /covered", "A /covered/y", "C /d (mode)", "D /d/gone", "A /d/new", "C /fifo-file (type)", "D /gone",
		"C /longer (content)", "C /mode (mode)", "C /moved (content)", "A /new", "A /new/deep", "A /new/deep/er",
		"D /opaque/hidden", "D /opaque/mid", "A /opaque/new", "D /opaque/sub", "A /sock",
		"C /time (times)", "C /was-dir (type)", "C /was-file (type)", "A /was-file/in", "D /whited",
	}, changes(t, rootfs.Delta{Upper: upper, Lowers: []string{low, mid}}))
	assert.Equal(t, []string{"A /d", "A /d/new"}, slices.DeleteFunc(changes(t, rootfs.Delta{Upper: upper}), func(l string) bool {
		return !strings.HasPrefix(l[2:], "/d")
	}), "over nothing everything is new, and a whiteout nothing")
	skipped := changes(t, rootfs.Delta{Upper: upper, Lowers: []string{low, mid}, Skip: []string{"/d", "/opaque/hidden", "/gone"}})
	assert.NotContains(t, skipped, "A /d/new")
	assert.NotContains(t, skipped, "D /opaque/hidden")
	assert.NotContains(t, skipped, "D /gone")
	assert.Contains(t, skipped, "D /opaque/mid")
	for range rootfs.Diff(upper, low, mid) {
		break // a walk that is not wanted to its end holds nothing: the package checks
	}
}

// A file that was changed and given back its length and its time is a change still.
func TestDiffIsNotFooledByTimes(t *testing.T) {
	t.Parallel()
	low, upper := treeIn(t, "f aaaa"), treeIn(t, "f aaab")
	assert.Equal(t, []string{"C /f (content)"}, changes(t, rootfs.Delta{Upper: upper, Lowers: []string{low}}))
}

// Cases 14, 20 and 21: a FIFO, shut directories, odd names and a tree deeper than any path or limit of descriptors are listed, as what they are, without
// a link being followed.
func TestCase21DiffOfHostileTree(t *testing.T) {
	t.Parallel()
	secret := treeIn(t, "secret 1")
	upper := treeIn(t, "fifo fifo", "odd\n\x1b[2J\xff 1", "out ->"+secret, "out-dir/l ->"+secret+"/secret", "shut/in 1")
	require.NoError(t, os.Chmod(filepath.Join(upper, "shut"), 0))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(upper, "shut"), 0o700) })
	depth := 3000
	if testing.Short() {
		depth = 1100 // still more than a path may name, and than a process may have open
	}
	fd, err := unix.Open(upper, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for range depth {
		require.NoError(t, unix.Mkdirat(fd, "ddd", 0o755))
		next, err := unix.Openat(fd, "ddd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		_ = unix.Close(fd)
		fd = next
	}
	_ = unix.Close(fd)
	deepest, shut := 0, 0
	var lines []string
	for c, err := range rootfs.Diff(upper, secret) {
		if err != nil {
			require.Equal(t, "/shut", c.Path)
			require.ErrorIs(t, err, os.ErrPermission)
			shut++
			continue
		}
		deepest = max(deepest, strings.Count(c.Path, "/ddd"))
		if !strings.HasPrefix(c.Path, "/ddd") {
			lines = append(lines, c.String())
		}
	}
	assert.Equal(t, depth, deepest)
	assert.Contains(t, lines, `A "/odd\n\x1b[2J\xff"`)
	assert.Contains(t, lines, "A /fifo")
	assert.NotContains(t, strings.Join(lines, " "), "secret")
	if os.Geteuid() == 0 {
		assert.Contains(t, lines, "A /shut/in")
	} else {
		assert.Equal(t, 1, shut)
	}
}

// A layer that was committed makes, over the same layers, what the upper layer made, and neither sockets nor attributes of overlayfs get into it (case 97).
func TestCommit(t *testing.T) {
	t.Parallel()
	low := treeIn(t, "gone 1", "opaque/hidden 1", "d/a 1", "was-dir/x 1")
	upper := treeIn(t, "gone -", "never -", "opaque/ opaque", "opaque/new 1", "d/b 2", "link ->d/b", "pipe fifo", "sock socket", "was-dir 1", "skipped/x 1", "h/one 3")
	require.NoError(t, os.Link(filepath.Join(upper, "h", "one"), filepath.Join(upper, "h", "two")))
	require.NoError(t, os.Chmod(filepath.Join(upper, "d"), 0o500))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(upper, "d"), 0o700) })
	require.NoError(t, unix.Setxattr(filepath.Join(upper, "h", "one"), "user.mine", []byte("1"), 0))
	require.NoError(t, unix.Setxattr(filepath.Join(upper, "h"), "user.overlay.redirect", []byte("/etc"), 0))
	require.NoError(t, os.Truncate(filepath.Join(upper, "was-dir"), 1<<40)) // a hole of a terabyte
	d := rootfs.Delta{Upper: upper, Lowers: []string{low}, Skip: []string{"/skipped"}}
	parent := t.TempDir()
	dir := filepath.Join(parent, "layer")
	require.NoError(t, d.Commit(dir))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "d"), 0o700) })
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	assert.Len(t, entries, 1)

	want := slices.DeleteFunc(changes(t, d), func(l string) bool { return l == "A /sock" })
	d.Upper = dir
	assert.Equal(t, want, changes(t, d))
	assert.NoFileExists(t, filepath.Join(dir, "never"))
	assert.NoDirExists(t, filepath.Join(dir, "skipped"))
	var one, two, hole unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(dir, "h", "one"), &one))
	require.NoError(t, unix.Stat(filepath.Join(dir, "h", "two"), &two))
	assert.Equal(t, one.Ino, two.Ino)
	assert.Equal(t, unix.Timespec{Sec: 1e9, Nsec: 5e8}, one.Mtim)
	require.NoError(t, unix.Stat(filepath.Join(dir, "was-dir"), &hole))
	assert.Equal(t, int64(1<<40), hole.Size)
	assert.Less(t, hole.Blocks, int64(64))
	_, err = unix.Getxattr(filepath.Join(dir, "h"), "user.overlay.redirect", nil)
	assert.ErrorIs(t, err, unix.ENODATA)

	require.ErrorIs(t, d.Commit(dir), os.ErrExist)
	require.ErrorIs(t, d.Commit("relative"), os.ErrInvalid)
	require.ErrorIs(t, rootfs.Delta{Upper: "/no/such"}.Commit(filepath.Join(parent, "x")), os.ErrNotExist)
	entries, err = os.ReadDir(parent)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left of what failed")
}
