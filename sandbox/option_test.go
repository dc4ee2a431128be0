package sandbox

import (
	"io/fs"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/seccomp"
)

// idMaps returns the two lists that WithIDMap takes, of one line each.
func idMaps(inside, outside, count uint32) (uids, gids []namespace.IDMap) {
	m := []namespace.IDMap{{Inside: inside, Outside: outside, Count: count}}
	return m, m
}

func withMap(inside, outside, count uint32) Option {
	uids, gids := idMaps(inside, outside, count)
	return WithIDMap(uids, gids)
}

// everyOption returns valid options that do not contradict each other, one of every kind and more.
func everyOption() []Option {
	return []Option{
		WithPID(), WithMount(), WithUTS(), WithIPC(), WithUser(), WithCgroupNS(), WithTime(time.Hour), WithHost(namespace.Net),
		WithHostname("glass"), withMap(0, 100000, 65536), WithName("job-1.a_b"),
		WithMemory("50m"), WithMemoryHigh("40m"), WithSwap("1m"), WithCPUs(0.5), WithCPUWeight(7), WithPids(20), WithCgroupParent("/jobs/a"),
		WithMemoryLow("8m"), WithMemoryMin("4m"), WithCPUSet("0-1"), WithMemoryNodes("0"), WithIO(IOLimit{Device: "8:0", ReadBytes: 1 << 20}),
		WithIOWeight(50), WithHugepages("2m", "0"), WithHugepages("1g", "max"),
		WithCPUTime(time.Second), WithWallTime(time.Minute), WithOutput("16m"),
		WithRlimit("nofile", 64, 128), WithRlimit("nproc", 5, 5), WithRlimit("stack", RlimitInfinity, RlimitInfinity),
		WithRootfs("/srv/root"), WithScratch("64m"), WithBind("/srv/a", "/a/b", ReadOnly, NoExec), WithBind("/srv/b", "/a"), WithTmpfs("/tmp", "64m"), WithVolume(rootfs.HostVolume("/srv/v"), "/v"),
		WithFile("/etc/motd", []byte("hello"), 0o600), WithHosts(map[string]string{"db": "10.0.0.2"}), WithHosts(map[string]string{"web": "::1"}),
		WithResolvConf("1.1.1.1", "options ndots:1"),
		WithCredential(1001, 1002, 5, 4, 4), WithCapabilities("net_raw", "CAP_CHOWN"), WithEnv("B=2", "A=1"), WithEnv("C="), WithDir("/a"),
		WithSeccomp(seccomp.Default()), WithLandlock(),
		WithProc(ViewFiles), WithHidePID(HideProcesses), WithDevice("/dev/fuse", "/dev/fuse", ReadOnly), WithChroot(),
	}
}

func TestDefaults(t *testing.T) {
	s, err := newSpec(nil)
	require.NoError(t, err)
	assert.Equal(t, "user,pid,mount,uts,ipc,net,cgroup", s.namespaces.String())
	assert.Equal(t, "belljar", s.hostname)
	assert.Equal(t, []uint32{1000, 1000}, []uint32{s.uid, s.gid})
	assert.Empty(t, s.groups)
	assert.Empty(t, s.caps)
	assert.Equal(t, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, s.env)
	assert.Equal(t, []Rlimit{{4, 1, 1}, {7, 1024, 1024}, {8, 65536, 65536}, {13, 0, 0}, {14, 0, 0}}, s.rlimits)
	assert.Zero(t, s.limits)
	assert.Zero(t, s.run)
	assert.Nil(t, s.offsets)
	assert.Nil(t, s.uidMap)
	assert.Nil(t, s.gidMap)
	assert.Nil(t, s.policy)
	assert.Empty(t, s.ops)
	assert.Empty(t, s.explicit)
	assert.Equal(t, "/box", s.workDir())
}

func TestEveryOption(t *testing.T) {
	s, err := newSpec(everyOption())
	require.NoError(t, err)
	assert.Equal(t, "user,pid,mount,uts,ipc,cgroup,time", s.namespaces.String())
	assert.Equal(t, "glass", s.hostname)
	assert.Equal(t, "job-1.a_b", s.name)
	assert.EqualValues(t, 64<<20, s.scratch)
	assert.Equal(t, &namespace.Offsets{Monotonic: time.Hour, Boottime: time.Hour}, s.offsets)
	assert.Equal(t, []namespace.IDMap{{Inside: 0, Outside: 100000, Count: 65536}}, s.uidMap)
	assert.Equal(t, []namespace.IDMap{{Inside: 0, Outside: 100000, Count: 65536}}, s.gidMap)

	l := s.limits
	assert.Equal(t, []int64{50 << 20, 40 << 20, 1 << 20}, []int64{l.Memory, l.MemoryHigh, l.Swap})
	assert.Equal(t, []any{0.5, 7, 20, true}, []any{l.CPUs, l.CPUWeight, l.Pids, l.OOMGroup})
	assert.Equal(t, Limits{CPUTime: time.Second, WallTime: time.Minute, Output: 16 << 20}, s.run)
	assert.Equal(t, Limits{CPUTime: time.Second, WallTime: time.Second, Memory: 50 << 20, Output: 16 << 20, Pids: 20}, s.commandLimits(Limits{WallTime: time.Second, Pids: 99}))
	assert.Equal(t, []Rlimit{{3, math.MaxUint64, math.MaxUint64}, {4, 1, 1}, {6, 5, 5}, {7, 64, 128}, {8, 65536, 65536}, {13, 0, 0}, {14, 0, 0}}, s.rlimits)

	assert.Equal(t, []any{ViewFiles, HideProcesses, false}, []any{s.view, s.hidePID, s.pidsOnly})
	assert.Equal(t, "/srv/root", s.rootfsDir)
	assert.Equal(t, []rootfs.Op{
		rootfs.Bind{Source: "/srv/b", Target: "/a"},
		rootfs.Bind{Source: "/srv/a", Target: "/a/b", Flags: rootfs.BindReadOnly | rootfs.BindNoExec},
		rootfs.Device{Source: "/dev/fuse", Target: "/dev/fuse", Flags: rootfs.BindReadOnly},
		rootfs.File{Target: "/etc/motd", Data: []byte("hello"), Mode: 0o600, JobOwned: true},
		rootfs.Tmpfs{Target: "/tmp", Size: 64 << 20, Mode: fs.ModeSticky | 0o777},
		rootfs.Bind{Source: "/srv/v", Target: "/v", Flags: rootfs.BindNoSUID | rootfs.BindNoDev},
	}, s.ops)
	assert.Equal(t, map[string]string{"db": "10.0.0.2", "web": "::1"}, s.hosts)
	assert.Equal(t, []string{"nameserver 1.1.1.1", "options ndots:1"}, s.resolvConf)

	assert.Equal(t, []uint32{1001, 1002}, []uint32{s.uid, s.gid})
	assert.Equal(t, []uint32{4, 5}, s.groups)
	assert.Equal(t, []uintptr{0, 13}, s.caps)
	assert.Equal(t, []string{"A=1", "B=2", "C=", defaultPath}, s.env)
	assert.Equal(t, "/a", s.workDir())
	require.NotNil(t, s.policy)
	assert.Equal(t, seccomp.Default(), *s.policy)
	for _, o := range everyOption() {
		assert.True(t, s.explicit[o.name()], o.name())
	}
	assert.False(t, s.explicit["WithNet"])
	assert.Empty(t, s.bestEffort)
}

// The order of options does not matter, and giving each twice changes nothing.
func TestOrderFree(t *testing.T) {
	want, err := newSpec(everyOption())
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		opts := append(everyOption(), everyOption()...)
		random.Shuffle(len(opts), func(i, j int) { opts[i], opts[j] = opts[j], opts[i] })
		got, err := newSpec(opts)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestOptionValues(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []Option
		got  func(*spec) any
		want any
	}{
		{"memory max", []Option{WithMemory("max")}, func(s *spec) any { return s.limits.Memory }, NoLimit},
		{"memory max has no OOM group", []Option{WithMemory("max")}, func(s *spec) any { return s.limits.OOMGroup }, false},
		{"least memory", []Option{WithMemory("512k")}, func(s *spec) any { return s.limits.Memory }, int64(512 << 10)},
		{"swap max", []Option{WithMemory("1m"), WithSwap("max")}, func(s *spec) any { return s.limits.Swap }, NoLimit},
		{"swap 0", []Option{WithMemory("1m"), WithSwap("0")}, func(s *spec) any { return s.limits.Swap }, int64(0)},
		{"output max", []Option{WithOutput("max")}, func(s *spec) any { return s.run.Output }, NoLimit},
		{"output max is no limit of a command", []Option{WithOutput("max")}, func(s *spec) any { return s.commandLimits(Limits{}).Output }, int64(0)},
		{"memory max is no limit of a command", []Option{WithMemory("max")}, func(s *spec) any { return s.commandLimits(Limits{}).Memory }, int64(0)},
		{"two clocks", []Option{WithTime(time.Second, -time.Hour)}, func(s *spec) any { return *s.offsets }, namespace.Offsets{Monotonic: time.Second, Boottime: -time.Hour}},
		{"time namespace without offset", []Option{WithTime(0)}, func(s *spec) any { return s.namespaces.Has(namespace.Time) }, true},
		{"host", []Option{WithHost(namespace.Net, namespace.IPC), WithHost(namespace.PID)}, func(s *spec) any { return s.namespaces.String() }, "user,mount,uts,cgroup"},
		{"host time is the default", []Option{WithHost(namespace.Time)}, func(s *spec) any { return s.namespaces.Has(namespace.Time) }, false},
		{"host uts has no name", []Option{WithHost(namespace.UTS)}, func(s *spec) any { return s.hostname }, ""},
		{"root inside", []Option{WithCredential(0, 0)}, func(s *spec) any { return s.uid }, uint32(0)},
		{"largest id", []Option{WithCredential(1<<31-1, 1<<31-1)}, func(s *spec) any { return s.gid }, uint32(1<<31 - 1)},
		{"own PATH", []Option{WithEnv("PATH=/x")}, func(s *spec) any { return s.env }, []string{"PATH=/x"}},
		{"empty PATH", []Option{WithEnv("PATH=")}, func(s *spec) any { return s.env }, []string{"PATH="}},
		{"value with =", []Option{WithEnv("A=b=c")}, func(s *spec) any { return s.env[0] }, "A=b=c"},
		{"no name servers", []Option{WithResolvConf()}, func(s *spec) any { return len(s.resolvConf) }, 0},
		{"work dir of another root", []Option{WithRootfs("/x")}, func(s *spec) any { return s.workDir() }, "/"},
		{"work dir of the host's", []Option{WithHost(namespace.Mount)}, func(s *spec) any { return s.workDir() }, "/"},
		{"root as work dir", []Option{WithDir("/")}, func(s *spec) any { return s.workDir() }, "/"},
		{"core allowed", []Option{WithRlimit("core", 1, 2)}, func(s *spec) any { return s.rlimits[0] }, Rlimit{4, 1, 2}},
		{"least CPU", []Option{WithCPUs(0.01)}, func(s *spec) any { return s.limits.CPUs }, 0.01},
		{"last capability", []Option{WithCapabilities("CHECKPOINT_RESTORE", "checkpoint_restore")}, func(s *spec) any { return s.caps }, []uintptr{40}},
		{"shm", []Option{WithTmpfs("/dev/shm", "1m")}, func(s *spec) any { return len(s.ops) }, 1},
		{"optional bind", []Option{BestEffort(WithBind("/a", "/b", ReadOnly))}, func(s *spec) any { return s.ops[0].(rootfs.Bind).Flags }, ReadOnly | Optional},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := newSpec(c.opts)
			require.NoError(t, err)
			assert.Equal(t, c.want, c.got(s))
		})
	}
}

// tooBig is 2 to the 32, where an int holds it.
func tooBig() int {
	n, err := strconv.Atoi("4294967296")
	if err != nil {
		return -1
	}
	return n
}

func TestOptionMistakes(t *testing.T) {
	nul := "a\x00b"
	var nothing Option
	for _, c := range []struct {
		opts []Option
		op   string // the option named
		want string // part of the message
	}{
		// Sizes.
		{[]Option{WithMemory("")}, "WithMemory", "is empty"},
		{[]Option{WithMemory("50q")}, "WithMemory", `WithMemory "50q"`},
		{[]Option{WithMemory("1.5.5m")}, "WithMemory", "is no size"},
		{[]Option{WithMemory("-1")}, "WithMemory", "is negative"},
		{[]Option{WithMemory("0")}, "WithMemory", "is not positive"},
		{[]Option{WithMemory("8192p")}, "WithMemory", "is more than"},
		{[]Option{WithMemory("511k")}, "WithMemory", "less than the 512k"},
		{[]Option{WithMemory("50m\x1b[2J")}, "WithMemory", `"50m\x1b[2J"`},
		{[]Option{WithMemoryHigh("0")}, "WithMemoryHigh", "is not positive"},
		{[]Option{WithMemory("1m"), WithSwap("-5")}, "WithSwap", "is negative"},
		{[]Option{WithMemory("1m"), WithSwap("")}, "WithSwap", "is empty"},
		{[]Option{WithOutput("0")}, "WithOutput", "is not positive"},
		{[]Option{WithOutput("lots")}, "WithOutput", "is no size"},
		{[]Option{WithTmpfs("/x", "")}, "WithTmpfs", "is empty"},
		{[]Option{WithTmpfs("/x", "0")}, "WithTmpfs", "is not positive"},
		{[]Option{WithTmpfs("/x", "max")}, "WithTmpfs", "is no bound"},

		// Numbers.
		{[]Option{WithCPUs(0)}, "WithCPUs", "is not positive"},
		{[]Option{WithCPUs(-1)}, "WithCPUs", "is not positive"},
		{[]Option{WithCPUs(0.001)}, "WithCPUs", "less than 0.01"},
		{[]Option{WithCPUs(math.NaN())}, "WithCPUs", "is no number"},
		{[]Option{WithCPUs(math.Inf(1))}, "WithCPUs", "is no number"},
		{[]Option{WithCPUs(1e6)}, "WithCPUs", "more than 8192"},
		{[]Option{WithCPUWeight(0)}, "WithCPUWeight", "between 1 and 10000"},
		{[]Option{WithCPUWeight(10001)}, "WithCPUWeight", "between 1 and 10000"},
		{[]Option{WithCgroupParent("")}, "WithCgroupParent", "not absolute"},
		{[]Option{WithCgroupParent("jobs")}, "WithCgroupParent", "/proc/self/cgroup"},
		{[]Option{WithCgroupParent("/a/../b")}, "WithCgroupParent", "begins with a dot"},
		{[]Option{WithCgroupParent("/a\n")}, "WithCgroupParent", "control character"},
		{[]Option{WithCgroupParent("/a"), WithCgroupParent("/b")}, "WithCgroupParent", "before with another"},
		{[]Option{BestEffort(WithCgroupParent("/a"))}, "BestEffort", "not an option that can be given up"},
		{[]Option{WithPids(0)}, "WithPids", "is not positive"},
		{[]Option{WithPids(-1)}, "WithPids", "is not positive"},
		{[]Option{WithPids(1<<22 + 1)}, "WithPids", "more than the kernel's"},

		{[]Option{WithMemoryLow("max")}, "WithMemoryLow", "cannot be promised"},
		{[]Option{WithMemoryMin("1k")}, "WithMemoryMin", "less than the 512k"},
		{[]Option{WithMemory("1m"), WithMemoryLow("2m")}, "WithMemoryLow", "more than Memory"},
		{[]Option{WithCPUSet("")}, "WithCPUSet", "is empty"},
		{[]Option{WithCPUSet("1-0")}, "WithCPUSet", "runs backwards"},
		{[]Option{WithCPUSet("0"), WithCPUSet("1")}, "WithCPUSet", "before with another"},
		{[]Option{WithMemoryNodes("all")}, "WithMemoryNodes", "neither a number nor a range"},
		{[]Option{WithIO(IOLimit{Device: "sda", ReadOps: 1})}, "WithIO", "neither major:minor nor an absolute path"},
		{[]Option{WithIO(IOLimit{Device: "8:0"})}, "WithIO", "sets nothing"},
		{[]Option{WithIO(IOLimit{Device: "8:0", ReadBytes: -5})}, "WithIO", "is negative"},
		{[]Option{WithIO(IOLimit{Device: "8:0", ReadOps: 1}), WithIO(IOLimit{Device: "8:1", ReadOps: 1})}, "WithIO", "before with another"},
		{[]Option{WithIOWeight(0)}, "WithIOWeight", "between 1 and 10000"},
		{[]Option{WithHugepages("3m", "0")}, "WithHugepages", "is no size of huge pages"},
		{[]Option{WithHugepages("2m", "lots")}, "WithHugepages", "is no size"},
		{[]Option{WithHugepages("2m", "0"), WithHugepages("2048k", "2m")}, "WithHugepages", "before with another"},

		// Times.
		{[]Option{WithCPUTime(0)}, "WithCPUTime", "is not positive"},
		{[]Option{WithCPUTime(-time.Second)}, "WithCPUTime", `"-1s": is not positive`},
		{[]Option{WithWallTime(5)}, "WithWallTime", "counts nanoseconds"},
		{[]Option{WithWallTime(math.MaxInt64)}, "WithWallTime", "100 years"},
		{[]Option{WithTime(math.MaxInt64)}, "WithTime", "146 years"},
		{[]Option{WithTime(0, math.MinInt64)}, "WithTime", "boottime"},
		{[]Option{WithTime(1, 2, 3)}, "WithTime", "at most two"},

		// Resource limits.
		{[]Option{WithRlimit("files", 1, 1)}, "WithRlimit", "names no resource"},
		{[]Option{WithRlimit("", 1, 1)}, "WithRlimit", "names no resource"},
		{[]Option{WithRlimit("nofile", 2, 1)}, "WithRlimit", "soft limit above"},
		{[]Option{WithRlimit("nofile", RlimitInfinity, 1)}, "WithRlimit", `"nofile unlimited 1"`},

		// Names.
		{[]Option{WithHostname("")}, "WithHostname", "is empty"},
		{[]Option{WithHostname(strings.Repeat("a", 65))}, "WithHostname", "longer than 64"},
		{[]Option{WithHostname(nul)}, "WithHostname", "character"},
		{[]Option{WithHostname("a\n127.0.0.1 bank")}, "WithHostname", "character"},
		{[]Option{WithHostname("-a")}, "WithHostname", "begins or ends"},
		{[]Option{WithHostname("a.")}, "WithHostname", "begins or ends"},
		{[]Option{WithHostname("a..b")}, "WithHostname", "empty label"},
		{[]Option{WithHostname("é")}, "WithHostname", "character"},
		{[]Option{WithName("")}, "WithName", "is empty"},
		{[]Option{WithName("..")}, "WithName", "character"},
		{[]Option{WithName("a/b")}, "WithName", "character"},
		{[]Option{WithName("a\n")}, "WithName", "character"},
		{[]Option{WithName(strings.Repeat("a", 65))}, "WithName", "longer than 64"},

		// Ids.
		{[]Option{WithCredential(-1, 0)}, "WithCredential", "between 0 and 2147483647"},
		{[]Option{WithCredential(0, -1)}, "WithCredential", "between 0 and 2147483647"},
		{[]Option{WithCredential(0, 0, -1)}, "WithCredential", "between 0 and 2147483647"},
		{[]Option{WithCredential(tooBig()/2, 0)}, "WithCredential", "between 0 and 2147483647"},
		{[]Option{WithCredential(tooBig(), 0)}, "WithCredential", "between 0 and 2147483647"},
		{[]Option{WithCredential(0, 0, tooBig())}, "WithCredential", "between 0 and 2147483647"},
		{[]Option{WithCredential(0, 0, make([]int, 65537)...)}, "WithCredential", "more groups"},
		{[]Option{WithIDMap(nil, nil)}, "WithIDMap", "empty"},
		{[]Option{withMap(0, 0, 10)}, "WithIDMap", "host's root"},
		{[]Option{withMap(1<<32-1, 5, 1)}, "WithIDMap", "-1"},
		{[]Option{withMap(0, 100000, 10)}, "WithIDMap", "does not map user 1000"},
		{[]Option{withMap(0, 100000, 1001), WithCredential(0, 0, 1001)}, "WithIDMap", "does not map group 1001"},

		// Paths.
		{[]Option{WithRootfs("")}, "WithRootfs", "is empty"},
		{[]Option{WithRootfs(nul)}, "WithRootfs", "NUL"},
		{[]Option{WithRootfs("/" + strings.Repeat("a", 300))}, "WithRootfs", "name of 300 bytes"},
		{[]Option{WithBind("", "/a")}, "WithBind", "is empty"},
		{[]Option{WithBind(nul, "/a")}, "WithBind", "NUL"},
		{[]Option{WithBind("/a", "")}, "WithBind", "empty path"},
		{[]Option{WithBind("/a", "a")}, "WithBind", "not absolute"},
		{[]Option{WithBind("/a", "/a/../../b")}, "WithBind", `".."`},
		{[]Option{WithBind("/a", "/a\x00")}, "WithBind", "NUL"},
		{[]Option{WithBind("/a", "/")}, "WithBind", "root"},
		{[]Option{WithBind("/a", "/a", 1<<7)}, "WithBind", "unknown flags"},
		{[]Option{WithBind("/a", "/proc/self/attr")}, "WithBind", "/proc"},
		{[]Option{WithTmpfs("/", "1m")}, "WithTmpfs", "root"},
		{[]Option{WithTmpfs("/proc", "1m")}, "WithTmpfs", "/proc"},
		{[]Option{WithTmpfs("/dev", "1m")}, "WithTmpfs", "/dev"},
		{[]Option{WithFile("/dev/pts/0", nil, 0)}, "WithFile", "/dev"},
		{[]Option{WithFile("etc/motd", nil, 0)}, "WithFile", "not absolute"},
		{[]Option{WithFile("/x", nil, 0o4755)}, "WithFile", "setuid"},
		{[]Option{WithDir("box")}, "WithDir", "not absolute"},
		{[]Option{WithDir("")}, "WithDir", "empty path"},
		{[]Option{WithDir("/proc/self/fd/7")}, "WithDir", "is in /proc"},
		{[]Option{WithDir("/box/..")}, "WithDir", `".."`},

		// The kernel's files, and devices.
		{[]Option{WithProc(9)}, "WithProc", "no view"},
		{[]Option{WithProc(ViewFiles), WithProc(ViewLXCFS)}, "WithProc", `"files"`},
		{[]Option{WithHidePID(9)}, "WithHidePID", "no way to hide"},
		{[]Option{WithProcPIDs(), WithProc(ViewSandbox)}, "WithProcPIDs", "WithProc"},
		{[]Option{WithProc(ViewLXCFS), WithHost(namespace.PID)}, "WithProc(lxcfs)", "first process"},
		{[]Option{WithHidePID(HideContents), WithHost(namespace.PID)}, "WithHost(pid)", "WithHidePID"},
		{[]Option{WithProcPIDs(), WithHost(namespace.PID)}, "WithHost(pid)", "WithProcPIDs"},
		{[]Option{WithHost(namespace.Mount), WithProc(ViewFiles)}, "WithHost(mount)", "WithProc"},
		{[]Option{WithHost(namespace.Mount), WithDevice("/dev/fuse", "/dev/fuse")}, "WithHost(mount)", "WithDevice"},
		{[]Option{WithHost(namespace.Mount), WithChroot()}, "WithHost(mount)", "WithChroot"},
		{[]Option{WithChroot(), WithCapabilities("CAP_SYS_ADMIN")}, "WithChroot", "not pivoted"},
		{[]Option{WithChroot(), WithCapabilities("CAP_SYS_CHROOT")}, "WithChroot", "not pivoted"},
		{[]Option{WithDevice("", "/dev/fuse")}, "WithDevice", "is empty"},
		{[]Option{WithDevice("/dev/fuse", "/fuse")}, "WithDevice", "in a directory"},
		{[]Option{WithDevice("/dev/fuse", "/box/fuse")}, "WithDevice", "not in /dev"},
		{[]Option{WithDevice("/dev/fuse", "/dev/../etc/x")}, "WithDevice", `".."`},
		{[]Option{WithDevice("/dev/fuse", "/dev/null")}, "WithDevice", "has its own"},
		{[]Option{WithDevice("/dev/fuse", "/dev/pts/0")}, "WithDevice", "every sandbox has"},
		{[]Option{WithDevice("/dev/fuse", "/dev/fuse", NoExec)}, "WithDevice", "ro and optional"},
		{[]Option{WithDevice("/dev/fuse", "/dev/a"), WithFile("/dev/a", nil, 0)}, "WithFile", "is taken already"},
		{[]Option{WithDevice("/dev/fuse", "/dev/a"), WithDevice("/dev/fuse", "/dev/a/b")}, "WithDevice", "is inside"},

		// Text for files and programs.
		{[]Option{WithEnv("A")}, "WithEnv", "NAME=value"},
		{[]Option{WithEnv("")}, "WithEnv", "NAME=value"},
		{[]Option{WithEnv("=x")}, "WithEnv", "no name"},
		{[]Option{WithEnv("A=" + nul)}, "WithEnv", "NUL"},
		{[]Option{WithHosts(nil)}, "WithHosts", "names no host"},
		{[]Option{WithHosts(map[string]string{"a": "localhost"})}, "WithHosts", "no IP address"},
		{[]Option{WithHosts(map[string]string{"a": "1.2.3"})}, "WithHosts", "no IP address"},
		{[]Option{WithHosts(map[string]string{"a": "fe80::1%eth0\n"})}, "WithHosts", "no IP address"},
		{[]Option{WithHosts(map[string]string{"a b": "1.2.3.4"})}, "WithHosts", "character"},
		{[]Option{WithResolvConf("nameserver 1.1.1.1\nevil")}, "WithResolvConf", "control character"},
		{[]Option{WithResolvConf("1.1.1")}, "WithResolvConf", "neither an address"},
		{[]Option{WithCapabilities()}, "WithCapabilities", "names no"},
		{[]Option{WithCapabilities("NET_RAW", "ROOT")}, "WithCapabilities", "ROOT"},
		{[]Option{WithCapabilities("")}, "WithCapabilities", "is no capability"},
		{[]Option{WithSeccomp(seccomp.Policy{})}, "WithSeccomp", ""},
		{[]Option{WithSeccomp(seccomp.Default().WithDenied(seccomp.Ask))}, "WithSeccomp", "a handler for every call"},

		// Namespaces.
		{[]Option{WithHost()}, "WithHost", "names no namespace"},
		{[]Option{WithHost(namespace.Net, 0)}, "WithHost", "no namespace"},
		{[]Option{WithHost(99)}, "WithHost", "no namespace"},

		// Options that contradict themselves.
		{[]Option{WithMemory("50m"), WithMemory("60m")}, "WithMemory", `"50m"`},
		{[]Option{WithCPUs(1), WithCPUs(2)}, "WithCPUs", "given before"},
		{[]Option{WithHostname("a"), WithHostname("b")}, "WithHostname", "given before"},
		{[]Option{WithRootfs("/a"), WithRootfs("/b")}, "WithRootfs", "given before"},
		{[]Option{WithEnv("A=1"), WithEnv("A=2")}, "WithEnv", "given before"},
		{[]Option{WithEnv("A=1", "A=")}, "WithEnv", "given before"},
		{[]Option{WithRlimit("core", 1, 1), WithRlimit("core", 2, 2)}, "WithRlimit", "given before"},
		{[]Option{WithCredential(1, 1), WithCredential(1, 1, 1)}, "WithCredential", "given before"},
		{[]Option{WithSeccomp(seccomp.Default()), WithSeccomp(seccomp.Default().Allow("ptrace"))}, "WithSeccomp", "given before"},
		{[]Option{WithHosts(map[string]string{"a": "1.1.1.1"}), WithHosts(map[string]string{"a": "2.2.2.2"})}, "WithHosts", "given before"},
		{[]Option{WithResolvConf(), WithResolvConf("1.1.1.1")}, "WithResolvConf", "given before"},
		{[]Option{WithTime(1), WithTime(2)}, "WithTime", "given before"},
		{[]Option{WithFile("/a", []byte("x"), 0), WithFile("/a", []byte("y"), 0)}, "WithFile", "is taken already"},
		{[]Option{WithBind("/a", "/x"), WithTmpfs("/x", "1m")}, "WithTmpfs", "is taken already, by bind /a"},

		// Options that contradict each other.
		{[]Option{WithHost(namespace.Net), WithNet()}, "WithHost(net)", "WithNet"},
		{[]Option{WithHost(namespace.User), WithUser(), WithCredential(1, 1)}, "WithHost(user)", "WithUser"},
		{[]Option{WithHost(namespace.UTS), WithHostname("x")}, "WithHost(uts)", "WithHostname"},
		{[]Option{WithHost(namespace.Time), WithTime(time.Second)}, "WithHost(time)", "WithTime"},
		{[]Option{WithHost(namespace.User), withMap(0, 5, 2000), WithCredential(1, 1)}, "WithHost(user)", "WithIDMap"},
		{[]Option{WithHost(namespace.User)}, "WithHost(user)", "WithCredential has to say"},
		{[]Option{WithHost(namespace.Mount), WithRootfs("/x")}, "WithHost(mount)", "WithRootfs"},
		{[]Option{WithHost(namespace.Mount), WithBind("/x", "/x")}, "WithHost(mount)", "WithBind"},
		{[]Option{WithHost(namespace.Mount), WithTmpfs("/x", "1m")}, "WithHost(mount)", "WithTmpfs"},
		{[]Option{WithHost(namespace.Mount), WithFile("/x", nil, 0)}, "WithHost(mount)", "WithFile"},
		{[]Option{WithHost(namespace.Mount), WithHosts(map[string]string{"a": "1.1.1.1"})}, "WithHost(mount)", "WithHosts"},
		{[]Option{WithHost(namespace.Mount), WithResolvConf()}, "WithHost(mount)", "WithResolvConf"},
		{[]Option{WithSwap("1m")}, "WithSwap", "needs WithMemory"},
		{[]Option{WithMemory("1m"), WithMemoryHigh("2m")}, "WithMemoryHigh", "never reached"},
		{[]Option{WithRlimit("nproc", 1, 1)}, "WithRlimit", "needs WithPids"},
		{[]Option{WithMemory("9223372036854775807"), WithSwap("1g")}, "WithSwap", "overflow"},
		{[]Option{WithHosts(map[string]string{"a": "1.1.1.1"}), WithFile("/etc/hosts", nil, 0)}, "WithHosts", "/etc/hosts"},
		{[]Option{WithHosts(map[string]string{"a": "1.1.1.1"}), WithBind("/srv", "/etc")}, "WithHosts", "takes the place of /etc/hosts"},
		{[]Option{WithResolvConf(), WithFile("/etc/resolv.conf", nil, 0)}, "WithResolvConf", "/etc/resolv.conf"},
		{[]Option{WithFile("/a", nil, 0), WithTmpfs("/a/b", "1m")}, "WithTmpfs", "is inside file /a"},
		{[]Option{WithBind("/srv", "/a"), WithFile("/a/b", nil, 0)}, "WithFile", "on the host"},

		// Options that are none.
		{[]Option{nil}, "Option", "nil option"},
		{[]Option{WithPID(), nothing}, "Option", "nil option"},
		{[]Option{BestEffort(nil)}, "BestEffort", "nil option"},
		{[]Option{BestEffort(BestEffort(nil))}, "BestEffort", "nil option"},
		{[]Option{BestEffort(WithRootfs("/x"))}, "BestEffort", `"WithRootfs"`},
		{[]Option{BestEffort(WithHost(namespace.Net))}, "BestEffort", `"WithHost": is not an option`},
		{[]Option{BestEffort(WithCredential(1, 1))}, "BestEffort", "given up"},
		{[]Option{BestEffort(WithMemory("50q"))}, "WithMemory", "is no size"},
		{[]Option{BestEffort(WithMemory("50m")), WithMemory("51m")}, "WithMemory", "given before"},
	} {
		s, err := newSpec(c.opts)
		require.Error(t, err, "%s %s", c.op, c.want)
		assert.Nil(t, s)
		require.ErrorIs(t, err, ErrInvalid, err)
		require.ErrorContains(t, err, c.want)
		var e *Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "options", e.Stage)
		assert.Equal(t, c.op, e.Op, err)
		assert.False(t, strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }), "%q", err)

		// The mistake is found whatever else is asked for, and in either order.
		back := append([]Option(nil), c.opts...)
		for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
			back[i], back[j] = back[j], back[i]
		}
		_, err = newSpec(append(back, WithIPC()))
		require.ErrorIs(t, err, ErrInvalid, "%s %s the other way round", c.op, c.want)
	}
}

func TestBestEffort(t *testing.T) {
	s, err := newSpec([]Option{
		BestEffort(WithMemory("50m")), BestEffort(BestEffort(WithCPUs(1))), WithPids(5),
		BestEffort(WithNet()), BestEffort(WithRlimit("nofile", 1, 1)), WithRlimit("core", 1, 1),
	})
	require.NoError(t, err)
	for _, name := range []string{"WithMemory", "WithCPUs", "WithNet", "WithRlimit nofile"} {
		assert.True(t, s.mayGiveUp(name), name)
	}
	for _, name := range []string{"WithPids", "WithRlimit core", "WithRlimit", "WithIPC"} {
		assert.False(t, s.mayGiveUp(name), name)
	}
	assert.Equal(t, int64(50<<20), s.limits.Memory, "it is asked for all the same")
	assert.True(t, s.explicit["WithMemory"])

	for _, opts := range [][]Option{
		{BestEffort(WithMemory("50m")), WithMemory("50m")},
		{WithMemory("50m"), BestEffort(WithMemory("50m"))},
	} {
		s, err = newSpec(opts)
		require.NoError(t, err)
		assert.False(t, s.mayGiveUp("WithMemory"), "once required, required")
	}
}

// Options are values: what the caller changes afterwards does not change them.
func TestOptionsKeepCopies(t *testing.T) {
	uids, gids := idMaps(0, 100000, 65536)
	data, env, hosts := []byte("abc"), []string{"A=1"}, map[string]string{"a": "1.1.1.1"}
	groups, caps, kinds := []int{7}, []string{"CHOWN"}, []namespace.Kind{namespace.Net}
	policy := seccomp.Default()
	opts := []Option{
		WithIDMap(uids, gids), WithFile("/f", data, 0), WithEnv(env...), WithHosts(hosts), WithCredential(1, 1, groups...),
		WithCapabilities(caps...), WithHost(kinds...), WithSeccomp(policy),
	}
	want, err := newSpec(opts)
	require.NoError(t, err)
	want = want.clone()
	uids[0].Count, data[0], env[0], hosts["a"], groups[0], caps[0], kinds[0] = 0, 'x', "B=2", "2.2.2.2", 8, "KILL", namespace.PID
	policy.Rules[0].Names[0] = "changed"
	got, err := newSpec(opts)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// Relative paths of the host start at the current directory of New, not of the option.
func TestRelativeHostPaths(t *testing.T) {
	opts := []Option{WithRootfs("root"), WithBind("./data/../data", "/data")}
	dir := t.TempDir()
	t.Chdir(dir)
	s, err := newSpec(opts)
	require.NoError(t, err)
	assert.Equal(t, dir+"/root", s.rootfsDir)
	assert.Equal(t, dir+"/data", s.ops[0].(rootfs.Bind).Source)
}
