package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"golang.org/x/sys/unix"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Case 71: what fills a place that the sandbox bounds, with bytes or with files, gets ENOSPC, and a command that ends for it is DiskExceeded. The controls are the same commands where there
// is room, and others that fail.
func TestCase71DiskExceeded(t *testing.T) {
	t.Parallel()
	l := layerIn(t, t.TempDir(), "l", [2]string{"data/file", "low"})
	require.NoError(t, os.Chmod(l+"/data", 0o777))
	root := append(layersOn(t, l), WithScratch("2m"))
	for name, c := range map[string]struct {
		opts   []Option
		script string
		want   Verdict
	}{
		"bytes":      {[]Option{WithTmpfs("/d", "1m")}, "head -c 2000000 /dev/zero > /d/f", DiskExceeded},
		"room":       {[]Option{WithTmpfs("/d", "4m")}, "head -c 2000000 /dev/zero > /d/f", OK},
		"files":      {root, "cd /data && seq 20000 | xargs touch", DiskExceeded},
		"scratch":    {root, "head -c 3000000 /dev/zero > /data/f", DiskExceeded},
		"shm":        {nil, "head -c 70000000 /dev/zero > /dev/shm/f", DiskExceeded},
		"elsewhere":  {[]Option{WithTmpfs("/d", "1m")}, "head -c 500000 /dev/zero > /d/f; exit 3", NonZeroExit},
		"ended well": {[]Option{WithTmpfs("/d", "1m")}, "head -c 2000000 /dev/zero > /d/f; true", OK},
		"freed":      {[]Option{WithTmpfs("/d", "1m")}, "head -c 2000000 /dev/zero > /d/f || { rm /d/f; exit 1; }", NonZeroExit},
		"signaled":   {[]Option{WithTmpfs("/d", "1m")}, "head -c 2000000 /dev/zero > /d/f; kill -ABRT $$", DiskExceeded},
		"read-only":  {nil, "echo > /usr/x", NonZeroExit},
	} {
		if name == "files" && testing.Short() {
			continue // 16384 of them take their time
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := standing(t, c.opts...)
			out, res := try(t, sb, c.script)
			assert.Equal(t, c.want, res.Verdict, out)
			if c.want == DiskExceeded {
				assert.Contains(t, out, "No space left")
				assert.EqualError(t, res.Err(), "disk exceeded")
				_, again := try(t, sb, "exit 1")
				assert.Equal(t, DiskExceeded, again.Verdict, "it is full still")
			}
		})
	}
}

// A command that is killed with its sandbox is not asked what was full.
func TestDiskOfAKilledSandbox(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithTmpfs("/d", "1m"))
	_, res := try(t, sb, "head -c 2000000 /dev/zero > /d/f")
	require.Equal(t, DiskExceeded, res.Verdict)
	c := sb.Command("/bin/sleep", "1000")
	require.NoError(t, c.Start(inTime(t)))
	require.NoError(t, sb.Kill())
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, res.Verdict)
	require.NoError(t, sb.Close())
	assert.False(t, sb.engine.diskFull(), "nobody to ask")
}

// The size of an upper layer and of a volume is a quota that the job can neither exceed nor leave, and a command that ends for it is DiskExceeded. The control is the same without a size.
func TestUpperWithSize(t *testing.T) {
	needRoot(t)
	disk := quotaDisk(t)
	l := layerIn(t, t.TempDir(), "l", [2]string{"data/file", "low"}, [2]string{"data/d/x", "low"})
	for _, d := range []string{"data", "data/d", "data/d/x", "data/file"} {
		require.NoError(t, os.Chmod(filepath.Join(l, d), 0o777))
		require.NoError(t, os.Chown(filepath.Join(l, d), 1000, 1000))
	}
	upper := filepath.Join(disk, "upper")
	const flood = "head -c 6000000 /dev/zero > /data/f && sync /data/f"
	v := rootfs.Volume{Name: "v", Store: filepath.Join(disk, "store"), Size: 2 << 20}
	opts := append(layersOn(t, l), WithUpper(upper, "4m"), WithVolume(v, "/v"))
	sb := standing(t, opts...)
	assert.Contains(t, sb.Report().String(), "with room for 4m")
	sh(t, sb, "echo high > /data/file; rm -r /data/d; mkdir /data/d; head -c 3000000 /dev/zero > /data/d/f; sync /data/d/f; rm /data/d/f")
	out, res := try(t, sb, flood)
	assert.Equal(t, DiskExceeded, res.Verdict, out)
	out, res = try(t, sb, "rm /data/f; exit 1")
	assert.Equal(t, NonZeroExit, res.Verdict, out)
	out, res = try(t, sb, "head -c 3000000 /dev/zero > /v/f && sync /v/f")
	assert.Equal(t, DiskExceeded, res.Verdict, out)
	if !testing.Short() { // 16384 files take their time
		out, res = try(t, sb, "rm /v/f; cd /data && seq 20000 | xargs touch")
		assert.Equal(t, DiskExceeded, res.Verdict, out)
	}
	assert.Contains(t, strings.Join(diffOf(t, sb), " "), "C /data/file")
	require.NoError(t, sb.Close())
	plain := standing(t, append(layersOn(t, l), WithUpper(filepath.Join(disk, "plain")))...)
	sh(t, plain, flood)

	again := standing(t, append(layersOn(t, l), WithUpper(upper))...)
	assert.Equal(t, "high", sh(t, again, "cat /data/file"))
	sh(t, again, flood)
	require.NoError(t, again.Close())
	require.NoError(t, v.Remove())
	_, err := newSpec([]Option{WithRootfs("/x"), WithUpper("/y", "1m"), WithHost(namespace.User), WithCredential(5, 5)})
	require.ErrorIs(t, err, ErrInvalid)
}

// quotaDisk mounts an ext4 with project quotas, made in a file.
func quotaDisk(t testing.TB) string {
	t.Helper()
	image, at := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 256<<20))
	out, err := exec.Command("mkfs.ext4", "-q", "-O", "quota,project", image).CombinedOutput()
	require.NoError(t, err, "%s", out)
	if out, err := exec.Command("mount", "-o", "loop,prjquota", image, at).CombinedOutput(); err != nil {
		t.Skipf("needs a kernel with project quotas: %s", out)
	}
	t.Cleanup(func() {
		var err error
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // the kernel lets go of what was closed a moment later
			if err = unix.Unmount(at, 0); err != unix.EBUSY {
				break
			}
		}
		require.NoError(t, err)
	})
	return at
}

// Where there are no quotas a size is refused, with what to do.
func TestUpperSizeIsRefused(t *testing.T) {
	t.Parallel()
	upper, opts := upperOn(t)
	opts[len(opts)-1] = WithUpper(upper, "1m")
	sb, err := New(opts...)
	if err == nil {
		require.NoError(t, sb.Close())
		t.Skip("the folder for tests is on a file system with project quotas")
	}
	assert.True(t, errors.Is(err, ErrUnsupported) || errors.Is(err, ErrPermission), "%v", err)
	assert.NoDirExists(t, upper)
	for _, size := range []string{"0", "max", "much"} {
		_, err := newSpec([]Option{WithRootfs("/x"), WithUpper("/y", size)})
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err = newSpec([]Option{WithRootfs("/x"), WithUpper("/y", "1m", "2m")})
	require.ErrorIs(t, err, ErrInvalid)
}
