package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mountedAt mounts a tmpfs on a new directory of the host for the length of the test.
func mountedAt(t testing.TB, dir string, flags uintptr) string {
	t.Helper()
	needRoot(t)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", flags&^unix.MS_RDONLY, "mode=0777,size=64k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("of the host"), 0o666))
	require.NoError(t, os.Chmod(filepath.Join(dir, "f"), 0o666))
	if flags&unix.MS_RDONLY != 0 {
		require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""))
	}
	return dir
}

// Case 9: a read-only bind is read-only in what is mounted below its source, too.
func TestCase9ReadOnlyBindWithWritableSubmount(t *testing.T) {
	t.Parallel()
	needKernelForMappedTmpfs(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	mountedAt(t, filepath.Join(dir, "sub"), 0)
	out, res := try(t, standing(t, WithBind(dir, "/data", ReadOnly)), "cat /data/sub/f && echo x > /data/sub/f")
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Contains(t, out, "of the host")
	assert.Contains(t, out, "ead-only")
	sh(t, standing(t, WithBind(dir, "/data")), "echo x > /data/sub/f") // the control
}

// Case 10: what is mounted on the host after a sandbox was made is not seen inside, nor the other way round.
func TestCase10MountEventsDoNotCross(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "in"), 0o777))
	sb := standing(t, append(unguarded(), WithBind(dir, "/data"))...)
	mountedAt(t, filepath.Join(dir, "late"), 0)
	out, res := try(t, sb, "cat /data/late/f")
	assert.NotEqual(t, 0, res.ExitCode, out)
	out, res = try(t, sb, "mount -t tmpfs none /data/in && echo x > /data/in/inside && echo mounted")
	if res.Verdict != OK {
		notExercised(t, "nothing can be mounted inside: %s", out)
	}
	assert.NoFileExists(t, filepath.Join(dir, "in", "inside"))
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(b), filepath.Join(dir, "in"))
	// Control: on the host the late mount is there, and a sandbox made after it has it.
	assert.FileExists(t, filepath.Join(dir, "late", "f"))
	needKernelForMappedTmpfs(t)
	assert.Equal(t, "of the host", sh(t, standing(t, WithBind(dir, "/data")), "cat /data/late/f"))
}

// Case 11: what a source's mount forbids stays forbidden on a bind that does not ask for it.
func TestCase11FlagsOfTheSourceStay(t *testing.T) {
	t.Parallel()
	needKernelForMappedTmpfs(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	locked := mountedAt(t, filepath.Join(dir, "locked"), unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY)
	free := mountedAt(t, filepath.Join(dir, "free"), 0)
	sb := standing(t, WithBind(locked, "/locked"), WithBind(free, "/free"))
	flags := func(at string) string {
		for _, l := range strings.Split(sh(t, sb, "cat /proc/self/mountinfo"), "\n") {
			if f := strings.Fields(l); f[4] == at {
				return f[5]
			}
		}
		t.Fatal("no mount at " + at)
		return ""
	}
	for _, want := range []string{"ro", "nosuid", "nodev", "noexec"} {
		assert.Contains(t, strings.Split(flags("/locked"), ","), want)
	}
	_, res := try(t, sb, "echo x > /locked/f")
	assert.NotEqual(t, 0, res.ExitCode)
	// Control: without them on the source, only what every bind has.
	assert.NotContains(t, flags("/free"), "noexec")
	sh(t, sb, "echo x > /free/f")
}

// needKernelForMappedTmpfs skips where a tmpfs cannot be mounted with mapped ids.
func needKernelForMappedTmpfs(t testing.TB) {
	t.Helper()
	needRoot(t)
	needKernel(t, 6, 3)
}
