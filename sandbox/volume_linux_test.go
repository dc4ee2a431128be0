package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// volumeIn is a named volume in a store of the test's own.
func volumeIn(t testing.TB, name string) rootfs.Volume {
	return rootfs.Volume{Name: name, Store: filepath.Join(t.TempDir(), "store")}
}

func TestVolumeIsSharedAndStays(t *testing.T) {
	t.Parallel()
	v := volumeIn(t, "cache")
	a, b := standing(t, WithVolume(v, "/data")), standing(t, WithVolume(v, "/elsewhere"))
	sh(t, a, "echo one > /data/f")
	assert.Equal(t, "one", sh(t, b, "cat /elsewhere/f"), "seen at once")
	sh(t, b, "echo two >> /elsewhere/f")
	assert.Equal(t, "one\ntwo", sh(t, a, "cat /data/f"), "and the other way")
	assert.Equal(t, "1000 1000", sh(t, b, "stat -c '%u %g' /elsewhere/f"))
	info, err := os.Stat(filepath.Join(v.Path(), "f"))
	require.NoError(t, err)
	want := uint32(os.Geteuid())
	if want == 0 {
		want = 1000 // each sandbox has a range of its own, and the file none of them
	}
	assert.Equal(t, want, info.Sys().(*syscall.Stat_t).Uid)
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	c := standing(t, WithVolume(v, "/data", ReadOnly))
	assert.Equal(t, "one\ntwo", sh(t, c, "cat /data/f"), "it lives on")
	out, res := try(t, c, "echo three > /data/f")
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Contains(t, out, "ead-only")
	out, res = try(t, standing(t, WithVolume(v, "/data", NoExec)), "cp /bin/true /data/t && /data/t")
	assert.NotEqual(t, 0, res.ExitCode, out)
	sh(t, standing(t, WithVolume(v, "/data")), "/data/t") // the control
}

func TestVolumeInUseIsNotRemoved(t *testing.T) {
	t.Parallel()
	v := volumeIn(t, "busy")
	sb := standing(t, WithVolume(v, "/data"))
	require.ErrorIs(t, v.Remove(), rootfs.ErrVolumeInUse)
	sh(t, sb, "mkdir -p /data/a/b && chmod 0 /data/a") // what not even its owner may enter
	require.NoError(t, sb.Restart(inTime(t)))
	require.ErrorIs(t, v.Remove(), rootfs.ErrVolumeInUse, "still, after a restart")
	require.NoError(t, sb.Close())
	list, err := rootfs.Volumes(v.Store)
	require.NoError(t, err)
	assert.Equal(t, []rootfs.Volume{v}, list)
	require.NoError(t, v.Remove())
	assert.NoDirExists(t, v.Path())
	require.ErrorIs(t, v.Remove(), os.ErrNotExist)
	list, err = rootfs.Volumes(v.Store)
	require.NoError(t, err)
	assert.Empty(t, list)
}

// A sandbox that cannot be made leaves neither a volume nor a directory, and holds none.
func TestVolumeOfAFailedSandbox(t *testing.T) {
	t.Parallel()
	v, dir := volumeIn(t, "failed"), filepath.Join(t.TempDir(), "a", "b")
	_, err := New(WithVolume(v, "/data"), WithBind(dir, "/made", Create), WithBind("/no/such/file", "/x"))
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.NoDirExists(t, v.Path())
	assert.NoDirExists(t, filepath.Dir(dir))
	_, err = New(WithVolume(rootfs.HostVolume(dir), "/data"))
	require.ErrorIs(t, err, os.ErrNotExist, "a directory of the host has to exist")
	// Control: they are made for one that works, and what was there before stays after one that does not.
	sb := standing(t, WithVolume(v, "/data"), WithBind(dir, "/made", Create))
	sh(t, sb, "echo mine > /made/f && echo mine > /data/f")
	require.NoError(t, sb.Close())
	assert.FileExists(t, filepath.Join(dir, "f"))
	_, err = New(WithVolume(v, "/data"), WithBind("/no/such/file", "/x"))
	require.Error(t, err)
	assert.FileExists(t, filepath.Join(v.Path(), "f"))
}

// What is mounted in a bind needs a place there: none is made on the host, in a bind that may be written to neither.
func TestBindMakesNoMountPoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	for _, flags := range []rootfs.Flags{0, ReadOnly} {
		for _, o := range []Option{WithTmpfs("/data/sub", "1m"), WithTmpfs("/data/a/b", "1m"), WithBind("/usr", "/data/usr", ReadOnly), WithBind("/etc/passwd", "/data/file", ReadOnly)} {
			_, err := New(WithBind(dir, "/data", flags), o)
			require.ErrorIs(t, err, os.ErrNotExist)
			assert.Contains(t, err.Error(), "nothing is made on the host")
		}
	}
	v := volumeIn(t, "points")
	_, err := New(WithVolume(v, "/data"), WithTmpfs("/data/sub", "1m"))
	require.ErrorIs(t, err, os.ErrNotExist)
	made, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, made)
	// Control: where there is a place it is used.
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	sb := standing(t, WithBind(dir, "/data"), WithTmpfs("/data/a/b", "1m"), WithTmpfs("/data/a/b/made/in/memory", "1m"))
	assert.Equal(t, "memory", sh(t, sb, "ls /data/a/b/made/in"))
	made, err = os.ReadDir(filepath.Join(dir, "a", "b"))
	require.NoError(t, err)
	assert.Empty(t, made)
}

// Without being asked to, a bind makes nothing on the host.
func TestBindMakesNoSource(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "missing")
	for _, o := range []Option{WithBind(dir, "/x"), BestEffort(WithBind(dir, "/x")), WithBind(dir, "/x", Optional)} {
		sb, err := New(o)
		if err == nil {
			require.NoError(t, sb.Close())
		}
		assert.NoDirExists(t, dir)
	}
}

func TestVolumeMistakes(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Option{
		"nothing": WithVolume(rootfs.Volume{}, "/data"), "both": WithVolume(rootfs.Volume{Name: "a", Dir: "/b"}, "/data"),
		"dots": WithVolume(rootfs.NamedVolume("../x"), "/data"), "slash": WithVolume(rootfs.NamedVolume("a/b"), "/data"),
		"dot": WithVolume(rootfs.NamedVolume("."), "/data"), "optional": WithVolume(rootfs.NamedVolume("a"), "/data", Optional),
		"proc": WithVolume(rootfs.NamedVolume("a"), "/proc/x"), "create optional": WithBind("/a", "/b", Optional, Create),
	} {
		_, err := New(o)
		assert.ErrorIs(t, err, ErrInvalid, name)
	}
}

// Cases 19 to 21: what a job leaves in a volume, a tree deeper than any path and names with newlines in directories that nobody may enter, is
// removed with it, and nothing that a link in it leads to.
func TestCase21VolumeWithDeepTreeIsRemoved(t *testing.T) {
	t.Parallel()
	needsTool(t, "/usr/bin/perl")
	v, outside := volumeIn(t, "deep"), t.TempDir()
	precious := filepath.Join(outside, "precious")
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	depth := "10000"
	if testing.Short() {
		depth = "1500" // more than descriptors
	}
	// Landlock looks at every directory above for each that is made, which takes a minute here on a busy machine and is nothing to do with what is tested.
	sb := standing(t, WithVolume(v, "/data"), WithoutLandlock())
	sh(t, sb, `perl -e 'chdir "/data"; symlink("`+outside+`", "link\n") or die; mkdir "odd\n\377" or die; for (1..`+depth+`) { mkdir "x" or die $!; chdir "x" or die $! } chmod 0, "."'`)
	sh(t, sb, "mkdir -p /data/shut/in; chmod 0 /data/shut")
	require.NoError(t, sb.Close())
	require.DirExists(t, filepath.Join(v.Path(), "x", "x"), "the control: it is there")
	require.NoError(t, v.Remove())
	assert.NoDirExists(t, v.Path())
	assert.FileExists(t, precious)
}

// Case 19: a job leaves links in its volume to a directory of the host's, by names that somebody may touch. A sandbox that takes the volume next gives nothing away by them, and with the volume only the links go
// (CVE-2024-28185, CVE-2024-28189). Control: what goes by path does reach the host's file.
func TestCase19LinksInAVolume(t *testing.T) {
	t.Parallel()
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.Mkdir(victim, 0o700))
	file := filepath.Join(victim, "file")
	require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
	was, err := os.Stat(file)
	require.NoError(t, err)
	v := volumeIn(t, "links")
	sb := standing(t, WithVolume(v, "/data"))
	sh(t, sb, fmt.Sprintf("cd /data && ln -s %s dir && ln -s %s file && ln -s %s lock && mkdir -p a/b && ln -s ../../../../../../../../..%s a/b/up && chmod 777 a", victim, file, file, victim))
	require.NoError(t, sb.Close())
	unharmed := func(when string) {
		t.Helper()
		now, err := os.Stat(file)
		require.NoError(t, err, when)
		assert.Equal(t, was.Sys().(*syscall.Stat_t).Uid, now.Sys().(*syscall.Stat_t).Uid, when)
		assert.Equal(t, was.Mode(), now.Mode(), when)
		data, err := os.ReadFile(file)
		require.NoError(t, err, when)
		assert.Equal(t, "precious", string(data), when)
	}
	next := standing(t, WithVolume(v, "/data"))
	out, res := try(t, next, "cat /data/file /data/dir/file /data/a/b/up/file")
	assert.NotZero(t, res.ExitCode, out)
	assert.NotContains(t, out, "precious")
	require.Error(t, next.WriteFile("/data/file", []byte("x"), 0o644), "what the link says does not exist inside")
	require.NoError(t, next.Close())
	unharmed("taken by another")
	data, err := os.ReadFile(filepath.Join(v.Path(), "dir", "file"))
	require.NoError(t, err)
	assert.Equal(t, "precious", string(data), "the control")
	require.NoError(t, v.Remove())
	assert.NoDirExists(t, v.Path())
	unharmed("removed")
}
