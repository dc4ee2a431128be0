package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/namespace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A root that comes from somebody else may have links where the library mounts: they are followed inside, so the mount is either inside the
// root or refused (CVE-2019-19921, CVE-2026-41579, CVE-2024-45310).
func TestRootWithHostileMountPoints(t *testing.T) {
	t.Parallel()
	host := t.TempDir() // where an escape would show
	hostile := func(target, link string) func(string) {
		return func(dir string) {
			_ = os.RemoveAll(filepath.Join(dir, target))
			require.NoError(t, os.Symlink(link, filepath.Join(dir, target)))
		}
	}
	for _, c := range []struct {
		name   string
		change func(string)
		opts   []Option
	}{
		{"proc absolute", hostile("proc", host), nil},
		{"proc relative", hostile("proc", strings.Repeat("../", 20)+host), nil},
		{"proc loop", hostile("proc", "proc"), nil},
		{"dev absolute", hostile("dev", host), nil},
		{"bind target", hostile("box", host), []Option{WithBind(os.DevNull, "/box/f")}},
		{"tmpfs target dangling", hostile("tmp", filepath.Join(host, "dangling")), []Option{WithTmpfs("/tmp", "1m")}},
		{"file through link", hostile("etc", host), []Option{WithFile("/etc/made", []byte("x"), 0)}},
		{"resolv.conf absolute", func(dir string) {
			require.NoError(t, os.Symlink(filepath.Join(host, "resolv.conf"), filepath.Join(dir, "etc/resolv.conf")))
		}, []Option{WithResolvConf("192.0.2.1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, opts := tinyRoot(t, c.change)
			sb, err := New(append(opts, c.opts...)...)
			if err == nil {
				// A link into the root itself is fine as long as what was asked for is there.
				out, _ := try(t, sb, "cat /proc/self/comm; test -c /dev/null && echo null")
				assert.Equal(t, "cat\nnull", out)
				require.NoError(t, sb.Close())
			} else {
				var e *Error
				require.ErrorAs(t, err, &e)
				t.Log(err)
			}
			made, err := os.ReadDir(host)
			require.NoError(t, err)
			assert.Empty(t, made, "made on the host")
		})
	}
	// Control: the same link followed without a root does lead there.
	dir, _ := tinyRoot(t, hostile("proc", host))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "proc", "control"), nil, 0o644))
	assert.FileExists(t, filepath.Join(host, "control"))
}

// A path that a racing owner of the root turns from directory to link and back never leads out (CVE-2021-30465).
func TestRootWithSwappedMountPoint(t *testing.T) {
	t.Parallel()
	host := t.TempDir()
	dir, opts := tinyRoot(t, func(dir string) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, "a"), 0o755))
		require.NoError(t, os.Symlink(host, filepath.Join(dir, "b")))
	})
	stop, swapped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				swapped <- n
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "a"), unix.AT_FDCWD, filepath.Join(dir, "b"), unix.RENAME_EXCHANGE)
				n++
			}
		}
	}()
	secret := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(secret, "f"), nil, 0o644))
	inside := 0
	for range 15 {
		sb, err := New(append(opts, WithBind(secret, "/a", ReadOnly))...)
		if err != nil {
			continue
		}
		inside++
		require.NoError(t, sb.Close())
	}
	close(stop)
	assert.Positive(t, <-swapped)
	made, err := os.ReadDir(host)
	require.NoError(t, err)
	assert.Empty(t, made)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), host)
	t.Logf("%d of 15 were made", inside)
}

func TestRootHasNoWayOut(t *testing.T) {
	t.Parallel()
	secretDir, err := os.MkdirTemp("/tmp", "belljar-test") // whose parents everybody may pass
	require.NoError(t, err)
	defer os.RemoveAll(secretDir)
	secret := filepath.Join(secretDir, "secret")
	require.NoError(t, os.Chmod(secretDir, 0o755))
	require.NoError(t, os.WriteFile(secret, []byte("of the host"), 0o644))
	up := strings.Repeat("../", 30)
	attacks := []string{
		"cat " + secret,
		"cat " + up + secret,
		"cat /proc/1/root" + secret,
		"cat /proc/1/cwd/" + up + secret,
		"cat /proc/self/root/" + up + secret,
		"ln -s " + secret + " /tmp/l; cat /tmp/l",
		"cat /proc/self/fd/*/" + secret,
		"cd /proc/self/cwd/" + up + " && cat ." + secret,
	}
	plain := standing(t)
	_, opts := tinyRoot(t)
	rooted := standing(t, opts...)
	host := standing(t, WithHost(namespace.Mount))
	for _, a := range attacks {
		for name, sb := range map[string]*Sandbox{"default root": plain, "rootfs": rooted} {
			out, res := try(t, sb, a)
			assert.NotEqual(t, OK, res.Verdict, "%s: %s", name, a)
			assert.NotContains(t, out, "of the host", "%s: %s", name, a)
		}
	}
	out, _ := try(t, host, attacks[0])
	if out != "of the host" {
		notExercised(t, "even with the host's mounts the file cannot be read: %s", out)
	}
}

// After the pivot no mount of the host is left, and the root cannot be unmounted.
func TestRootHasNoOldRoot(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	inside := sh(t, sb, "cut -d' ' -f5 /proc/self/mountinfo")
	for _, point := range strings.Fields(inside) {
		ok := false
		for _, known := range []string{"/usr", "/bin", "/sbin", "/lib", "/etc/", "/proc", "/dev", "/tmp", "/box"} {
			ok = ok || point == "/" || strings.HasPrefix(point, known)
		}
		assert.True(t, ok, point)
	}
	assert.Equal(t, "/", strings.Fields(inside)[0])
	for _, p := range []string{"/sys", "/root", "/home", "/var", "/run", "/boot", "/mnt", "/.old"} {
		_, res := try(t, sb, "ls "+p)
		assert.NotEqual(t, 0, res.ExitCode, p)
	}
	out, res := try(t, sb, "umount -l /; mount -t tmpfs none /tmp; mount --bind / /tmp")
	assert.NotEqual(t, 0, res.ExitCode, out)
}

// What the root has is read-only, mounted nosuid and nodev; what is writable is the job's scratch.
func TestRootIsReadOnly(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for _, p := range []string{"/x", "/usr/x", "/etc/x", "/dev/x", "/proc/x"} {
		out, res := try(t, sb, "echo > "+p)
		assert.NotEqual(t, 0, res.ExitCode, p+out)
	}
	sh(t, sb, "echo > /tmp/x; echo > /box/x; echo > /dev/shm/x")
	for _, l := range strings.Split(sh(t, sb, "cat /proc/self/mountinfo"), "\n") {
		f := strings.Fields(l)
		assert.Contains(t, f[5], "nosuid", l)
		// The few nodes of /dev, and /dev/null over what is masked, have to work.
		if f[3] != "/null" && (!strings.HasPrefix(f[4], "/dev") || f[4] == "/dev/shm") {
			assert.Contains(t, f[5], "nodev", l)
		}
	}
	// Root inside may not write either: the mounts are read-only, not just the modes.
	root := standing(t, append(unguarded(), WithFile("/etc/mine", nil, 0o666))...)
	for _, p := range []string{"/x", "/usr/x", "/etc/mine", "/proc/sys/kernel/domainname"} {
		out, res := try(t, root, "echo > "+p)
		assert.NotEqual(t, 0, res.ExitCode, p)
		assert.Contains(t, out, "ead-only", p)
	}
}

// Another user's setuid program, file capabilities and device nodes on a bind do nothing.
func TestBindsGainNothing(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	data, err := os.ReadFile("/usr/bin/id")
	require.NoError(t, err)
	suid := filepath.Join(dir, "id")
	require.NoError(t, os.WriteFile(suid, data, 0o755))
	require.NoError(t, os.Chmod(suid, os.ModeSetuid|os.ModeSetgid|0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "caps"), data, 0o755))
	// cap_dac_override=ep, revision 2 (capabilities(7)).
	caps := []byte{1, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	capsErr := unix.Setxattr(filepath.Join(dir, "caps"), "security.capability", caps, 0)
	null := filepath.Join(dir, "zero")
	nodeErr := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
	_ = os.Chmod(null, 0o666)

	sb := standing(t, WithBind(dir, "/data"))
	assert.Equal(t, "1000", sh(t, sb, "/data/id -u"))
	assert.Equal(t, "1000", sh(t, sb, "/data/id -g"))
	assert.Contains(t, sh(t, sb, "cp /data/id /box/id; chmod 6755 /box/id; /box/id -u"), "1000")
	if capsErr == nil {
		assert.Equal(t, "1000", sh(t, sb, "/data/caps -u"))
	}
	if nodeErr != nil {
		notExercised(t, "mknod: %v", nodeErr)
	}
	f, err := os.Open(null)
	if err != nil {
		notExercised(t, "the node does not work on the host either: %v", err)
	}
	require.NoError(t, f.Close()) // the control
	out, res := try(t, sb, "head -c1 /data/zero")
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Contains(t, out, "ermission denied")
	out, res = try(t, standing(t, append(unguarded(), WithBind(dir, "/data"))...), "head -c1 /data/zero; mknod /tmp/n c 1 5")
	assert.NotEqual(t, 0, res.ExitCode, out)
}
