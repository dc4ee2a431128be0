package sandbox

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/seccomp"
)

// leavesOf are the groups of commands that a sandbox has.
func leavesOf(t *testing.T, sb *Sandbox) []string {
	t.Helper()
	h, err := cgroup.Detect()
	require.NoError(t, err)
	base, err := h.Base(cgroup.PidsController)
	require.NoError(t, err)
	e := sb.engine
	var all []string
	for _, d := range base.Dirs {
		if d.Controllers.Has(cgroup.PidsController) {
			all, err = filepath.Glob(fmt.Sprintf("%s/belljar-%d-*/sandbox-%d/job-*", d.Path, e.z.pid, e.box))
			require.NoError(t, err)
		}
	}
	return all
}

// spareOf is the leaf that stands ready while no command runs, once that of the last command has gone; "": there is none.
func spareOf(t *testing.T, sb *Sandbox) string {
	t.Helper()
	before := leavesOf(t, sb)
	time.Sleep(20 * time.Millisecond)
	if now := leavesOf(t, sb); len(now) == 1 && slices.Equal(before, now) {
		return now[0]
	}
	return ""
}

// A leaf that was made ahead is like one that was not: it has the limits of its command, and nothing of any other's.
func TestSpareLeaf(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("256m"), WithPids(20)))
	sb.engine.direct.off = true // what is offered has a leaf too
	_, res := try(t, sb, "exit 3")
	require.Equal(t, 3, res.ExitCode)
	eventually(t, "a sandbox with a single command makes none", func() bool { return len(leavesOf(t, sb)) == 0 })
	spare := func() {
		t.Helper()
		_, res := try(t, sb, "exit 3")
		require.Equal(t, 3, res.ExitCode)
		eventually(t, "one stands ready", func() bool { return spareOf(t, sb) != "" })
	}
	spare()
	var used Usage
	eventually(t, "a command takes the one that stands ready", func() bool {
		ready := spareOf(t, sb)
		_, finish := started(t, sb, holder(40), Limits{})
		taken := ready != "" && slices.Contains(leavesOf(t, sb), ready)
		used = finish().Usage
		return taken
	})
	assert.Greater(t, used.PeakMemory, int64(40<<20))
	spare()
	_, res = try(t, sb, "exit 3")
	assert.Less(t, res.Usage.PeakMemory, int64(40<<20), "what one used the next has not")
	assert.Less(t, res.Usage.CPU.Total, used.CPU.Total)

	spare()
	require.NoError(t, sb.Update(WithMemory("32m")))
	_, res = try(t, sb, hog(40)+"; exit 3")
	assert.Equal(t, MemoryExceeded, res.Verdict, "limits that were lowered hold in the very next command")
	spare()
	require.NoError(t, sb.Update(WithMemory("256m")))
	_, res = try(t, sb, hog(40)+"; exit 3")
	assert.Equal(t, 3, res.ExitCode, "and so do those that were raised")
	spare()
	cmd := sb.Command("/bin/sh", "-c", hog(40)+"; exit 3")
	cmd.Limits.Memory = 32 << 20
	res, err := cmd.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, MemoryExceeded, res.Verdict, "limits of its own take a leaf of its own")
	spare()
	require.NoError(t, sb.Close())
	assert.Empty(t, leavesOf(t, sb))
}

// What there is no room for is not made ahead.
func TestNoSpareLeaf(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("8m")))
	for range 4 {
		_, res := try(t, sb, "exit 3")
		require.Equal(t, 3, res.ExitCode)
	}
	eventually(t, "nothing stays", func() bool { return len(leavesOf(t, sb)) == 0 })
}

// joinersOf are the processes that join the namespaces of sandboxes for commands, of this program's zygote.
func joinersOf(t testing.TB) []leaktest.Process { return ahead(t, true) }

// readyOf are those that are to be commands. Unlike joiners they have a session of their own.
func readyOf(t testing.TB) []leaktest.Process { return ahead(t, false) }

func ahead(t testing.TB, joiners bool) []leaktest.Process {
	t.Helper()
	z, err := currentZygote()
	require.NoError(t, err)
	self, ok := leaktest.Lookup(strconv.Itoa(z.pid))
	require.True(t, ok)
	return slices.DeleteFunc(leaktest.Descendants(z.pid), func(p leaktest.Process) bool {
		return p.Name != launch.JoinerName || p.Zombie() || joiners != (p.Session == self.Session)
	})
}

// joined runs commands until there is a process that joins the namespaces for them, and returns it.
func joined(t testing.TB, sb *Sandbox) (found leaktest.Process) {
	t.Helper()
	before := map[leaktest.Process]bool{}
	for _, p := range joinersOf(t) {
		before[leaktest.Process{PID: p.PID, Start: p.Start}] = true
	}
	for range spareFrom {
		_, res := try(t, sb, "exit 3")
		require.Equal(t, 3, res.ExitCode)
	}
	eventually(t, "one that joins", func() bool {
		for _, p := range joinersOf(t) {
			if !before[leaktest.Process{PID: p.PID, Start: p.Start}] {
				found = p
			}
		}
		return found.PID != 0
	})
	return found
}

// readied runs commands until there is one that waits to be the next, and returns it. On a busy machine it may take more than one: none is made where that would have to be waited for.
// Without a cgroup there never is one, and 0 is returned.
func readied(t testing.TB, sb *Sandbox) (pid int) {
	t.Helper()
	if !sb.engine.grouped {
		return 0
	}
	eventually(t, "one is ready", func() bool {
		_, res := try(t, sb, "exit 3")
		require.Equal(t, 3, res.ExitCode)
		for range 50 {
			if all := readyOf(t); len(all) == 1 {
				pid = all[0].PID
				return true
			}
			time.Sleep(2 * time.Millisecond)
		}
		return false
	})
	return pid
}

// spareFrom is how many commands a sandbox has run when it is worth something to have the next one's things ready.
const spareFrom = 2

// What a command is, sees and may do does not depend on who joined the namespaces for it.
func TestJoinedAlike(t *testing.T) {
	for name, opts := range map[string][]Option{
		"default": nil,
		"caps":    {WithCapabilities("CAP_CHOWN"), WithCredential(0, 0)},
		"view":    {WithHidePID(HideProcesses)},
		"open":    {openPolicy()},
	} {
		t.Run(name, func(t *testing.T) {
			sb := newBox(t, opts...)
			const script = `set -- /proc/[0-9]*; echo $# processes; grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid|SigBlk|SigIgn|SigCgt|SigPnd|ShdPnd|Umask|Cpus_allowed:)' /proc/self/status; cat /proc/self/limits /proc/self/cgroup
				readlink /proc/self/ns/* /proc/self/root /proc/self/cwd; ls -l /proc/self/fd | wc -l`
			cgroups := regexp.MustCompile(`cgroup:\[\d+\]`) // made by each
			look := func() string { return cgroups.ReplaceAllString(sh(t, sb, script), "") }
			first := look()
			require.Contains(t, first, "NoNewPrivs:\t1")
			if name == "default" {
				require.Contains(t, first, "CapBnd:\t0000000000000000")
			}
			joined(t, sb)
			readied(t, sb)
			var j leaktest.Process
			eventually(t, "one joiner", func() bool { // what is to be ready is taken for one until it has a session
				now := joinersOf(t)
				if len(now) == 1 {
					j = now[0]
				}
				return len(now) == 1
			})
			assert.Equal(t, first, look())
			eventually(t, "it stays", func() bool {
				again := joinersOf(t)
				return len(again) == 1 && again[0].PID == j.PID && again[0].Start == j.Start
			})

			// Whoever ends it from outside changes nothing either.
			require.NoError(t, unix.Kill(j.PID, unix.SIGKILL))
			eventually(t, "it is gone", func() bool { return isGone(j.PID) })
			assert.Equal(t, first, look())
			assert.Equal(t, first, look())
			if pid := readied(t, sb); pid != 0 {
				if err := unix.Kill(pid, unix.SIGKILL); err != unix.ESRCH { // it may be gone for another reason
					require.NoError(t, err)
				}
			}
			eventually(t, "dead", func() bool { return len(readyOf(t)) == 0 })
			assert.Equal(t, first, look())
			require.NoError(t, sb.Close())
			assert.Empty(t, joinersOf(t))
			assert.Empty(t, readyOf(t))
		})
	}
}

// It holds the namespaces, so it goes when PID 1 does, and with the zygote.
func TestJoinerGoesWithOthers(t *testing.T) {
	sb := newBox(t)
	joined(t, sb)
	require.NoError(t, unix.Kill(sb.engine.pid, unix.SIGKILL))
	require.NoError(t, sb.Wait())
	eventually(t, "gone with PID 1", func() bool { return len(joinersOf(t))+len(readyOf(t)) == 0 })
	require.NoError(t, sb.Close())

	sb = newBox(t)
	j := joined(t, sb)
	killZygote(t)
	require.NoError(t, sb.Wait())
	eventually(t, "gone with the zygote", func() bool {
		leaktest.ReapOrphans()
		p, ok := leaktest.Lookup(strconv.Itoa(j.PID))
		return !ok || p.Start != j.Start || p.Zombie()
	})
	joined(t, newBox(t)) // and the next zygote, which sweeps, has its own
}

// What waits to be a command is there only while nothing else is, and is the next command whatever that is.
func TestReady(t *testing.T) {
	sb := grouped(t, standing(t, WithMemory("256m"), WithPids(20)))
	// None stays away, however long one waits.
	none := func(why string) {
		t.Helper()
		time.Sleep(20 * time.Millisecond)
		assert.Empty(t, readyOf(t), why)
	}
	one := func() int { return readied(t, sb) }
	joined(t, sb)
	pid := one()
	cmd, finish := started(t, sb, "echo up; read line; exit 4", Limits{})
	assert.Equal(t, pid, cmd.PID())
	none("a job runs")
	_, res := try(t, sb, "exit 3")
	assert.Equal(t, 3, res.ExitCode)
	none("a job runs, and another has ended")
	res = finish()
	assert.Equal(t, 4, res.ExitCode)
	assert.Equal(t, 1, res.Usage.PeakPids)

	pid = one()
	eventually(t, "it is nobody's, so nobody is told of it", func() bool {
		s, err := sb.Stats()
		require.NoError(t, err)
		return s.Pids.Current == 0
	})
	none("accounts have been read")
	assert.NotEqual(t, pid, one())

	require.NoError(t, sb.Pause())
	none("the sandbox is paused")
	require.NoError(t, sb.Resume())
	one()
	require.NoError(t, sb.Update(WithMemory("32m")))
	none("its leaf has limits of before")
	_, res = try(t, sb, hog(40)+"; exit 3")
	assert.Equal(t, MemoryExceeded, res.Verdict)

	one()
	cmd = sb.Command("/no/such/program")
	_, err := cmd.Run(inTime(t))
	require.ErrorIs(t, err, unix.ENOENT)
	one()
	cmd = sb.Command("/bin/sh", "-c", "test -t 0 && exit 6")
	cmd.TTY = &WindowSize{Rows: 3, Cols: 4}
	res, err = cmd.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, 6, res.ExitCode, "a terminal takes another base")
	one()
	cmd = sb.Command("/bin/sh", "-c", "exit 7")
	cmd.Limits.Pids = 3
	res, err = cmd.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, 7, res.ExitCode)
	one()
	cmd = sb.Command("/bin/sh", "-c", "sleep 1000 & exit 5")
	cmd.KeepLeftovers = true
	res, err = cmd.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, 5, res.ExitCode)
	_, res = try(t, sb, "exit 3")
	assert.Equal(t, 3, res.ExitCode)
	none("something has been left behind")
	require.NoError(t, sb.Close())
	assert.Empty(t, readyOf(t))
}

// With the filter that everybody has who asks for none it is loaded ahead of time too.
func TestDefaultIsLenient(t *testing.T) {
	for want, policies := range map[bool][]seccomp.Policy{
		true:  {seccomp.Default(), seccomp.Build(), seccomp.Network()},
		false: {seccomp.Default().Without("recvmsg"), seccomp.Default().Without("dup3")},
	} {
		for _, p := range policies {
			prog, err := p.Compile()
			require.NoError(t, err)
			assert.Equal(t, want, lenient(prog))
		}
	}
	// Under one that is not, commands run all the same.
	sb := newBox(t, WithSeccomp(seccomp.Default().Without("recvmsg", "dup3")))
	joined(t, sb)
	assert.Equal(t, "2", strings.TrimSpace(sh(t, sb, "sed -n 's/^Seccomp:.//p' /proc/self/status")))
}
