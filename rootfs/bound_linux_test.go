package rootfs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// An ordinary file system, without quotas, or an ordinary user: a bound is refused, and what it was for is not made.
func TestBoundIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h, err := rootfs.HoldUpper(filepath.Join(dir, "upper"), -1, -1)
	require.NoError(t, err)
	defer h.Undo()
	err = h.Bound(rootfs.Bound{Bytes: 1 << 20, Files: 100})
	if err == nil {
		t.Skip("the folder for tests is on a file system with project quotas")
	}
	assert.True(t, errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission), "%v", err)
	v := rootfs.Volume{Name: "v", Store: filepath.Join(dir, "store"), Size: 1 << 20}
	_, err = v.Hold(-1, -1)
	require.Error(t, err)
	assert.NoDirExists(t, v.Path())
	require.ErrorIs(t, rootfs.Volume{Dir: "/x", Size: 1}.Validate(), os.ErrInvalid)
	require.ErrorIs(t, rootfs.Volume{Name: "x", Size: -1}.Validate(), os.ErrInvalid)
}

// quotaDisk mounts a file system with project quotas, made in a file, and returns where.
func quotaDisk(t testing.TB, kind string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("changing mounts needs root")
	}
	image, at := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 512<<20))
	mkfs := map[string][]string{"ext4": {"mkfs.ext4", "-q", "-O", "quota,project", image}, "xfs": {"mkfs.xfs", "-q", image}}[kind]
	if out, err := exec.Command(mkfs[0], mkfs[1:]...).CombinedOutput(); err != nil {
		t.Skipf("needs %s: %v %s", mkfs[0], err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop,prjquota", image, at).CombinedOutput(); err != nil {
		t.Skipf("needs a kernel with project quotas on %s: %s", kind, out)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, 0)) })
	for _, d := range []string{at, filepath.Dir(at)} {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	return at
}

// fill writes to a file until it cannot, and returns how much it wrote and why it stopped.
func fill(t testing.TB, path string, most int64) (int64, error) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	buf := make([]byte, 64<<10)
	for n := int64(0); n < most; {
		w, err := f.Write(buf)
		n += int64(w)
		if err != nil {
			return n, err
		}
	}
	return most, f.Sync()
}

// asNobody runs as another user than root, who is above quotas.
func asNobody(t testing.TB, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "--"}, args...)...).CombinedOutput()
	return string(out), err
}

// A bound is enforced by the kernel, holds for what was there before, ends with the release and can be set again; two directories have different ones.
func TestBound(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			disk := quotaDisk(t, kind)
			upper, other := filepath.Join(disk, "upper"), filepath.Join(disk, "other")
			require.NoError(t, os.MkdirAll(filepath.Join(upper, "d"), 0o777))
			require.NoError(t, os.Chmod(filepath.Join(upper, "d"), 0o777))
			_, err := fill(t, filepath.Join(upper, "d", "before"), 3<<20)
			require.NoError(t, err)
			h, err := rootfs.HoldUpper(upper, -1, -1)
			require.NoError(t, err)
			defer h.Release()
			require.NoError(t, h.Bound(rootfs.Bound{Bytes: 8 << 20, Files: 50}))
			o, err := rootfs.HoldUpper(other, -1, -1)
			require.NoError(t, err)
			defer o.Release()
			require.NoError(t, o.Bound(rootfs.Bound{Bytes: 8 << 20, Files: 50}))

			write := func(mb string) error {
				out, err := asNobody(t, "dd", "if=/dev/zero", "of="+filepath.Join(upper, "d", "f"), "bs=1M", "count="+mb, "conv=fsync")
				if err != nil {
					err = fmt.Errorf("%w: %s", err, out)
				}
				return err
			}
			require.NoError(t, write("4"), "there is room for 4 beside the 3 that were there")
			require.Error(t, write("7"))
			var st unix.Statfs_t
			require.NoError(t, unix.Statfs(upper, &st))
			assert.LessOrEqual(t, st.Bavail*uint64(st.Bsize), uint64(64<<10), "what is left shows in statfs")
			out, err := asNobody(t, "sh", "-c", "rm "+upper+"/d/f; cd "+upper+"/d && seq 100 | xargs touch")
			require.Error(t, err, out)
			_, err = asNobody(t, "sh", "-c", "rm "+upper+"/d/[0-9]*")
			require.NoError(t, err)
			// The work directory counts for the same, or nothing could be moved out of it.
			require.NoError(t, os.WriteFile(filepath.Join(disk, h.Work, "x"), nil, 0o644))
			require.NoError(t, os.Rename(filepath.Join(disk, h.Work, "x"), filepath.Join(upper, "x")))
			require.ErrorIs(t, unix.Rename(filepath.Join(upper, "x"), filepath.Join(other, "x")), unix.EXDEV, "other's project is another")
			h.Release()
			require.NoError(t, write("7"), "the bound has ended")
			again, err := rootfs.HoldUpper(upper, -1, -1)
			require.NoError(t, err)
			defer again.Release()
			require.NoError(t, again.Bound(rootfs.Bound{Bytes: 8 << 20, Files: 50}))
			require.Error(t, write("7"))

			v := rootfs.Volume{Name: "v", Store: filepath.Join(disk, "store"), Size: 4 << 20}
			held, err := v.Hold(65534, 65534)
			require.NoError(t, err)
			require.NoError(t, os.Chmod(v.Store, 0o755))
			require.NoError(t, os.Chmod(filepath.Dir(v.Path()), 0o755))
			_, err = asNobody(t, "dd", "if=/dev/zero", "of="+filepath.Join(v.Path(), "f"), "bs=1M", "count=5", "conv=fsync")
			require.Error(t, err)
			v.Size = 6 << 20
			more, err := v.Hold(65534, 65534)
			require.NoError(t, err)
			_, err = asNobody(t, "dd", "if=/dev/zero", "of="+filepath.Join(v.Path(), "f"), "bs=1M", "count=5", "conv=fsync")
			require.NoError(t, err, "the latest size counts")
			held.Release()
			more.Release()
			require.NoError(t, v.Remove())
		})
	}
}
