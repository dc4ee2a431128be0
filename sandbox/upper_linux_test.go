package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// upperOn is the options of a root with the host's programs and a layer with a directory /data that the job may write to, under an upper layer, whose
// path is returned.
func upperOn(t testing.TB, more ...Option) (string, []Option) {
	t.Helper()
	dir := t.TempDir()
	l := layerIn(t, dir, "l", [2]string{"data/file", "low"}, [2]string{"data/gone", "low"}, [2]string{"data/d/low", "low"})
	for _, d := range []string{"data", "data/file", "data/gone", "data/d"} {
		require.NoError(t, os.Chmod(filepath.Join(l, d), 0o777))
		if os.Geteuid() == 0 {
			require.NoError(t, os.Chown(filepath.Join(l, d), 1000, 1000))
		}
	}
	upper := filepath.Join(dir, "upper")
	return upper, append(append(layersOn(t, l), WithUpper(upper)), more...)
}

// names lists a directory.
func list(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What a job writes is kept in the upper layer, found by the next sandbox with whatever ids it has on the host, and changes nothing below. Beside it nothing is left. The control is
// the same without the layer, where nothing can be written.
func TestUpperIsKept(t *testing.T) {
	t.Parallel()
	upper, opts := upperOn(t)
	const change = "cd /data && echo high > file && rm gone && rm -r d && mkdir d && echo new > d/new && umask 077 && echo mine > mine && cat file d/* mine && ls d"
	out, res := try(t, standing(t, opts[:len(opts)-1]...), change)
	if os.Geteuid() == 0 {
		assert.NotEqual(t, 0, res.ExitCode, "the control: %s", out)
	}
	sb := standing(t, opts...)
	assert.Equal(t, "high\nnew\nmine\nnew", sh(t, sb, change))
	assert.Contains(t, sb.Report().String(), "which is kept")
	require.NoError(t, sb.Close())
	assert.Equal(t, []string{"l", "upper"}, list(t, filepath.Dir(upper)), "no work directory is left")
	assert.Equal(t, []string{"data"}, list(t, upper), "nothing of ours is in it")

	again := standing(t, opts...)
	assert.Equal(t, "high\nnew\nmine", sh(t, again, "cd /data && cat file d/* mine"))
	assert.Equal(t, "d file mine", sh(t, again, "echo $(ls /data)"))
	assert.Equal(t, "1000:1000 600", sh(t, again, "stat -c '%u:%g %a' /data/mine"))
	sh(t, again, "echo more >> /data/mine")
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(upper, "data", "mine"), &st))
	want := uint32(os.Geteuid())
	if want == 0 {
		want = 1000
	}
	assert.Equal(t, want, st.Uid, "on disk")
	b, err := os.ReadFile(filepath.Join(filepath.Dir(upper), "l", "data", "file"))
	require.NoError(t, err)
	assert.Equal(t, "low", string(b))
}

// Two sandboxes never have the same upper layer, and one that ended, was restarted or could not be made does not have it.
func TestUpperBelongsToOne(t *testing.T) {
	t.Parallel()
	upper, opts := upperOn(t)
	sb := standing(t, opts...)
	_, err := New(opts...)
	require.ErrorIs(t, err, rootfs.ErrUpperInUse)
	require.ErrorIs(t, err, unix.EBUSY)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, upper, e.Path)
	sh(t, sb, "echo still > /data/works")
	require.NoError(t, sb.Restart(inTime(t)))
	assert.Equal(t, "still", sh(t, sb, "cat /data/works"))
	_, err = New(opts...)
	require.ErrorIs(t, err, rootfs.ErrUpperInUse, "after a restart too")
	require.NoError(t, sb.Close())
	_, err = New(append(opts, WithBind("/no/such/file", "/x"))...)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, "still", sh(t, standing(t, opts...), "cat /data/works"))
}

// A sandbox that cannot be made leaves neither the layer nor a work directory.
func TestUpperOfAFailedSandbox(t *testing.T) {
	t.Parallel()
	upper, opts := upperOn(t)
	_, err := New(append(opts, WithBind("/no/such/file", "/x"))...)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, []string{"l"}, list(t, filepath.Dir(upper)))
	sb := standing(t, opts...) // the control
	assert.DirExists(t, upper)
	require.NoError(t, sb.Close())
	assert.DirExists(t, upper, "it is kept, even empty")
}

// A path of an upper layer is never parsed (case 17).
func TestCase17UpperWithOddPath(t *testing.T) {
	t.Parallel()
	odd := []string{":c,d\ne\\f,upperdir=x\"", "a:b", "c,d", `e\f`, "g\nh", " ", `\:k`, "#"}
	if testing.Short() {
		odd = odd[:1]
	}
	for _, name := range odd {
		dir := t.TempDir()
		l := layerIn(t, dir, "l", [2]string{"data/file", "low"})
		require.NoError(t, os.Chmod(filepath.Join(l, "data"), 0o777))
		upper := filepath.Join(dir, name)
		sb := standing(t, append(layersOn(t, l), WithUpper(upper))...)
		sh(t, sb, "echo x > /data/new")
		assert.NotContains(t, sh(t, sb, "cat /proc/self/mountinfo"), dir, "the host's paths do not show")
		require.NoError(t, sb.Close())
		assert.FileExists(t, filepath.Join(upper, "data", "new"), "%q", name)
		assert.Len(t, list(t, dir), 2)
	}
}

// Files of the sandbox's own and mount points are seen over whatever the layers have, may be written to by a job with the right to, and never get into the upper
// layer; not even those of a sandbox before are in the way.
func TestUpperStaysFreeOfOurs(t *testing.T) {
	t.Parallel()
	upper, opts := upperOn(t, WithTmpfs("/made/tmp", "1m"), WithBind(os.DevNull, "/made/null", ReadOnly), WithHosts(map[string]string{"a.example": "192.0.2.7"}),
		WithResolvConf("192.0.2.1"), WithFile("/data/given", []byte("given\n"), 0o666), WithFile("/data/file", []byte("over\n"), 0o666))
	l := filepath.Join(filepath.Dir(upper), "l")
	require.NoError(t, os.MkdirAll(filepath.Join(l, "etc"), 0o755))
	require.NoError(t, os.Symlink("../run/no/such", filepath.Join(l, "etc", "resolv.conf")))
	require.NoError(t, os.WriteFile(filepath.Join(l, "etc", "hosts"), []byte("of the image"), 0o644))
	look := func(sb *Sandbox) {
		t.Helper()
		assert.Contains(t, sh(t, sb, "cat /etc/hosts"), "192.0.2.7\ta.example")
		assert.Equal(t, "nameserver 192.0.2.1\nbelljar", sh(t, sb, "cat /etc/resolv.conf /etc/hostname"))
		assert.Equal(t, "given\nover", sh(t, sb, "cat /data/given /data/file"))
		assert.Equal(t, "low", sh(t, sb, "cat /data/gone"))
	}
	sb := standing(t, opts...)
	look(sb)
	sh(t, sb, "echo changed > /data/given; echo changed > /data/file; echo > /made/tmp/x; ! rm /data/given")
	assert.Equal(t, "changed", sh(t, sb, "cat /data/given"))
	require.NoError(t, sb.Close())
	assert.Empty(t, list(t, upper), "everything the job did was to files of ours")

	if os.Geteuid() != 0 {
		return // mount points would be made by root inside, and the test could not remove them
	}
	// What another left at those places in the layer, a link or a whiteout, does not change what is seen.
	require.NoError(t, os.Mkdir(filepath.Join(upper, "etc"), 0o755))
	require.NoError(t, os.Symlink("/data/gone", filepath.Join(upper, "etc", "hosts")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(upper, "etc", "hostname")))
	require.NoError(t, unix.Mknod(filepath.Join(upper, "etc", "resolv.conf"), unix.S_IFCHR, 0))
	require.NoError(t, unix.Mknod(filepath.Join(upper, "made"), unix.S_IFCHR, 0))
	look(standing(t, opts...))
}

func init() {
	hosts["upper"] = func(args []string) {
		check(Prepare())
		sayZygote()
		sb, err := New(WithRootfs(args[0]), WithUpper(args[1]))
		check(err)
		check(sb.WriteFile("/tmp/left", nil, 0o644))
		say("ready")
		sleep()
	}
}

// A host program that is killed leaves its layer to others at once, with what was written, and no work directory: the zygote sees to it (case 80).
func TestUpperOfAKilledHost(t *testing.T) {
	t.Parallel()
	base, _ := tinyRoot(t)
	require.NoError(t, os.Chmod(filepath.Join(base, "tmp"), 0o777))
	dir := t.TempDir()
	upper := filepath.Join(dir, "upper")
	h := startHost(t, "upper "+base+" "+upper)
	assert.Len(t, list(t, dir), 2, "the control: a work directory")
	_, err := rootfs.HoldUpper(upper, -1, -1)
	require.ErrorIs(t, err, rootfs.ErrUpperInUse)
	h.kill()
	eventually(t, "nothing beside the layer", func() bool { return len(list(t, dir)) == 1 })
	eventually(t, "the layer is free", func() bool { // its lock goes with the zygote, a moment later
		held, err := rootfs.HoldUpper(upper, -1, -1)
		if err == nil {
			held.Release()
		}
		return err == nil
	})
	assert.FileExists(t, filepath.Join(upper, "tmp", "left"))
}

func TestUpperIsChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, opts := range [][]Option{
		{WithUpper(dir)},
		{WithRootfs(dir), WithUpper("")},
		{WithRootfs(dir), WithUpper("/")},
		{WithRootfs(dir), WithUpper(dir)},
		{WithRootfs(dir), WithUpper(filepath.Join(dir, "in"))},
		{WithRootfs(filepath.Join(dir, "in")), WithUpper(dir)},
		{WithRootfs(dir), WithUpper("/a"), WithUpper("/b")},
		{WithRootfs(dir), WithUpper("/a"), WithScratch("1m")},
	} {
		_, err := newSpec(opts)
		require.ErrorIs(t, err, ErrInvalid)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	base, opts := tinyRoot(t)
	require.NoError(t, os.Symlink(base, filepath.Join(dir, "link")))
	_, err := New(append(opts, WithUpper(filepath.Join(dir, "link", "tmp")))...)
	require.ErrorIs(t, err, ErrInvalid, "by a link it is in the root after all")
	for path, want := range map[string]error{
		filepath.Join(dir, "file"): unix.ENOTDIR, filepath.Join(dir, "no", "such"): unix.ENOENT, "/proc": unix.EXDEV,
	} {
		_, err := New(append(opts, WithUpper(path))...)
		require.ErrorIs(t, err, want)
		assert.ErrorContains(t, err, "WithUpper")
	}
}
