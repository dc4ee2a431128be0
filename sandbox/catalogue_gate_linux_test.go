package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// text adds a string to a plan.
func text(p *plan.Plan, s string) plan.Arg {
	at := len(p.Data)
	p.Data = append(p.Data, s+"\x00"...)
	return plan.Arg{Kind: plan.Data, Value: int64(at)}
}

// insertGate has a set-up wait, after the step of that call and object, at a FIFO until somebody has opened it for writing and closed it again. It says where.
func insertGate(p *plan.Plan, gate, call, object string) (at int) {
	i := slices.IndexFunc(p.Child, func(s plan.Step) bool { return s.Call == call && (object == "" || s.Object == object) })
	if i < 0 {
		panic("no step " + call + " " + object)
	}
	fd := plan.Reg(len(p.Regs))
	p.Regs = append(p.Regs, "gate")
	open := plan.Step{Stage: "root", Call: "openat", Object: gate, Nr: unix.SYS_OPENAT, Args: []plan.Arg{plan.CWD, text(p, gate), plan.Int(unix.O_RDONLY | unix.O_CLOEXEC), plan.Zero}, Out: fd}
	read := plan.Step{Stage: "root", Call: "read", Object: gate, Nr: unix.SYS_READ, Args: []plan.Arg{plan.R(fd), text(p, "."), plan.Int(1)}, Out: plan.None}
	p.Child = slices.Insert(p.Child, i+1, open, read)
	if p.Exec > i {
		p.Exec += 2
	}
	return i
}

// gated makes a sandbox whose set-up waits, with a FIFO of its root, until f has been called. byPath turns what works by way of a mount's own
// descriptor into what goes by its path.
func gated(t *testing.T, gate, call, object string, byPath bool, f func(), opts ...Option) (*Sandbox, error) {
	t.Helper()
	found := 0
	stop := tampering(t, func(r *request) {
		if r.kind != wire.Create {
			return
		}
		i := insertGate(r.plan, "/gate", call, object)
		for n := i; byPath && n < len(r.plan.Child); n++ {
			if s := &r.plan.Child[n]; s.Call == "fchdir" && s.Object == object {
				s.Nr, s.Args = unix.SYS_CHDIR, []plan.Arg{text(r.plan, object)}
				found++
			}
		}
	})
	defer stop()
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		w, err := os.OpenFile(gate, os.O_WRONLY, 0) // there is a reader now
		if err != nil {
			return
		}
		f()
		_ = w.Close()
	}()
	sb, err := New(opts...)
	// Where the set-up has not come so far, the gate is opened for who waits at it.
	if fd, operr := unix.Open(gate, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); operr == nil {
		<-passed
		_ = unix.Close(fd)
	}
	assert.Equal(t, byPath, found > 0)
	return sb, err
}

// Case 3 at the very moment: between the mount of proc and the masks in it, who owns the root puts another directory in its place (CVE-2025-31133). The masks are on the
// proc that was mounted, wherever it is now. Control: set-ups that went by the path mask what was put there, and leave the kernel's files open.
func TestCase3SwappedAtTheMoment(t *testing.T) {
	needRoot(t)
	for _, byPath := range []bool{false, true} {
		dir, opts := tinyRoot(t, func(dir string) {
			require.NoError(t, unix.Mkfifo(filepath.Join(dir, "gate"), 0o666))
			require.NoError(t, os.Chmod(filepath.Join(dir, "gate"), 0o666))
			for _, op := range rootfs.ProcOps() { // a good likeness
				p := filepath.Join(dir, "proc2", strings.TrimPrefix(op.Path(), "/proc"))
				if lookProc(op.Path()) == procDir {
					require.NoError(t, os.MkdirAll(p, 0o755))
				} else {
					require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
					require.NoError(t, os.WriteFile(p, nil, 0o644))
				}
			}
		})
		exchange := func() {
			assert.NoError(t, unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "proc"), unix.AT_FDCWD, filepath.Join(dir, "proc2"), unix.RENAME_EXCHANGE))
		}
		sb, err := gated(t, filepath.Join(dir, "gate"), "move_mount", "/proc", byPath, exchange, append(opts, unguarded()...)...)
		require.NoError(t, err)
		out := sh(t, sb, `test -e /proc2/self/mountinfo && echo moved
for f in interrupts keys timer_list kcore; do test -z "$(head -c 64 /proc2/$f 2>&-)" || echo $f shows; done
(echo > /proc2/irq/default_smp_affinity) 2>&1`+"\ntrue")
		assert.Contains(t, out, "moved")
		if byPath {
			assert.Contains(t, out, "interrupts shows")
			assert.NotContains(t, out, "ead-only")
		} else {
			assert.NotContains(t, out, "shows")
			assert.Contains(t, out, "ead-only")
		}
		require.NoError(t, sb.Close())
	}
}

func init() {
	// waiting makes a sandbox whose set-up stops at a gate, with or without the parent-death signal that a change of ids clears.
	hosts["waiting"] = func(args []string) {
		dir, call, object := args[0], args[1], strings.ReplaceAll(args[2], "_", " ")
		f := func(r *request) {
			if r.kind != wire.Create {
				return
			}
			gate := "/gate"
			if args[3] == "outside" {
				gate = filepath.Join(dir, "gate")
			}
			i := insertGate(r.plan, gate, call, object)
			for n := range r.plan.Child[:i] {
				if s := &r.plan.Child[n]; s.Call == "prctl" && s.Object == "PR_SET_PDEATHSIG" && args[4] == "unsigned" {
					s.Args[1] = plan.Zero
				}
			}
		}
		check(Prepare())
		sayZygote()
		tamper.Store(&f)
		say("ready")
		_, err := New(WithRootfs(dir))
		say("error", err)
		sleep()
	}
}

// withGate makes a root with a gate.
func withGate(t *testing.T) string {
	t.Helper()
	dir, _ := tinyRoot(t, func(dir string) {
		require.NoError(t, unix.Mkfifo(filepath.Join(dir, "gate"), 0o666))
		require.NoError(t, os.Chmod(filepath.Join(dir, "gate"), 0o666))
	})
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

// atGate starts a host program and returns when its sandbox waits. pass lets it go on.
func atGate(t *testing.T, dir, call, object, where, signal string) (h *host, pass func()) {
	t.Helper()
	h = startHost(t, strings.Join([]string{"waiting", dir, call, object, where, signal}, " "))
	var w *os.File
	eventually(t, "it waits", func() bool {
		var err error
		w, err = os.OpenFile(filepath.Join(dir, "gate"), os.O_WRONLY|unix.O_NONBLOCK, 0)
		return err == nil
	})
	t.Cleanup(func() { _ = w.Close() })
	return h, func() { _ = w.Close() }
}

// sweepAfter starts another program when nothing of a killed zygote is left, which removes its cgroups.
func sweepAfter(t *testing.T, h *host) {
	t.Helper()
	eventually(t, "the zygote is gone", func() bool {
		leaktest.ReapOrphans()
		_, ok := leaktest.Lookup(strconv.Itoa(h.zygote))
		return !ok
	})
	startHost(t, "once").kill()
}

// nothingButTheGate waits until all is gone but the test's own end of the gate.
func nothingButTheGate(t *testing.T, before *leaktest.Snapshot) {
	t.Helper()
	var left []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		left = slices.DeleteFunc(before.Left(), func(l string) bool { return strings.Contains(l, t.Name()) })
		if len(left) == 0 {
			return
		}
	}
	assert.Empty(t, left)
}

// moments are those at which a set-up is stopped: before and after the namespaces, in the new root, and with a proc in it.
var moments = []struct{ call, object, where string }{
	{"close_range", "descriptors", "outside"},
	{"unshare", "namespaces", "outside"},
	{"umount2", "old_root", "inside"},
	{"move_mount", "/proc", "inside"},
	{"sethostname", "belljar", "inside"},
}

// Case 80 at moments that are known: the host program, or its zygote, is killed while PID 1 is half set up, and both end with all that is theirs. Nobody opens the gate for it.
func TestKilledDuringSetup(t *testing.T) {
	needRoot(t)
	some := moments
	if testing.Short() {
		some = moments[2:4]
	}
	for i, m := range some {
		dir := withGate(t)
		before := leaktest.Take()
		h, pass := atGate(t, dir, m.call, m.object, m.where, "signed")
		assert.NotEmpty(t, sandboxed(h.zygote), "the control: somebody waits there")
		if i%2 == 0 {
			h.kill()
		} else {
			require.NoError(t, unix.Kill(h.zygote, unix.SIGKILL))
			h.kill()
			sweepAfter(t, h)
		}
		nothingButTheGate(t, before)
		pass()
	}
}

// Case 82: PID 1 changes its ids, which clears the signal that it gets when its parent dies, and asks for it again: it ends with a zygote that has been killed. Control: without the
// signal it stays, until it finds that its lifeline has ended.
func TestCase82ParentDeathSignal(t *testing.T) {
	needRoot(t)
	for _, signal := range []string{"signed", "unsigned"} {
		dir := withGate(t)
		before := leaktest.Take()
		h, pass := atGate(t, dir, "move_mount", "/proc", "inside", signal)
		inside := sandboxed(h.zygote)
		require.NotEmpty(t, inside)
		require.NoError(t, unix.Kill(h.cmd.Process.Pid, unix.SIGSTOP))
		require.NoError(t, unix.Kill(h.zygote, unix.SIGKILL))
		alive := func() bool {
			leaktest.ReapOrphans()
			q, ok := leaktest.Lookup(strconv.Itoa(inside[0].PID))
			return ok && q.Start == inside[0].Start && !q.Zombie()
		}
		if signal == "signed" {
			eventually(t, "it ends", func() bool { return !alive() })
		} else {
			eventually(t, "the zygote ends", func() bool {
				q, ok := leaktest.Lookup(strconv.Itoa(h.zygote))
				return !ok || q.Zombie()
			})
			assert.True(t, alive(), "the control")
			pass()
			eventually(t, "it ends", func() bool { return !alive() })
		}
		h.kill()
		sweepAfter(t, h)
		nothingButTheGate(t, before)
		pass()
	}
}

func init() {
	// programs opens, as fast as it can, the program of every process that it sees, and says what it got that is not the job's.
	parts["programs"] = func([]string) {
		own, _ := os.Stat("/proc/self/exe")
		seen, tried, bad := map[string]bool{}, 0, map[string]bool{}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			if _, err := os.Stat("/box/enough"); err == nil && tried > 0 {
				break
			}
			d, err := os.Open("/proc")
			if err != nil {
				continue
			}
			names, _ := d.Readdirnames(-1)
			_ = d.Close()
			for _, n := range names {
				pid, err := strconv.Atoi(n)
				if err != nil || pid == os.Getpid() {
					continue
				}
				seen[n] = true
				tried++
				path := "/proc/" + n + "/exe"
				for _, flags := range []int{unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC} {
					if fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0); err == nil {
						bad["writable "+n] = true
						_ = unix.Close(fd)
					}
				}
				if to, err := os.Readlink(path); err == nil && !strings.HasPrefix(to, "/usr/bin/") && !strings.HasPrefix(to, victimPath) {
					bad["link to "+to] = true
				}
				if info, err := os.Stat(path); err == nil && own != nil && !os.SameFile(info, own) && info.Size() > 5<<20 {
					bad["large program "+n] = true // that of the host program is
				}
			}
		}
		fmt.Printf("seen=%d\ntried=%d\n", len(seen), tried)
		for b := range bad {
			fmt.Printf("bad=%s\n", b)
		}
	}
}

// Case 31 while processes come and go: until its exec a command is a clone of the zygote, whose program is the host's (CVE-2019-5736). A job that looks for it from beside, with every capability over its
// namespaces and no filter, gets hold of neither that nor PID 1's, and finds none of them writable.
func TestCase31ProgramsInPassing(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]Option{"job": nil, "root": append(unguarded(), WithTmpfs("/box", "1m"))} {
		if name == "root" && os.Geteuid() != 0 {
			continue
		}
		sb := standing(t, append(opts, asVictim(t))...)
		other := sb.Command("/usr/bin/sleep", "1000") // that is always there to be seen
		require.NoError(t, other.Start(inTime(t)))
		looker := sb.Command(victimPath)
		looker.Env = []string{partEnv + "=programs"}
		var out strings.Builder
		looker.Stdout = &out
		require.NoError(t, looker.Start(inTime(t)))
		runs := 150
		if testing.Short() {
			runs = 12
		}
		for range runs {
			res, err := sb.Run(inTime(t), "/usr/bin/true")
			require.NoError(t, err)
			require.NoError(t, res.Err())
		}
		require.NoError(t, sb.WriteFile("/box/enough", nil, 0o644))
		res, err := looker.Wait()
		require.NoError(t, err)
		require.NoError(t, res.Err())
		require.NoError(t, other.Kill())
		_, err = other.Wait()
		require.NoError(t, err)
		got := values(out.String())
		assert.Empty(t, got["bad"], name)
		seen, _ := strconv.Atoi(got["seen"])
		assert.Greater(t, seen, 1, "%s: the control: it saw PID 1 alone", name)
		t.Logf("%s: %s processes seen, %s attempts", name, got["seen"], got["tried"])
	}
}
