//go:build linux

package sandbox

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the golden files of plans")

// rootFacts are of a machine on which plans are compiled as root of the initial user namespace.
func rootFacts() *hostFacts {
	return &hostFacts{
		mapsAny: true, mounts: true, idRange: true, mapLower: true, tmpfsAttrs: true, lastCap: 40, landlock: 7,
		root: rootfs.NewFacts(map[string]rootfs.Entry{
			"/usr":          {Type: fs.ModeDir},
			"/bin":          {Type: fs.ModeSymlink, Link: "usr/bin"},
			"/sbin":         {Type: fs.ModeSymlink, Link: "usr/sbin"},
			"/lib":          {Type: fs.ModeSymlink, Link: "usr/lib"},
			"/lib64":        {Type: fs.ModeDir},
			"/etc/ssl":      {Type: fs.ModeDir},
			"/etc/timezone": {},
		}),
		proc: map[string]procEntry{
			"/proc/acpi": procDir, "/proc/kcore": procFile, "/proc/keys": procFile, "/proc/sys": procDir,
			"/proc/sysrq-trigger": procFile, "/proc/bus": procDir,
			"/proc/cpuinfo": procFile, "/proc/meminfo": procFile, "/proc/stat": procFile, "/proc/uptime": procFile,
		},
		makesNodes: true,
	}
}

// userFacts are of the same machine for an ordinary user.
func userFacts() *hostFacts {
	f := rootFacts()
	f.uid, f.gid, f.mapsAny, f.mounts, f.makesNodes = 1234, 1235, false, false, false
	return f
}

func subIDFacts() *hostFacts {
	f := userFacts()
	f.subUIDs, f.subGIDs = namespace.SubIDRange{Start: 100000, Count: 65536}, namespace.SubIDRange{Start: 200000, Count: 65536}
	return f
}

// handSources stand for what openSources opens: nothing is looked up on the machine. Files are those whose name has a dot.
func handSources(s *spec, f *hostFacts, ops []rootfs.Op) *sources {
	found := &sources{at: map[string]source{}}
	mine := map[string]bool{}
	for _, op := range s.ops {
		if b, ok := op.(rootfs.Bind); ok {
			mine[b.Source] = true
		}
	}
	for _, op := range ops {
		switch o := op.(type) {
		case rootfs.Base:
			found.at[o.Dir] = source{fd: -1, dir: true, handle: f.mounts}
			found.layered = len(s.ops) > 0 || len(s.layers) > 1 || s.writable()
		case rootfs.Layer:
			found.at[o.Dir] = source{fd: -1, dir: true, handle: f.mounts}
		case rootfs.Substitute:
			if o.Source != "" {
				found.at[o.Source] = source{fd: -1, handle: f.mounts}
			}
		case rootfs.Device:
			found.at[o.Source] = source{fd: -1, node: node{kind: unix.S_IFCHR, rdev: unix.Mkdev(10, 229)}}
		case rootfs.Bind:
			base := filepath.Base(o.Source)
			dir := !strings.Contains(base, ".") && base != "timezone"
			found.at[o.Source] = source{fd: -1, dir: dir, handle: f.mounts && mine[o.Source]}
		}
	}
	switch s.view {
	case ViewFiles:
		found.shown = legacyHost[0]
	case ViewLXCFS:
		found.shown = cgroup.UnifiedHierarchy
	}
	if s.upper != "" {
		found.at[upperKey] = source{fd: -1, dir: true, handle: f.mounts}
		found.upper = upperLayer{dir: s.upper, name: filepath.Base(s.upper), work: ".belljar-work-7"}
	}
	return found
}

// legacyHost has these hierarchies of cgroup v1.
var legacyHost = []string{"cpu,cpuacct", "memory"}

// viewOf is what a view of files makes of a machine with four CPUs and cgroup v1, and one by lxcfs where there is v2 alone.
func viewOf(s *spec) []rootfs.Op {
	if s.view == ViewHost {
		return nil
	}
	m := machine{cpuinfo: "processor\t: 0\n\nprocessor\t: 1\n\n", cpus: pickCPUs([]int{0, 1, 2, 3}, s.limits.CPUs, 0), memory: s.limits.Memory, now: 1}
	if s.view == ViewLXCFS {
		m.lxcfs = "/var/lib/lxcfs"
		return append(m.ops(s.ops), groupsOps(nil, s.ops)...)
	}
	return append(m.ops(s.ops), groupsOps(legacyHost, s.ops)...)
}

// setup compiles the plan of a sandbox without looking at this machine.
func setup(t *testing.T, f *hostFacts, opts ...Option) (*spec, idPlan, *initPlan) {
	t.Helper()
	s, err := newSpec(opts)
	require.NoError(t, err)
	ids, err := planIDs(s, f)
	require.NoError(t, err)
	ops, err := s.rootOps(f.root, viewOf(s)...)
	require.NoError(t, err)
	sources := handSources(s, f, ops)
	l, _, err := planLandlock(s, f, ops, sources)
	require.NoError(t, err)
	return s, ids, compileInit(s, f, ids, ops, sources, l)
}

// golden compares with testdata/plans/NAME.golden.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", "plans", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "go test -run Golden -update writes it")
	assert.Equal(t, string(want), text, "go test -run Golden -update rewrites it")
}

func TestGoldenSetups(t *testing.T) {
	hosts := []namespace.Kind{namespace.Net, namespace.UTS, namespace.IPC, namespace.Cgroup}
	cases := map[string]struct {
		facts *hostFacts
		opts  []Option
	}{
		"default":        {rootFacts(), nil},
		"net-ahead":      {aheadFacts(), nil},
		"net-ahead-caps": {aheadFacts(), []Option{WithCapabilities("NET_BIND_SERVICE")}},
		"rootfs": {rootFacts(), []Option{
			WithRootfs("/srv/root"), WithBind("/srv/data", "/data", rootfs.BindReadOnly), WithBind("/srv/out", "/out", 0),
			WithBind("/srv/answer.txt", "/answer.txt", rootfs.BindReadOnly),
			WithTmpfs("/scratch", "1m"), WithFile("/etc/motd", []byte("hello\n"), 0o644), WithHostname("glass"),
		}},
		"rootfs-bare":         {rootFacts(), []Option{WithRootfs("/srv/root")}},
		"user-single":         {userFacts(), []Option{WithBind("/srv/data", "/data", rootfs.BindReadOnly)}},
		"user-single-root":    {userFacts(), []Option{WithCredential(0, 0)}},
		"user-subids":         {subIDFacts(), []Option{WithRootfs("/srv/root")}},
		"layers":              {rootFacts(), []Option{WithLayers("/srv/a", "/srv/b:,\\\n", "/srv/c")}},
		"scratch":             {rootFacts(), []Option{WithLayers("/srv/a", "/srv/b"), WithScratch("64m")}},
		"upper":               {rootFacts(), []Option{WithLayers("/srv/a", "/srv/b"), WithUpper("/srv/up:,\\\n"), WithFile("/etc/motd", []byte("hello\n"), 0o644)}},
		"upper-user":          {userFacts(), []Option{WithRootfs("/srv/a"), WithUpper("/srv/upper")}},
		"layers-user":         {userFacts(), []Option{WithLayers("/srv/a", "/srv/b")}},
		"layers-old":          {oldKernel(), []Option{WithLayers("/srv/a", "/srv/b")}},
		"view":                {rootFacts(), []Option{WithProc(ViewFiles), WithMemory("64m"), WithCPUs(1.5), WithHidePID(HideProcesses)}},
		"view-lxcfs":          {rootFacts(), []Option{WithProc(ViewLXCFS), WithRootfs("/srv/root"), WithBind("/sys", "/sys", ReadOnly)}},
		"proc-pids":           {rootFacts(), []Option{WithProcPIDs()}},
		"chroot":              {rootFacts(), []Option{WithLayers("/srv/a", "/srv/b"), WithChroot()}},
		"devices":             {rootFacts(), []Option{WithDevice("/dev/fuse", "/dev/fuse"), WithDevice("/dev/net/tun", "/dev/net/tun", ReadOnly)}},
		"devices-user":        {userFacts(), []Option{WithDevice("/dev/fuse", "/dev/fuse")}},
		"time":                {rootFacts(), []Option{WithTime(time.Hour, -time.Minute)}},
		"host-namespaces":     {rootFacts(), []Option{WithHost(hosts...)}},
		"host-pid-mount-user": {rootFacts(), []Option{WithHost(namespace.PID, namespace.Mount, namespace.User), WithCredential(65534, 65534)}},
		"no-mount-rights":     {noMounts(), []Option{WithBind("/srv/data", "/data", 0)}},
		"own-map":             {rootFacts(), []Option{WithIDMap([]namespace.IDMap{{Inside: 1000, Outside: 70000, Count: 1}}, []namespace.IDMap{{Inside: 1000, Outside: 70000, Count: 1}})}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, ids, p := setup(t, c.facts, c.opts...)
			text := "mode " + modeNames[p.mode] + ", clone " + names(p.flags, cloneNames).Text + "\n" + idText(ids) + "\n" + p.String()
			golden(t, name, text)
			checkText(t, text)
			again := func() string { _, _, p := setup(t, c.facts, c.opts...); return p.String() }
			assert.Equal(t, p.String(), again(), "the same options give the same plan")
		})
	}
}

// TestGoldenTemplate is a root in two parts: what sandboxes share, and what each adds.
func TestGoldenTemplate(t *testing.T) {
	f := aheadFacts()
	f.tmpfsIDs = true
	s, ids, whole := setup(t, f, WithBind("/srv/data", "/data", rootfs.BindReadOnly), WithTmpfs("/scratch", "1m"), WithFile("/scratch/f", []byte("f"), 0o600), WithFile("/etc/motd", []byte("hello\n"), 0o644))
	ops, err := s.rootOps(f.root)
	require.NoError(t, err)
	src := handSources(s, f, ops)
	l, _, err := planLandlock(s, f, ops, src)
	require.NoError(t, err)
	require.True(t, templatable(s, f, ids, ops, src))
	shared := compileTemplate(s, f, ops, src)
	own := compileInitPart(s, f, ids, ops, src, l, ownPart)
	golden(t, "template", shared.StringAs("zygote", "once")+own.String())
	assert.Less(t, own.Steps(), whole.Steps()-whole.Steps()/8)

	for name, opt := range map[string]Option{
		"capabilities": WithCapabilities("CHOWN"), "root": WithRootfs("/srv/root"), "chroot": WithChroot(),
		"view": WithProc(ViewFiles), "time": WithTime(time.Hour), "pid": WithHost(namespace.PID), "devices": WithDevice("/dev/fuse", "/dev/fuse"),
	} {
		s, ids, _ := setup(t, f, opt)
		ops, err := s.rootOps(f.root, viewOf(s)...)
		require.NoError(t, err)
		assert.False(t, templatable(s, f, ids, ops, handSources(s, f, ops)), name)
	}
	s, ids, _ = setup(t, userFacts())
	assert.False(t, templatable(s, userFacts(), ids, ops, src), "an ordinary user")
}

// oldKernel is Linux 5.14 to 5.18.
func oldKernel() *hostFacts {
	f := rootFacts()
	f.mapLower = false
	return f
}

// olderLandlock is a machine with Linux 5.19.
func aheadFacts() *hostFacts {
	f := rootFacts()
	f.netAhead = true
	return f
}

func olderLandlock() *hostFacts {
	f := rootFacts()
	f.landlock = 2
	return f
}

// noMounts is root in a container: it may map ids, but not touch the mounts of the host.
func noMounts() *hostFacts {
	f := rootFacts()
	f.mounts, f.idRange, f.makesNodes = false, false, false
	f.ownRange = namespace.IDMap{Inside: 0, Outside: 1, Count: 65535}
	return f
}

var modeNames = []string{"direct", "join", "copy"}

func idText(ids idPlan) string {
	w := ids.wire
	switch {
	case w == nil:
		return "ids: of the host"
	case w.Count > 0:
		return "ids: a range of 65536"
	}
	text := "uid_map " + flat(w.UIDs) + "; gid_map " + flat(w.GIDs)
	if w.DenySetgroups {
		text += "; setgroups deny"
	}
	if w.Helper {
		text += "; by newuidmap and newgidmap"
	}
	return text
}

func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestGoldenCommands(t *testing.T) {
	program := &commandSpec{path: "/bin/echo", args: []string{"echo", "hi"}, env: []string{defaultPath}, dir: "/box", files: 3}
	with := func(f func(c *commandSpec)) *commandSpec { c := *program; f(&c); return &c }
	filter := make([]byte, 16) // two instructions
	cases := map[string]struct {
		facts *hostFacts
		opts  []Option
		tasks int
		cmd   *commandSpec
	}{
		"command":                 {rootFacts(), nil, 0, program},
		"command-v1":              {rootFacts(), nil, 3, program},
		"command-user":            {userFacts(), nil, 0, program},
		"command-caps":            {rootFacts(), []Option{WithCapabilities("CAP_NET_BIND_SERVICE", "CAP_CHOWN"), WithCredential(0, 0, 5, 6)}, 0, program},
		"command-tty":             {rootFacts(), nil, 0, with(func(c *commandSpec) { c.tty = true })},
		"command-path":            {rootFacts(), nil, 0, with(func(c *commandSpec) { c.path = "echo"; c.env = []string{"PATH=/usr/local/bin:relative::/bin"} })},
		"command-landlock-2":      {olderLandlock(), nil, 0, with(func(c *commandSpec) { c.reopen = []uint64{onFile, 0, landFile} })},
		"command-landlock-scoped": {rootFacts(), []Option{WithHost(namespace.PID), WithBind("/srv/out", "/out", 0), WithBind("/srv/in", "/in", rootfs.BindReadOnly), WithBind("/srv/log.txt", "/log.txt", 0), WithTmpfs("/out/tmp", "1m")}, 0, program},
		"command-cpus":            {rootFacts(), []Option{WithProc(ViewFiles), WithCPUs(1.5)}, 0, program},
		"command-groups-v1":       {rootFacts(), []Option{WithProc(ViewFiles), WithMemory("64m")}, 2, program},
		"command-groups-v2":       {rootFacts(), []Option{WithProc(ViewLXCFS), WithMemory("64m")}, 0, program},
		"command-listener":        {rootFacts(), []Option{WithSeccomp(seccomp.Default().WithDenied(seccomp.KillProcess))}, 0, program},
		"command-time":            {rootFacts(), []Option{WithTime(time.Hour)}, 0, program},
		"command-host":            {rootFacts(), []Option{WithHost(namespace.PID, namespace.Mount, namespace.User, namespace.Net), WithCredential(65534, 65534)}, 0, program},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, ids, _ := setup(t, c.facts, c.opts...)
			ops, err := s.rootOps(c.facts.root)
			require.NoError(t, err)
			l, _, err := planLandlock(s, c.facts, ops, handSources(s, c.facts, ops))
			require.NoError(t, err)
			w := &walls{filter: filter, lenient: name == "command-v1", landlock: l}
			if s.policy != nil {
				w.listening = &listening{flags: newListener | seccomp.FlagWaitKillableRecv}
			}
			switch {
			case s.view == ViewLXCFS:
				w.shown = placeGroups([]string{cgroup.UnifiedHierarchy}, nil)
			case s.view != ViewHost && c.tasks > 0:
				w.shown = placeGroups(append([]string{cgroup.UnifiedHierarchy, "stranger"}, legacyHost...), legacyHost)
			case s.view != ViewHost:
				w.cpus = []int{0, 65}
			}
			p := compileCommand(s, ids, c.facts.lastCap, c.tasks, w, c.cmd)
			text := "mode " + modeNames[p.mode] + "\n" + p.String()
			golden(t, name, text)
			checkText(t, text)
			inputs := 1 + c.tasks + c.cmd.files
			if strings.Contains(text, "dup3(ruleset") || strings.Contains(text, "landlock_restrict_self(ruleset") && !strings.Contains(text, "landlock_create_ruleset") {
				inputs++
			}
			assert.Len(t, p.Whole().Inputs, inputs)
		})
	}
}

func TestGoldenFiles(t *testing.T) {
	for name, f := range map[string]*hostFacts{"root": rootFacts(), "user": userFacts()} {
		s, ids, _ := setup(t, f)
		golden(t, "open-"+name, compileOpen(s, ids, "/box/out", 0, 0).String())
		golden(t, "create-"+name, compileOpen(s, ids, "/box/in", 0o101, 0o644).String())
		golden(t, "terminal-"+name, compileTerminal(s, ids, WindowSize{Rows: 24, Cols: 80}).String())
	}
	golden(t, "zygote", compileZygote(precedence{}).String())
}

var address = regexp.MustCompile(`0x[0-9a-f]{4,}`)

// checkText looks for what would differ from one machine or run to the next.
func checkText(t *testing.T, text string) {
	t.Helper()
	assert.NotRegexp(t, address, text)
	for _, line := range strings.Split(text, "\n") {
		assert.NotContains(t, line, "(BADINDEX", line)
		assert.NotContains(t, line, ", )", line)
	}
}

// TestPlanText compares what a real sandbox says of itself with what it is told to do.
func TestPlanText(t *testing.T) {
	sb := newBox(t, WithHostname("glass"), WithTmpfs("/scratch", "1m"))
	text := sb.Plan()
	for _, want := range []string{
		`sethostname("glass", 5)`, `pivot_root(".", ".")`, `umount2(".", MNT_DETACH)`, "PR_SET_NO_NEW_PRIVS", "execveat(pause",
		`fsopen("proc", FSOPEN_CLOEXEC)`, `mkdirat(AT_FDCWD, "scratch", 0755)`, "capset(",
	} {
		assert.Contains(t, text, want)
	}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		assert.Regexp(t, `^(zygote|child ) +\w[\w ]* +\w+\(.*\)( = \S.*)?( \?.*)?$`, line)
	}
}
