package sandbox

import (
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// The limits are looked for as runtimes do, which know nothing of this library: /proc/self/cgroup says which group it is in which hierarchy, mountinfo
// where that is mounted, and files with the same names as ever have the numbers (cgroups(7); Go's internal/runtime/cgroup, Java's CgroupSubsystem).

func init() {
	parts["limits"] = func(args []string) {
		if len(args) > 0 && args[0] == "wait" {
			fmt.Println("ready")
			var line string
			_, _ = fmt.Scanln(&line)
		}
		for name, value := range foundLimits() {
			fmt.Printf("%s=%s\n", name, value)
		}
		fmt.Printf("numcpu=%d\nmaxprocs=%d\n", runtime.NumCPU(), runtime.GOMAXPROCS(0))
	}
	// freely is the same with all CPUs that there are: then only the group tells the runtime of fewer.
	parts["freely"] = func([]string) {
		var all unix.CPUSet
		for i := range 1024 {
			all.Set(i)
		}
		if err := unix.SchedSetaffinity(0, &all); err != nil {
			fmt.Printf("fault=%v\n", err)
			return
		}
		_ = unix.Exec(victimPath, []string{victimPath}, []string{partEnv + "=limits"})
	}
}

// foundLimits returns what a process finds out about its cgroup.
func foundLimits() map[string]string {
	found := map[string]string{}
	self, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(self), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, m := range strings.Split(string(mounts), "\n") {
			before, after, ok := strings.Cut(m, " - ")
			b, a := strings.Fields(before), strings.Fields(after)
			if !ok || len(a) < 3 || len(b) < 6 || b[3] != "/" {
				continue
			}
			dir := path.Join(b[4], f[2])
			switch {
			case f[1] == "" && a[0] == "cgroup2":
				readLimits(found, dir, map[string]string{"memory.max": "memory", "cpu.max": "cpu", "pids.max": "pids"})
			case a[0] == "cgroup" && strings.HasSuffix(","+a[2], ","+f[1]):
				readLimits(found, dir, map[string]string{"memory.limit_in_bytes": "memory", "cpu.cfs_quota_us": "quota", "cpu.cfs_period_us": "period", "pids.max": "pids"})
			}
		}
	}
	if q, ok := found["quota"]; ok {
		found["cpu"] = q + " " + found["period"]
	}
	return found
}

func readLimits(found map[string]string, dir string, files map[string]string) {
	for file, name := range files {
		if data, err := os.ReadFile(path.Join(dir, file)); err == nil {
			found[name] = strings.TrimSpace(string(data))
		}
	}
}

// A command finds the limits that hold for it, its own ones too, where runtimes look; of the host's groups there is nothing to see.
func TestCommandSeesItsLimits(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, asVictim(t), WithProc(ViewFiles), WithMemory("256m"), WithCPUs(0.5), WithPids(40)))
	look := func(c *Cmd) map[string]string {
		c.Env = []string{partEnv + "=limits"}
		out, err := c.CombinedOutput(inTime(t))
		require.NoError(t, err, string(out))
		return values(string(out))
	}
	got := look(sb.Command(victimPath))
	for name, want := range map[string]string{"memory": "268435456", "cpu": "50000 100000", "pids": "40", "numcpu": "1", "maxprocs": "1"} {
		assert.Equal(t, want, got[name], name)
	}
	own := sb.Command(victimPath)
	own.Limits = Limits{Memory: 128 << 20, Pids: 30}
	got = look(own)
	assert.Equal(t, [3]string{"134217728", "30", "50000 100000"}, [3]string{got["memory"], got["pids"], got["cpu"]}, "a command's own limits")
	if runtime.NumCPU() > 2 {
		// Go never goes below 2 for a limit of time.
		assert.Equal(t, "2", values(play(t, sb, "freely"))["maxprocs"], "by the group alone")
	}
	assert.Contains(t, sb.Report().String(), "a command sees its own group at /sys/fs/cgroup, read-only")

	// Control: without the option there is nothing to find.
	assert.Empty(t, values(play(t, grouped(t, standing(t, asVictim(t), WithMemory("256m"))), "limits"))["memory"])
}

// What changes while a command runs it sees, also where there is less than before.
func TestCommandSeesUpdates(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, asVictim(t), WithProc(ViewFiles), WithMemory("256m"), WithCPUs(1), WithPids(40)))
	changes := []struct {
		change []Option
		want   map[string]string
	}{
		{[]Option{WithCPUs(0.25), WithMemory("128m")}, map[string]string{"cpu": "25000 100000", "memory": "134217728"}},
		{[]Option{WithCPUs(0.75), WithPids(50)}, map[string]string{"cpu": "75000 100000", "pids": "50"}},
	}
	if testing.Short() {
		changes = changes[:1]
	}
	for _, c := range changes {
		cmd := sb.Command(victimPath)
		cmd.Env = []string{partEnv + "=limits wait"}
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start(inTime(t)))
		b := make([]byte, 6)
		_, err = out.Read(b)
		require.NoError(t, err)
		require.NoError(t, sb.Update(c.change...))
		_, _ = in.Write([]byte("on\n"))
		said := make(chan string)
		go func() {
			var all strings.Builder
			buf := make([]byte, 1024)
			for {
				n, err := out.Read(buf)
				all.Write(buf[:n])
				if err != nil {
					said <- all.String()
					return
				}
			}
		}()
		got := values(<-said)
		_, err = cmd.Wait()
		require.NoError(t, err)
		later := values(play(t, sb, "limits"))
		for name, want := range c.want {
			assert.Equal(t, want, got[name], "%s of the one that runs", name)
			assert.Equal(t, want, later[name], "%s of the next", name)
		}
	}
}

// Case 25, with the groups in sight: they are the command's own and nobody else's, and nobody changes them, who has every capability inside neither.
func TestShownGroups(t *testing.T) {
	t.Parallel()
	const look = `cd /sys/fs/cgroup; find . -mindepth 2 -type d; for f in $(find . -name cgroup.procs); do cat $f; done | sort -u`
	opts := []Option{WithProc(ViewFiles), WithMemory("256m"), WithCPUs(1), WithPids(40)}
	sb := grouped(t, standing(t, opts...))
	other := sb.Command("/bin/sleep", "1000")
	require.NoError(t, other.Start(inTime(t)))
	defer func() { require.NoError(t, other.Kill()); _, _ = other.Wait() }()
	assert.Equal(t, "40", sh(t, sb, "cat $(find /sys/fs/cgroup -name pids.max)"), "the control: there is something to see")
	seen := sh(t, sb, look)
	assert.NotEmpty(t, seen, "it sees itself")
	assert.NotRegexp(t, `(?m)^0$`, seen, "a process of another PID namespace")
	assert.NotContains(t, seen, "./", "groups below or beside")
	assert.NotContains(t, sh(t, sb, "cat /proc/self/mountinfo | grep cgroup"), "/..", "a mount of more than its group")

	spoil := func(sb *Sandbox, errno string) {
		t.Helper()
		out := sh(t, sb, `for f in $(find /sys/fs/cgroup -type f -perm /222); do { echo 1 > $f; } 2>&1 && echo wrote $f; done
for d in $(find /sys/fs/cgroup -type d); do mkdir $d/x 2>&1 && echo made $d/x; done; true`)
		assert.Greater(t, strings.Count(out, "\n"), 10)
		for _, line := range strings.Split(out, "\n") {
			assert.Regexp(t, errno, line)
		}
	}
	spoil(sb, "ead-only|ermission denied")
	for _, script := range []string{"mount -o remount,rw,bind /sys/fs/cgroup", "umount /sys/fs/cgroup"} {
		_, res := try(t, sb, script)
		assert.NotZero(t, res.ExitCode, script)
	}
	if os.Geteuid() != 0 {
		return
	}
	// Without a filter and with every capability over its own namespaces a job can mount them writable; they stay the host's.
	free := standing(t, append(opts, unguarded()...)...)
	spoil(free, "ead-only")
	const remount = "set -e; for d in $(grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5); do mount -o remount,bind,rw $d; done; "
	for _, write := range []string{"echo 9 > $(find /sys/fs/cgroup -name pids.max)", "mkdir $(dirname $(find /sys/fs/cgroup -name pids.max))/x"} {
		out, res := try(t, free, remount+"echo mounted; "+write)
		assert.NotZero(t, res.ExitCode, write+out)
		assert.Regexp(t, "mounted\n.*(ermission denied|not permitted)", out, write)
	}
}

// What a command mounts for itself, where it may, no other one sees: with groups to see each has mounts of its own.
func TestShownGroupsAreSeparate(t *testing.T) {
	t.Parallel()
	needRoot(t)
	free := grouped(t, standing(t, append(unguarded(), WithProc(ViewFiles), WithMemory("64m"))...))
	sh(t, free, "mount -t tmpfs none /mnt 2>/dev/null || mount -t tmpfs none /box; touch /box/f /mnt/f 2>/dev/null; mount -t tmpfs none /sys/fs/cgroup")
	assert.NotEmpty(t, sh(t, free, "ls /sys/fs/cgroup"), "the next command's groups")
	assert.Empty(t, sh(t, free, "ls /box"))
}

// What the caller has put there stays; the host's own /sys gets the job's groups in place of the host's.
func TestShownGroupsInOtherRoots(t *testing.T) {
	t.Parallel()
	opts := []Option{asVictim(t), WithProc(ViewFiles), WithMemory("64m")}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(path.Join(dir, "f"), []byte("mine"), 0o644))
	mine := grouped(t, standing(t, append(opts, WithBind(dir, "/sys/fs/cgroup", ReadOnly))...))
	assert.Equal(t, "f", sh(t, mine, "ls /sys/fs/cgroup"))
	assert.Contains(t, mine.Report().String(), "commands do not see their cgroup")
	host := standing(t, append(opts, WithBind("/sys", "/sys", ReadOnly))...)
	assert.Equal(t, strconv.Itoa(64<<20), values(play(t, host, "limits"))["memory"])
	assert.NotEmpty(t, sh(t, host, "ls /sys/kernel"))
	assert.NotContains(t, sh(t, host, "find /sys/fs/cgroup -type d"), "belljar", "the host's groups")
}

func TestGroupsOps(t *testing.T) {
	var at []string
	for _, op := range groupsOps([]string{"cpu,cpuacct", "memory"}, nil) {
		at = append(at, op.Path())
	}
	const d = groupsDir
	assert.Equal(t, []string{d, d + "/cpu,cpuacct", d + "/cpu", d + "/cpuacct", d + "/memory", d + "/unified"}, at)
	assert.Len(t, groupsOps(nil, []rootfs.Op{rootfs.Tmpfs{Target: "/sys/class"}, rootfs.Bind{Source: "/sys", Target: "/sys"}}), 1)
	for _, op := range []rootfs.Op{rootfs.Bind{Source: "/srv", Target: "/sys"}, rootfs.Tmpfs{Target: "/sys/fs"}, rootfs.File{Target: d + "/x"}, rootfs.Tmpfs{Target: d}} {
		assert.Nil(t, groupsOps(nil, []rootfs.Op{op}), op.String())
	}
}

// Where the host is against such a mount, which shows while the sandbox is made, there are commands without, and the report says why.
func TestShownGroupsImpossible(t *testing.T) {
	opts := []Option{WithProc(ViewFiles), WithMemory("64m")}
	grouped(t, standing(t, opts...))
	p := planOf(t, wire.Create, func() { require.NoError(t, newBox(t, opts...).Close()) })
	at := slices.IndexFunc(p.Child, func(s plan.Step) bool { return s.Stage == "groups" && tolerant(s) })
	require.GreaterOrEqual(t, at, 0)
	var sb *Sandbox
	failing(t, wire.Create, at, unix.EACCES, func() { sb = standing(t, opts...) })
	assert.Contains(t, sb.Report().String(), "commands do not see their cgroup, which cannot be mounted here (permission denied)")
	assert.NotContains(t, sh(t, sb, "cat /proc/self/mountinfo"), " - cgroup")
}
