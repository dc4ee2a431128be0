package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// openDir is a directory of the host that everybody may write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	return dir
}

func TestWithBind(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prog"), []byte("#!/bin/sh\necho ran\n"), 0o755))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("content"), 0o644))
	sb := standing(t, WithBind(dir, "/rw"), WithBind(dir, "/ro", ReadOnly), WithBind(dir, "/data", NoExec), WithBind(file, "/deep/er/file", ReadOnly),
		WithBind(filepath.Join(dir, "none"), "/none", Optional))
	assert.Equal(t, "ran", sh(t, sb, "/rw/prog"))
	assert.Equal(t, "content", sh(t, sb, "cat /deep/er/file"))
	sh(t, sb, "echo new > /rw/made")
	for _, a := range []string{"echo > /ro/x", "rm /ro/file", "echo > /deep/er/file", "rm /deep/er/file", "/data/prog", "ls /none", "touch /ro/prog", "chmod 777 /ro/prog"} {
		out, res := try(t, sb, a)
		assert.NotEqual(t, 0, res.ExitCode, a+out)
	}
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(filepath.Join(dir, "made"), &st))
	if os.Geteuid() == 0 {
		assert.EqualValues(t, 1000, st.Uid, "the job's id inside is the id on the disk")
		require.NoError(t, os.Chown(file, 1000, 1000))
		assert.Equal(t, "1000 1000", sh(t, sb, "stat -c '%u %g' /rw/file"))
	}
	_, err := New(WithBind(filepath.Join(dir, "none"), "/none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "WithBind")
	best := standing(t, BestEffort(WithBind(filepath.Join(dir, "none"), "/none")))
	assert.Equal(t, "alive", sh(t, best, "echo alive"))
}

// A mount below a bind is as read-only as the bind, and keeps what its own mount forbids.
func TestWithBindOfMounts(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needKernel(t, 6, 3) // whose tmpfs can map ids
	dir := openDir(t)
	sub := filepath.Join(dir, "sub")
	require.NoError(t, os.Mkdir(sub, 0o755))
	if err := unix.Mount("belljar-test", sub, "tmpfs", unix.MS_NOEXEC|unix.MS_RELATIME, "size=1m,mode=1777"); err != nil {
		notExercised(t, "nothing can be mounted: %v", err)
	}
	defer unix.Unmount(sub, unix.MNT_DETACH)
	require.NoError(t, os.WriteFile(filepath.Join(sub, "prog"), []byte("#!/bin/sh\necho ran\n"), 0o755))
	sb := standing(t, WithBind(dir, "/ro", ReadOnly), WithBind(dir, "/rw"))
	sh(t, sb, "echo x > /rw/sub/x") // the control
	out, res := try(t, sb, "echo x > /ro/sub/y")
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Contains(t, out, "ead-only")
	out, res = try(t, sb, "/rw/sub/prog")
	assert.NotEqual(t, 0, res.ExitCode, "noexec of the source is kept: "+out)
	assert.Contains(t, sh(t, sb, "grep ' /rw/sub ' /proc/self/mountinfo"), "nosuid,nodev,noexec")
	// Mounts made later cross neither way.
	late := filepath.Join(dir, "late")
	require.NoError(t, os.Mkdir(late, 0o777))
	require.NoError(t, unix.Mount("belljar-test", late, "tmpfs", 0, "size=1m"))
	defer unix.Unmount(late, unix.MNT_DETACH)
	require.NoError(t, os.WriteFile(filepath.Join(late, "seen"), nil, 0o644))
	assert.Empty(t, sh(t, sb, "ls /rw/late"))
	root := standing(t, append(unguarded(), WithBind(dir, "/rw"))...)
	sh(t, root, "mkdir /rw/inside && mount -t tmpfs none /rw/inside && touch /rw/inside/f && ls /rw/inside/f")
	assert.NoFileExists(t, filepath.Join(dir, "inside", "f"))
}

func TestWithRootfs(t *testing.T) {
	t.Parallel()
	dir, opts := tinyRoot(t, func(dir string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "marker"), []byte("of the root"), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600))
	})
	sb := standing(t, append(opts, WithTmpfs("/tmp", "1m"), WithFile("/etc/made", []byte("made"), 0o640))...)
	assert.Equal(t, "of the root made", sh(t, sb, "cat /marker; echo ' '$(cat /etc/made)"))
	assert.Equal(t, "/", sh(t, sb, "pwd"))
	out, res := try(t, sb, "echo > /marker")
	assert.NotEqual(t, 0, res.ExitCode, out)
	if os.Geteuid() == 0 {
		_, res = try(t, sb, "cat /secret")
		assert.NotEqual(t, 0, res.ExitCode)
	}
	assert.NoFileExists(t, filepath.Join(dir, "etc/made"), "nothing is written to the root itself")
	for path, want := range map[string]error{filepath.Join(dir, "none"): os.ErrNotExist, filepath.Join(dir, "marker"): syscall.ENOTDIR} {
		_, err := New(WithRootfs(path))
		assert.ErrorIs(t, err, want)
		assert.ErrorContains(t, err, "WithRootfs")
	}
	empty := t.TempDir()
	require.NoError(t, os.Chmod(empty, 0o755))
	if sb, err := New(WithRootfs(empty)); err == nil {
		_, err = sb.Run(inTime(t), "/bin/sh")
		assert.ErrorIs(t, err, os.ErrNotExist)
		require.NoError(t, sb.Close())
	} else {
		var e *Error
		assert.ErrorAs(t, err, &e)
	}
}

func TestWithFileAndTmpfs(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 3<<20)
	sb := standing(t, WithFile("/etc/f", []byte("data"), 0o600), WithFile("/etc/prog", []byte("#!/bin/sh\necho ran\n"), 0o755), WithFile("/opt/big", []byte(big), 0),
		WithFile("/box/in", nil, 0), WithTmpfs("/data", "2m"))
	assert.Equal(t, "600 1000 data ran 3145728 0 1777", sh(t, sb, "echo $(stat -c '%a %u' /etc/f) $(cat /etc/f) $(/etc/prog) $(stat -c %s /opt/big) $(stat -c %s /box/in) $(stat -c %a /data)"))
	assert.Contains(t, sh(t, sb, "grep ' /data ' /proc/self/mountinfo"), "size=2048k")
}

func TestWithNames(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithHostname("glass"), WithHosts(map[string]string{"db.test": "192.0.2.7"}), WithResolvConf("192.0.2.53"), WithName("unit"))
	assert.Equal(t, "glass", sh(t, sb, "hostname"))
	hosts := sh(t, sb, "cat /etc/hosts")
	for _, want := range []string{"192.0.2.7", "db.test", "glass", "localhost"} {
		assert.Contains(t, hosts, want)
	}
	assert.Equal(t, "nameserver 192.0.2.53", sh(t, sb, "cat /etc/resolv.conf"))
	assert.Equal(t, "belljar", sh(t, standing(t), "hostname"))
	assert.Equal(t, "job:1000:job:1000", sh(t, sb, "echo $(id -un):$(id -u):$(id -gn):$(id -g)"))
}

func TestWithTime(t *testing.T) {
	t.Parallel()
	if !kernelAtLeast(6, 2) {
		best := standing(t, BestEffort(WithTime(time.Hour)))
		assert.Contains(t, best.Report().String(), "given up: WithTime")
		_, err := New(WithTime(time.Hour))
		assert.ErrorIs(t, err, ErrUnsupported)
		return
	}
	sb, err := New(WithTime(1000 * time.Hour))
	if os.Geteuid() != 0 && err != nil {
		skip(t, "needs root: "+err.Error())
	}
	require.NoError(t, err)
	defer sb.Close()
	up := func(sb *Sandbox) (hours int) {
		return int(must(time.ParseDuration(strings.Split(sh(t, sb, "cat /proc/uptime"), " ")[0] + "s")).Hours())
	}
	host := up(standing(t))
	for range 5 { // however they are started
		assert.InDelta(t, host+1000, up(sb), 2)
	}
	assert.Equal(t, sh(t, standing(t), "date +%Y"), sh(t, sb, "date +%Y"), "the real-time clock is the host's")
	res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 3")
	require.NoError(t, err)
	assert.Equal(t, 3, res.ExitCode)
	_, err = sb.Run(inTime(t), "/no/such")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// WithHost opens one namespace and no other.
func TestWithHost(t *testing.T) {
	t.Parallel()
	files := map[namespace.Kind]string{
		namespace.User: "user", namespace.PID: "pid", namespace.Mount: "mnt", namespace.UTS: "uts", namespace.IPC: "ipc", namespace.Net: "net", namespace.Cgroup: "cgroup",
	}
	links := func(sb *Sandbox) map[string]string {
		return values(sh(t, sb, "for n in user pid mnt uts ipc net cgroup; do echo $n=$(readlink /proc/self/ns/$n); done"))
	}
	own := links(standing(t))
	for kind, file := range files {
		host, err := os.Readlink("/proc/self/ns/" + file)
		require.NoError(t, err)
		assert.NotEqual(t, host, own[file], file)
		t.Run(file, func(t *testing.T) {
			opts := []Option{WithHost(kind)}
			if kind == namespace.User {
				needRoot(t)
				opts = append(opts, WithCredential(1000, 1000))
			}
			sb, err := New(opts...)
			if err != nil {
				needRoot(t)
				require.NoError(t, err)
			}
			defer sb.Close()
			for other, link := range links(sb) {
				theirs, err := os.Readlink("/proc/self/ns/" + other)
				require.NoError(t, err)
				assert.Equal(t, other == file, link == theirs, other)
			}
			_, res := try(t, sb, "exit 4")
			assert.Equal(t, 4, res.ExitCode)
			assert.Equal(t, noCaps, status(t, sb)["CapEff"])
		})
	}
}

func TestBestEffortIsReported(t *testing.T) {
	t.Parallel()
	// A source that is not there is what every host lacks.
	sb := standing(t, BestEffort(WithMemory("64m")), BestEffort(WithPids(10)), BestEffort(WithHostname("x")))
	text := sb.Report().String()
	for _, want := range []string{"WithMemory", "WithPids"} {
		given := strings.Contains(text, "given up: "+want)
		enforced := strings.Contains(text, "enforced: "+strings.ToLower(strings.TrimPrefix(want, "With"))+":")
		assert.NotEqual(t, given, enforced, "%s is either enforced or named: %s", want, text)
	}
	assert.NotEmpty(t, sb.Report().Stages)
	assert.Contains(t, sb.Plan(), "pivot_root")
}

// A file system that cannot map ids is read as far as everybody may, and the report says so.
func TestReportOfUnmappedFiles(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := openDir(t)
	sb := standing(t, WithBind("/proc/version", "/data/version", ReadOnly), WithBind(dir, "/data/dir", ReadOnly))
	notes := strings.Join(sb.Report().Notes, "\n")
	assert.Contains(t, notes, "/proc/version: its file system cannot map ids (EINVAL)")
	assert.NotContains(t, notes, dir, "the control: this one can")
	assert.NotEmpty(t, sh(t, sb, "cat /data/version"))
}
