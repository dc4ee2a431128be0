package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Every step of a set-up is made to fail, one after the other, and nothing may be left of it.

// injected is an errno that no call of a plan returns by itself, and none tolerates.
const injected = unix.EXFULL

// tampering changes requests until the returned function is called.
func tampering(t testing.TB, f func(*request)) (stop func()) {
	require.True(t, tamper.CompareAndSwap(nil, &f), "one at a time")
	stop = func() { tamper.CompareAndSwap(&f, nil) }
	t.Cleanup(stop)
	return stop
}

// failing makes one step of each plan of that kind fail while do runs.
func failing(t testing.TB, kind wire.Kind, index int, errno syscall.Errno, do func()) {
	stop := tampering(t, func(r *request) {
		if r.kind == kind && r.plan != nil {
			require.True(t, r.plan.Inject(index, errno))
		}
	})
	defer stop()
	do()
}

// planOf returns the plan of that kind that do sends.
func planOf(t testing.TB, kind wire.Kind, do func()) *plan.Plan {
	var found *plan.Plan
	stop := tampering(t, func(r *request) {
		if r.kind == kind && r.plan != nil {
			found = r.plan
		}
	})
	defer stop()
	do()
	require.NotNil(t, found)
	return found
}

// spareNets is how many network namespaces the zygote may have beside those of sandboxes: those that are ready or have come back, one that is being made, and its own.
const spareNets = 8 + 2

// aboutNets tells of a descriptor of the zygote's that it may have for network namespaces.
func aboutNets(z *zygoteClient, target string, n int) bool {
	switch target {
	case "net": // they come and go by themselves
		z.mu.Lock()
		defer z.mu.Unlock()
		return n <= spareNets+len(z.ends)
	case "anon_inode:bpf-map", "anon_inode:bpf-prog": // what notes sockets in them, from the second sandbox on
		return n <= 1
	case "anon_inode:bpf_link":
		return n <= 3
	}
	_, alone := notingPlace()
	return n == 1 && alone && slices.Contains(notingGroups(z.pid), target)
}

// notingPlace is the group of v2 below which zygotes make the one where sockets are noted, and whether that is there for nothing else; "" where none can be.
func notingPlace() (dir string, alone bool) {
	h, err := cgroup.Detect()
	if err != nil {
		return "", false
	}
	if base, err := h.Base(0); err == nil {
		for _, d := range base.Dirs {
			if d.Version == 2 {
				return d.Path, false
			}
		}
	}
	own, ok := h.Unified()
	if !ok {
		return "", false
	}
	return own.Dirs[0].Path, true
}

// notingGroups are the groups there of a zygote.
func notingGroups(pid int) []string {
	dir, _ := notingPlace()
	found, _ := filepath.Glob(fmt.Sprintf("%s/belljar-%d-*", dir, pid))
	return found
}

// held lists what the engine holds: descriptors here and in the zygote, the zygote's children, and its cgroups.
func held(t testing.TB) []string {
	t.Helper()
	z, err := currentZygote()
	require.NoError(t, err)
	allLanes(z)
	allDirect(t, z)
	pid := strconv.Itoa(z.pid)
	var all []string
	for who, files := range map[string]map[string]int{"host": leaktest.Files("self"), "zygote": leaktest.Files(pid)} {
		for target, n := range files {
			if who == "zygote" && target == "mnt" {
				continue // templates, which come and go by themselves, and are few
			}
			if who == "zygote" && n == 1 && (strings.HasSuffix(target, "/mounts") || target == "/") {
				continue // what tells of the host's mounts, and the way back there, from the first template on
			}
			if who == "zygote" && aboutNets(z, target, n) {
				continue
			}
			for range n {
				all = append(all, anyJob(fmt.Sprintf("%s has %s", who, target)))
			}
		}
	}
	seeds := 0
	lists, _ := filepath.Glob("/proc/" + pid + "/task/*/children")
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		for _, child := range strings.Fields(string(b)) {
			switch comm, _ := os.ReadFile("/proc/" + child + "/comm"); strings.TrimSpace(string(comm)) {
			case launch.JoinerName:
				child = "that is a joiner"
			case launch.SeedName:
				if seeds++; seeds <= 2 {
					continue // one for all sandboxes, and a copy of it that another one follows
				}
			}
			all = append(all, "child "+child)
		}
	}
	for _, g := range groupsOf(z.pid) {
		all = append(all, anyJob(g))
	}
	slices.Sort(all)
	return all
}

// anyJob leaves out which command a leaf is for: there is a spare one after the other.
func anyJob(path string) string { return jobNumber.ReplaceAllString(path, "/job-N") }

var jobNumber = regexp.MustCompile(`/job-\d+`)

// allLanes opens the lanes that there can be, so that their number says nothing.
func allLanes(z *zygoteClient) {
	var lanes []*wire.Conn
	for lane := z.takeLane(); lane != nil; lane = z.takeLane() {
		lanes = append(lanes, lane)
	}
	for _, lane := range lanes {
		z.leaveLane(lane)
	}
	if len(lanes) > 0 {
		_, _, _ = z.call(request{kind: wire.Stats, body: wire.BoxRequest{}}) // answered, with an error, once it has received the lanes
	}
}

var directOf atomic.Pointer[zygoteClient]

// allDirect has a zygote make what it has for commands that are started without it, which stays.
func allDirect(t testing.TB, z *zygoteClient) {
	if tamper.Load() != nil || directOf.Swap(z) == z {
		return
	}
	sb, err := New()
	require.NoError(t, err)
	for range 4 {
		_, err := sb.Run(context.Background(), "/bin/true")
		require.NoError(t, err)
	}
	require.NoError(t, sb.Close())
}

// settled is held once nothing of what went before is still on its way out.
func settled(t testing.TB) []string {
	t.Helper()
	last := held(t)
	for same := 0; same < 5; {
		time.Sleep(2 * time.Millisecond)
		now := held(t)
		if same++; !slices.Equal(now, last) {
			same = 0
		}
		last = now
	}
	return last
}

// groupTops are the cgroups of the zygote looked at last, which stay while it lives.
var groupTops struct {
	pid  int
	dirs []string
}

// groupsOf lists the cgroups of a zygote, of all hierarchies, with all below them.
func groupsOf(pid int) []string {
	if groupTops.pid != pid || len(groupTops.dirs) == 0 {
		groupTops.pid, groupTops.dirs = pid, nil
		for _, top := range leaktest.Groups() {
			if strings.Contains(top, fmt.Sprintf("/belljar-%d-", pid)) {
				groupTops.dirs = append(groupTops.dirs, top)
			}
		}
	}
	var all []string
	for _, top := range groupTops.dirs {
		_ = filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, path)
			}
			return nil
		})
	}
	return all
}

// fewer is what was held when something that there was before had gone, and nothing had come.
var fewer []string

// unchanged waits until the same is held as before, which what has just been killed may take a moment for, or less, since what was on its
// way out then may have gone.
func unchanged(t testing.TB, before []string, what string) {
	t.Helper()
	begin := time.Now()
	now := held(t)
	for ; time.Since(begin) < patience; now = held(t) {
		if slices.Equal(now, before) {
			return
		}
		if noneMore(now, before) && (slices.Equal(now, fewer) || time.Since(begin) > 2*time.Second) {
			fewer = now
			return
		}
		time.Sleep(time.Millisecond)
	}
	without := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(l string) bool { return slices.Contains(b, l) })
	}
	t.Fatalf("%s: now there is %q, and no longer %q", what, without(now, before), without(before, now))
}

// noneMore tells whether nothing is held that was not before.
func noneMore(now, before []string) bool {
	had := map[string]int{}
	for _, l := range before {
		had[l]++
	}
	for _, l := range now {
		if had[l]--; had[l] < 0 {
			return false
		}
	}
	return true
}

// requireStep checks that an error names a step and is its errno.
func requireStep(t testing.TB, err error, s plan.Step, errno syscall.Errno) {
	t.Helper()
	require.ErrorIs(t, err, errno, s.Call+" "+s.Object)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, [3]string{s.Stage, s.Call, s.Object}, [3]string{e.Stage, e.Op, e.Path})
	assert.NotEmpty(t, e.Stage, s.Call)
	assert.NotEmpty(t, e.Path, "%s has no object", s.Call)
	assert.Contains(t, err.Error(), s.Call)
	assert.Contains(t, err.Error(), unix.Errno(errno).Error())
}

// tolerant tells whether a step's errors are no errors.
func tolerant(s plan.Step) bool { return s.Soft && len(s.Errnos) == 0 }

// fullOptions ask for everything that makes a plan longer.
func fullOptions(t testing.TB) []Option {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("data"), 0o644))
	return []Option{
		WithHostname("glass"), WithBind(dir, "/data", rootfs.BindReadOnly), WithBind(filepath.Join(dir, "file"), "/etc/file", rootfs.BindReadOnly),
		WithTmpfs("/scratch", "1m"), WithFile("/etc/motd", []byte("hello\n"), 0o644), WithHosts(map[string]string{"a": "10.0.0.1"}),
	}
}

// stride visits every step, or in a short run every few.
func stride() int {
	if testing.Short() {
		return 17
	}
	return 1
}

func TestFaultSetup(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Chmod(root, 0o755))
	for _, d := range []string{"usr", "proc", "dev", "tmp"} {
		require.NoError(t, os.Mkdir(filepath.Join(root, d), 0o755))
	}
	common := fullOptions(t)
	cases := []struct {
		name string
		opts []Option
		step int
	}{
		{"full", common, 1},
		{"rootfs", append(common[:len(common):len(common)], WithRootfs(root)), 7},
		{"upper", append(common[:len(common):len(common)], WithRootfs(root), WithUpper(filepath.Join(t.TempDir(), "upper"))), 7},
		{"scratch", append(common[:len(common):len(common)], WithRootfs(root), WithScratch("1m")), 7},
		{"time", []Option{WithTime(1e9)}, 11},
		{"host", hostOptions(), 7},
		{"proc", []Option{WithProc(ViewFiles), BestEffort(WithMemory("64m")), WithHidePID(HideProcesses), WithDevice("/dev/zero", "/dev/my/zero")}, 11},
		{"pids", []Option{WithProcPIDs()}, 19},
	}
	seen := map[string]bool{}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := planOf(t, wire.Create, func() { require.NoError(t, newBox(t, c.opts...).Close()) })
			failSome(t, p, wire.Create, oftenOrNew(c.step*stride(), seen), func() error {
				sb, err := New(c.opts...)
				if err == nil {
					require.NoError(t, sb.Close())
				}
				return err
			})
			sb := newBox(t, c.opts...)
			res, err := sb.Run(inTime(t), "/bin/true")
			if slices.Contains([]string{"rootfs", "upper", "scratch"}, c.name) {
				require.ErrorIs(t, err, unix.ENOENT, "there is nothing in it")
				return
			}
			require.NoError(t, err)
			require.NoError(t, res.Err())
		})
	}
}

func hostOptions() []Option {
	if os.Geteuid() != 0 {
		return []Option{WithHost(namespace.Net, namespace.UTS, namespace.IPC)}
	}
	return []Option{WithHost(namespace.PID, namespace.Mount, namespace.User, namespace.Net), WithCredential(65534, 65534), BestEffort(WithMemory("64m"))}
}

// oftenOrNew picks every few steps, and, but in a short run, each that none of the plans before it had.
func oftenOrNew(every int, seen map[string]bool) func(i int, s plan.Step) bool {
	return func(i int, s plan.Step) bool {
		what := s.Stage + " " + s.Call + " " + s.Object
		known := seen[what] || testing.Short()
		seen[what] = true
		return !known || i%every == 0
	}
}

// failAll makes each step of a plan fail in turn, or every few.
func failAll(t *testing.T, p *plan.Plan, kind wire.Kind, step int, do func() error) {
	t.Helper()
	first := -len(p.Parent)
	failSome(t, p, kind, func(i int, _ plan.Step) bool { return (i-first)%step == 0 }, do)
}

// failSome makes those steps of a plan fail in turn that are chosen.
func failSome(t *testing.T, p *plan.Plan, kind wire.Kind, choose func(i int, s plan.Step) bool, do func() error) {
	t.Helper()
	before := settled(t)
	failed := 0
	for i := -len(p.Parent); i < len(p.Child); i++ {
		s, ok := p.Step(i)
		require.True(t, ok)
		if !choose(i, s) {
			continue
		}
		failed++
		var err error
		failing(t, kind, i, injected, func() { err = do() })
		if tolerant(s) {
			require.NoError(t, err, s.Call+" "+s.Object)
			continue
		}
		if err == nil && passedOver(p, i) {
			continue // since what it belongs to was there already
		}
		requireStep(t, err, s, injected)
		unchanged(t, before, fmt.Sprintf("after step %d, %s %s", i, s.Call, s.Object))
		if i%50 == 0 {
			require.NoError(t, do(), "the next one works")
			unchanged(t, before, "after one that worked")
		}
	}
	require.Positive(t, failed)
	t.Logf("%d of %d steps", failed, len(p.Parent)+len(p.Child))
	require.NoError(t, do(), "the next one works")
	unchanged(t, before, "at the end")
}

// neverReady has no process made ready for commands of a sandbox from now on, however late the last one thought of it: so it is where events have been watched.
func neverReady(t *testing.T, sb *Sandbox) {
	t.Helper()
	if !sb.engine.grouped {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	events := sb.Events(ctx)
	cancel()
	for range events {
	}
}

// passedOver tells whether one of the child's steps before it may pass over a step.
func passedOver(p *plan.Plan, i int) bool {
	for before := range max(i, 0) {
		if s, ok := p.Step(before); ok && s.Soft && before+s.Skip >= i {
			return true
		}
	}
	return false
}

func TestFaultCommand(t *testing.T) {
	cases := map[string][]Option{
		"default": nil,
		"time":    {WithTime(1e9)},
		"caps":    {WithCapabilities("CAP_CHOWN"), WithCredential(0, 0)},
		"kill":    {killing()},
		"groups":  {WithProc(ViewFiles), BestEffort(WithMemory("256m")), BestEffort(WithCPUs(1))},
	}
	for name, opts := range cases {
		t.Run(name, func(t *testing.T) {
			if name == "kill" {
				answered(t)
			}
			sb := newBox(t, opts...)
			run := func() error { _, err := sb.Run(inTime(t), "/bin/true"); return err }
			do := func() error {
				if tamper.Load() == nil {
					// A plan of its own, as all have that fail here, so that there is no process ready before one and none after it.
					defer tampering(t, func(*request) {})()
				}
				return run()
			}
			for range 3 { // to the end that what is kept ready for the next command is there
				require.NoError(t, run())
			}
			neverReady(t, sb)
			p := planOf(t, wire.Start, func() { require.NoError(t, do()) })
			eventually(t, "a leaf stands ready", func() bool { return !sb.engine.grouped || spareOf(t, sb) != "" })
			for i := range p.Child[p.Exec:] {
				p.Child[p.Exec+i].Object = "/bin/true"
			}
			failAll(t, p, wire.Start, stride(), do)
		})
	}
}

func TestFaultFiles(t *testing.T) {
	sb := newBox(t)
	require.NoError(t, sb.WriteFile("/box/a", []byte("a"), 0o644))
	do := func() error {
		f, err := sb.engine.open("/box/a", unix.O_RDONLY, 0)
		if err == nil {
			require.NoError(t, f.Close())
		}
		return err
	}
	failAll(t, planOf(t, wire.Do, func() { require.NoError(t, do()) }), wire.Do, 1, do)
	write := func() error {
		f, err := sb.engine.open("/box/b", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o644)
		if err == nil {
			require.NoError(t, f.Close())
		}
		return err
	}
	failAll(t, planOf(t, wire.Do, func() { require.NoError(t, write()) }), wire.Do, 1, write)
	terminal := func() error {
		c, e, err := sb.engine.terminal(WindowSize{Rows: 2, Cols: 3})
		if err == nil {
			require.NoError(t, c.Close())
			require.NoError(t, e.Close())
		}
		return err
	}
	failAll(t, planOf(t, wire.Do, func() { require.NoError(t, terminal()) }), wire.Do, 1, terminal)
}

// TestFaultGroups makes every operation on cgroups fail: those of a sandbox's group, then those of its first command's.
func TestFaultGroups(t *testing.T) {
	opts := []Option{WithMemory("64m"), WithPids(20), WithCPUs(0.5)}
	sb := standing(t, opts...)
	require.NotNil(t, grouped(t, sb))
	before := settled(t)
	leaf := false
	n := 1
	for ; ; n++ {
		var created, started error
		stop := tampering(t, func(r *request) {
			if req, ok := r.body.(wire.CreateRequest); ok {
				g := *req.Group
				g.Fail, g.Errno, g.Leaf = n, unix.EXFULL, nil
				req.Group = &g
				r.body = req
			}
		})
		sb, err := New(opts...)
		stop()
		created = err
		if err == nil {
			_, started = sb.Command("/bin/true").Run(context.Background())
			if started != nil {
				leaf = true
				_, err := sb.Run(inTime(t), "/bin/true")
				require.NoError(t, err, "the sandbox still works")
			}
			require.NoError(t, sb.Close())
		}
		failed := created
		if failed == nil {
			failed = started
		}
		unchanged(t, before, fmt.Sprintf("after operation %d", n))
		if failed == nil {
			break
		}
		require.ErrorIs(t, failed, unix.EXFULL)
		var e *Error
		require.ErrorAs(t, failed, &e)
		assert.Equal(t, "cgroup", e.Stage)
		assert.Contains(t, []string{"mkdir", "open", "write", "read", "fchown", "chown"}, e.Op)
		assert.True(t, filepath.IsAbs(e.Path), e.Path)
	}
	assert.Greater(t, n, 5)
	assert.True(t, leaf, "no operation of a command's group failed")
}

// TestFaultFirstLeaf makes the leaf fail that is made along with a sandbox's group: the first command then has one made for it.
func TestFaultFirstLeaf(t *testing.T) {
	opts := []Option{WithMemory("64m"), WithPids(20)}
	require.NotNil(t, grouped(t, standing(t, opts...)))
	before := settled(t)
	worked := 0
	for n := 1; worked < 12 && n < 100; n++ {
		stop := tampering(t, func(r *request) {
			if req, ok := r.body.(wire.CreateRequest); ok {
				g := *req.Group
				g.Fail, g.Errno = n, unix.EXFULL
				req.Group = &g
				r.body = req
			}
		})
		sb, err := New(opts...)
		stop()
		if err == nil {
			worked++
			res, err := sb.Run(inTime(t), "/bin/true")
			require.NoError(t, err)
			require.NoError(t, res.Err())
			require.NoError(t, sb.Close())
		}
		unchanged(t, before, fmt.Sprintf("after operation %d", n))
	}
	assert.Equal(t, 12, worked)
}

// TestFaultMaps has the kernel refuse id maps.
func TestFaultMaps(t *testing.T) {
	newBox(t) // it must work without the fault
	before := settled(t)
	const good = "1000 0 1\n"
	for name, c := range map[string]struct {
		uids, gids, path string
		errno            syscall.Errno
	}{
		"uid_map":       {"0 0 0\n", "0 0 1\n", `uid_map "0 0 0"`, unix.EINVAL},
		"gid_map":       {good, "0 0 1\n0 0 1\n", `gid_map "0 0 1\n0 0 1"`, unix.EINVAL},
		"uid_map empty": {"nonsense", good, `uid_map "nonsense"`, unix.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 && strings.HasPrefix(name, "gid") {
				skip(t, "needs root to map any user")
			}
			stop := tampering(t, func(r *request) {
				if req, ok := r.body.(wire.CreateRequest); ok {
					m := *req.IDMap
					m.Count, m.UIDs, m.GIDs, m.Helper, m.DenySetgroups = 0, c.uids, c.gids, false, false
					req.IDMap = &m
					r.body = req
				}
			})
			_, err := New()
			stop()
			requireStep(t, err, plan.Step{Stage: "id map", Call: "write", Object: c.path}, c.errno)
			unchanged(t, before, name)
		})
	}
	newBox(t)
}

// TestFaultHelper has newuidmap refuse.
func TestFaultHelper(t *testing.T) {
	if !installed("newuidmap") {
		skip(t, "needs newuidmap")
	}
	newBox(t)
	before := settled(t)
	stop := tampering(t, func(r *request) {
		if req, ok := r.body.(wire.CreateRequest); ok {
			m := *req.IDMap
			m.Count, m.UIDs, m.GIDs, m.Helper = 0, "0 4000000000 1\n", "0 4000000000 1\n", true
			req.IDMap = &m
			r.body = req
		}
	})
	_, err := New()
	stop()
	require.ErrorIs(t, err, unix.EPERM)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "id map", e.Stage)
	assert.Contains(t, e.Path, "newuidmap")
	unchanged(t, before, "newuidmap")
}

// TestFaultZygote makes every step fail by which the zygote comes about.
func TestFaultZygote(t *testing.T) {
	stopZygote()
	host := leaktest.Files("self")
	n := len(compileZygote(precedence{}).Child)
	for i := 0; i < n; i += stride() {
		s, _ := compileZygote(precedence{}).Step(i)
		var err error
		failing(t, 0, i, injected, func() { _, err = New() })
		requireStep(t, err, s, injected)
		eventually(t, "nothing is left after "+s.Call+" "+s.Object, func() bool { // what the zygote before had may go meanwhile
			for target, n := range leaktest.Files("self") {
				if n > host[target] {
					return false
				}
			}
			return true
		})
	}
	newBox(t)
}
