package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	// A host program of its own, in the cgroup it was put into.
	parts["contained"] = func(args []string) {
		err := playHost()
		if err != nil {
			fmt.Printf("error=%v\nexplain=%s\n", err, Explain(err))
		}
		stopZygote()
		where, _ := os.ReadFile("/proc/self/cgroup")
		fmt.Printf("after=%s\n", strings.ReplaceAll(strings.TrimSpace(string(where)), "\n", " "))
	}
}

func playHost() error {
	var opts []Option
	if to := os.Getenv("PARENT"); to != "" {
		opts = append(opts, WithCgroupParent(to))
	}
	limits := []Option{WithMemory("64m"), WithPids(3)}
	if os.Getenv("SOFT") != "" {
		limits = []Option{BestEffort(limits[0]), BestEffort(limits[1])}
	}
	if os.Getenv("BEFORE") != "" { // a sandbox without limits stands already, and is busy
		sb, err := New()
		if err != nil {
			return err
		}
		defer sb.Close()
		cmd := sb.Command("/bin/sleep", "100")
		if err := cmd.Start(context.Background()); err != nil {
			return err
		}
	}
	if os.Getenv("KILLED") != "" {
		sb, err := New(append(opts, limits...)...)
		if err != nil {
			return err
		}
		z, err := currentZygote()
		if err != nil {
			return err
		}
		if err := unix.Kill(z.pid, unix.SIGKILL); err != nil {
			return err
		}
		if err := errors.Join(sb.Wait(), sb.Close()); err != nil {
			return err
		}
	}
	sb, err := New(append(opts, limits...)...)
	if err != nil {
		return err
	}
	for _, g := range sb.Report().GivenUp {
		fmt.Printf("lost-%s=%v\n", g.Option, g.Reason)
	}
	where, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	fmt.Printf("during=%s\n", strings.ReplaceAll(strings.TrimSpace(string(where)), "\n", " "))
	res, err := sb.Command("/bin/sh", "-c", "i=0; while [ $i -lt 6 ]; do sleep 100 & i=$((i+1)); done").Run(context.Background())
	if err != nil {
		return err
	}
	fmt.Printf("code=%d\npeak=%d\n", res.ExitCode, res.Usage.PeakMemory)
	return sb.Close()
}

// container runs a host program as a container's runtime would: in a group of its own that is the top of what its cgroup
// namespace shows, mounted at the usual place. It returns what the program printed, and the directories of the group outside.
func container(t *testing.T, flags, before string, env ...string) (map[string]string, []string) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "needs root to make a container")
	}
	h, err := cgroup.Detect()
	require.NoError(t, err)
	_, dirs := namedGroup(t, "-container")
	script := "set -e\n"
	for _, d := range dirs {
		script += "echo $$ >" + d + "/cgroup.procs\n"
	}
	script += before + "\nexec unshare --cgroup --mount sh -ec '\n"
	for _, y := range h.Hierarchies {
		if y.Version == 2 && len(h.Hierarchies) > 1 || y.Unusable != "" {
			continue
		}
		script += "umount -l " + y.Mount + "\n" // nothing of the host's view remains
		if y.Version == 2 {
			script += "mount -t cgroup2 cgroup2 " + y.Mount + "\n"
		} else {
			script += "mount -t cgroup -o " + mountedAs(t, y.Mount) + " cgroup " + y.Mount + "\n"
		}
		script += "mount -o remount,bind," + flags + " " + y.Mount + "\n"
	}
	script += "exec \"$0\"'" + ` "$0"`
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(inTime(t), "/bin/sh", "-c", script, exe)
	cmd.Env = append(append(os.Environ(), env...), partEnv+"=contained")
	out, err := cmd.CombinedOutput()
	if err != nil {
		emptied(t, dirs)
	}
	require.NoError(t, err, string(out))
	t.Logf("%s", out)
	return values(string(out)), dirs
}

// mountedAs is the option that names the controllers of a v1 mount.
func mountedAs(t *testing.T, mount string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	for _, l := range strings.Split(string(b), "\n") {
		f := strings.Fields(l)
		if len(f) < 4 || f[1] != mount {
			continue
		}
		var names []string
		for _, o := range strings.Split(f[3], ",") {
			if o != "rw" && o != "ro" && o != "relatime" && o != "nosuid" && o != "nodev" && o != "noexec" && o != "clone_children" && !strings.HasPrefix(o, "xattr") {
				names = append(names, o)
			}
		}
		return strings.Join(names, ",")
	}
	t.Fatal("not mounted: " + mount)
	return ""
}

// A container's program is alone in the top group that it sees. On v2 it has to step aside there, and comes back; v1 has no such rule.
func TestContainer(t *testing.T) {
	for _, parent := range []string{"", "/"} {
		t.Run("parent "+parent, func(t *testing.T) {
			out, dirs := container(t, "rw", "", "PARENT="+parent)
			require.Empty(t, out["error"])
			assert.NotEqual(t, "0", out["code"], "the limit holds")
			assert.NotEmpty(t, out["peak"])
			backAgain(t, out, dirs)
		})
	}
}

// Where that is impossible the limits are given up by name, and nothing has been moved.
func TestContainerBestEffortInTheWay(t *testing.T) {
	out, dirs := container(t, "rw", "sleep 100 >/dev/null 2>&1 & echo other=$!", "SOFT=1")
	require.Empty(t, out["error"])
	if len(dirs) == 1 {
		assert.Equal(t, "0", out["code"], "control: there is no limit")
		for _, o := range []string{"WithPids", "WithMemory"} {
			assert.Contains(t, out["lost-"+o], "pids "+out["other"]+" are in")
		}
		assert.Equal(t, "0::/", out["during"])
	}
	emptied(t, dirs)
}

// A sandbox that was made before the first with limits has its PID 1 in the way. It belongs to the program and moves along. Limits that are
// best effort are tried as hard.
func TestContainerSandboxBefore(t *testing.T) {
	out, dirs := container(t, "rw", "", "BEFORE=1", "SOFT=1")
	require.Empty(t, out["error"])
	assert.Empty(t, out["lost-WithPids"]+out["lost-WithMemory"])
	assert.NotEqual(t, "0", out["code"], "the limit holds")
	backAgain(t, out, dirs)
}

// The zygote that stepped aside with the program is killed: the next one's sandboxes have their limits, and it takes the program back.
func TestContainerZygoteKilled(t *testing.T) {
	out, dirs := container(t, "rw", "", "KILLED=1")
	require.Empty(t, out["error"])
	assert.NotEqual(t, "0", out["code"], "the limit holds")
	backAgain(t, out, dirs)
}

// backAgain looks whether a program that stepped aside has left everything as it was.
func backAgain(t *testing.T, out map[string]string, dirs []string) {
	t.Helper()
	if len(dirs) == 1 {
		assert.Contains(t, out["during"], "0::/belljar-host-")
		assert.Equal(t, "0::/", out["after"])
		left, err := os.ReadFile(dirs[0] + "/cgroup.subtree_control")
		require.NoError(t, err)
		assert.Empty(t, strings.TrimSpace(string(left)))
	} else {
		assert.Equal(t, out["after"], out["during"])
	}
	assert.NotContains(t, out["after"], "belljar")
	for _, d := range dirs {
		left, _ := filepath.Glob(d + "/belljar*")
		assert.Empty(t, left)
	}
}

// Whoever else is in the container's group is named, and what to do with it.
func TestContainerInTheWay(t *testing.T) {
	out, dirs := container(t, "rw", "sleep 100 >/dev/null 2>&1 & echo other=$!")
	if len(dirs) > 1 {
		require.Empty(t, out["error"], "v1 has no such rule")
	} else {
		assert.Contains(t, out["error"], out["other"])
		assert.Contains(t, out["explain"], "into a group of their own")
		assert.NotContains(t, out["explain"], "no such cgroup controller")
	}
	emptied(t, dirs)
}

// Containers have their cgroups read-only by default.
func TestContainerReadOnly(t *testing.T) {
	out, _ := container(t, "ro", "")
	assert.Contains(t, out["error"], "read-only file system")
	assert.Contains(t, out["error"], "cgroup: ")
	assert.Contains(t, out["explain"], "--cgroupns=private")
}

// emptied ends what a test put into groups, and waits until it is gone.
func emptied(t *testing.T, dirs []string) {
	t.Helper()
	for _, d := range dirs {
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(d + "/cgroup.procs")
			for _, pid := range strings.Fields(string(b)) {
				n, _ := strconv.Atoi(pid)
				_ = unix.Kill(n, unix.SIGKILL)
				_, _ = unix.Wait4(n, nil, 0, nil) // it may have become this process's child
			}
			return err == nil && len(b) == 0
		}, patience, 60*time.Millisecond, d)
	}
}
