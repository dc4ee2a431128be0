package sandbox

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProcIsMasked(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	root := standing(t, unguarded()...)
	shown := 0
	for _, p := range rootfs.MaskedPaths() {
		info, err := os.Stat(p)
		if err != nil {
			continue
		}
		if b, err := head(p); err == nil && len(b) > 0 || info.IsDir() {
			shown++ // the control: it has content on the host
		}
		for _, sb := range []*Sandbox{sb, root} {
			if info.IsDir() {
				assert.Empty(t, sh(t, sb, "ls -A "+p), p)
				_, res := try(t, sb, "echo > "+p+"/x")
				assert.NotEqual(t, 0, res.ExitCode, p)
				continue
			}
			assert.Empty(t, sh(t, sb, "head -c 100 "+p), p)
		}
	}
	if shown == 0 {
		notExercised(t, "this kernel has none of the paths that are masked")
	}
}

func head(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 100))
}

func TestProcCannotBeWritten(t *testing.T) {
	t.Parallel()
	needRoot(t)
	root := standing(t, unguarded()...)
	for _, p := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
		"/proc/sysrq-trigger", "/proc/sys/user/max_user_namespaces", "/proc/sys/net/ipv4/ip_forward",
	} {
		if _, err := os.Stat(p); err != nil {
			continue
		}
		out, res := try(t, root, "echo 1 > "+p)
		assert.NotEqual(t, 0, res.ExitCode, p)
		assert.Contains(t, out, "ead-only", p)
	}
	// Control: what is not made read-only can be written to by this root.
	sh(t, root, "echo 0 > /proc/self/oom_score_adj || echo 100 > /proc/self/oom_score_adj")
}

// Masks stay on: neither taken away nor avoided by a fresh proc. Even all capabilities do not help, since the mounts
// belong to a user namespace above... of the sandbox's, whose locked mounts cannot be revealed.
func TestProcStaysMasked(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for _, a := range []string{
		"umount /proc/keys", "umount -l /proc", "mount -t proc proc /tmp", "mount -o remount,rw /proc/sys", "unshare -Urm true",
		"unshare -rm sh -c 'umount /proc/keys'",
	} {
		out, res := try(t, sb, a)
		assert.NotEqual(t, 0, res.ExitCode, a+out)
	}
	// Control: a root of the sandbox to whom the caller gave all power can mount.
	root := standing(t, unguarded()...)
	out, res := try(t, root, "mount -t tmpfs none /tmp && echo mounted")
	if res.Verdict != OK {
		notExercised(t, "not even with all capabilities can anything be mounted: %s", out)
	}
}

func TestNoCgroupfsAndNoSysfs(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	assert.NotContains(t, sh(t, sb, "cat /proc/self/mountinfo"), " - cgroup")
	assert.NotContains(t, sh(t, sb, "cat /proc/self/mountinfo"), " - sysfs")
	_, res := try(t, sb, "ls /sys/fs/cgroup")
	assert.NotEqual(t, 0, res.ExitCode)
	for _, l := range strings.Split(sh(t, sb, "cat /proc/self/cgroup"), "\n") {
		assert.True(t, strings.HasSuffix(l, ":/") || strings.HasPrefix(l, "0::/"), "sees where it is in the host's tree: "+l)
		assert.NotContains(t, l, "job-")
	}
	own, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	if !strings.Contains(string(own), " - cgroup") {
		notExercised(t, "the host has no cgroupfs either")
	}
}

// What PID 1 has is closed to the job, and to a root inside with every capability (CVE-2016-9962).
func TestInitIsClosed(t *testing.T) {
	t.Parallel()
	boxes := map[string]*Sandbox{"job": standing(t), "root": standing(t, WithCredential(0, 0))}
	if os.Geteuid() == 0 {
		boxes["all capabilities"] = standing(t, unguarded()...)
	}
	for name, sb := range boxes {
		for _, p := range []string{"exe", "root", "cwd"} {
			out, res := try(t, sb, "readlink /proc/1/"+p)
			assert.NotEqual(t, 0, res.ExitCode, "%s: %s: %s", name, p, out)
		}
		for _, p := range []string{"environ", "maps", "mem", "auxv", "stack", "fd/0"} {
			out, res := try(t, sb, "head -c1 /proc/1/"+p)
			assert.NotEqual(t, 0, res.ExitCode, "%s: %s: %q", name, p, out)
		}
		out, res := try(t, sb, "echo > /proc/1/mem || cp /bin/true /proc/1/exe || readlink /proc/1/fd/0")
		assert.NotEqual(t, 0, res.ExitCode, name+out)
		_, _ = try(t, sb, "kill -9 1; kill -STOP 1")
		assert.Equal(t, "alive", sh(t, sb, "echo alive"), name)
	}
	// Control: a process of the job's own opens.
	assert.Equal(t, "/usr/bin/sleep", sh(t, boxes["job"], "sleep 100 & until readlink -f /proc/$!/exe | grep sleep; do sleep 0.01; done"))
}

// The program of PID 1 is the library's own, not the host program's.
func TestInitIsNotTheHostProgram(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", sb.PID()))
	if err != nil {
		needRoot(t)
		require.NoError(t, err)
	}
	own, err := os.Stat("/proc/self/exe")
	require.NoError(t, err)
	// The kernel tells of an exec a moment before the process has its new memory (exec_mmap in fs/exec.c).
	eventually(t, "PID 1 runs a program of its own", func() bool {
		exe, err = os.Stat(fmt.Sprintf("/proc/%d/exe", sb.PID()))
		return err == nil && !os.SameFile(own, exe)
	})
	assert.Less(t, exe.Size(), int64(4096))
	eventually(t, "it has its own arguments", func() bool {
		return strings.TrimRight(sh(t, sb, "cat /proc/1/cmdline | tr '\\0' ' '"), " ") == "pause"
	})
}

// A program that is a link to /proc/self/exe, or whose interpreter is that, would be the host program's binary, for until execve the process
// is a clone of the zygote (CVE-2019-5736).
func TestHostBinaryCannotBeExecuted(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t, func(dir string) {
		require.NoError(t, os.Symlink("/proc/self/exe", dir+"/evil"))
	})
	for name, sb := range map[string]*Sandbox{
		"default root": standing(t), "rootfs": standing(t, append(opts, WithTmpfs("/box", "1m"))...),
		"root": standing(t, append(unguarded(), WithTmpfs("/box", "1m"))...), "time": standing(t, BestEffort(WithTime(1e9))),
	} {
		sh(t, sb, "cd /box; printf '#!/proc/self/exe\\n' > script; chmod +x script; ln -s /proc/self/exe link; ln -s /proc/self link2")
		for _, path := range []string{"/box/script", "/box/link", "/box/link2/exe", "/proc/self/exe", "/proc/self/fd/3", "/evil"} {
			c := sb.Command(path)
			c.Env = []string{partEnv + "=reveal"}
			out, err := c.CombinedOutput(inTime(t))
			assert.Error(t, err, "%s: %s", name, path)
			assert.Empty(t, string(out), "%s: %s", name, path)
		}
		// Control: the link works once the process is the job's own.
		assert.Equal(t, "hi", sh(t, sb, `cat > /box/c <<'E'
exec /proc/self/exe -c 'echo hi'
E
sh /box/c`), name)
	}
	assert.Equal(t, "the host program", outside(t, "reveal"), "control: outside it is this program")
}

func init() { parts["reveal"] = func([]string) { fmt.Println("the host program") } }
