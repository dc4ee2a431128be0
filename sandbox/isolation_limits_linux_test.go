package sandbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// hog takes twice that much memory: perl keeps the constant and its copy. It is small itself, and part of every Debian.
func hog(mib int) string {
	return fmt.Sprintf(`perl -e '$x = "x" x (%d << 20); print length $x'`, mib)
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("32m")))
	out, res := try(t, sb, hog(8))
	assert.Equal(t, OK, res.Verdict, "control: little memory: "+out)
	assert.Greater(t, res.Usage.PeakMemory, int64(8<<20))
	assert.LessOrEqual(t, res.Usage.PeakMemory, int64(32<<20))
	for name, script := range map[string]string{
		"anonymous": "exec " + hog(100),
		"child":     hog(100) + "; exit 5",
		"tmpfs":     "head -c 100000000 /dev/zero > /tmp/f; exit 5",
		"shm":       "head -c 60000000 /dev/zero > /dev/shm/f; exit 5",
		"memfd":     `exec perl -e 'require "syscall.ph" if 0; my $n = "m"; my $fd = syscall(` + fmt.Sprint(unix.SYS_MEMFD_CREATE) + `, $n, 0); open(F, ">&=", $fd) or die; print F "x" x 1048576 for 1..100'`,
		// 64 KiB in each of 500 pipes, which no mapping of the process shows.
		"kernel": `exec perl -e 'use Fcntl; my @p; for (1..500) { pipe(my $r, my $w) or die $!; fcntl($w, F_SETFL, O_NONBLOCK); syswrite($w, "x" x 65536); push @p, $r, $w } exit 5'`,
	} {
		if testing.Short() && (name == "child" || name == "shm") {
			continue // a full run has them: who uses the memory of a group, and in which of its file systems, is all the same to it
		}
		limit := "32m"
		if name == "kernel" {
			limit = "20m" // a user's pipes are bounded as well, to 64 MiB and less if many have some
		}
		full := standing(t, WithMemory(limit))
		out, res := try(t, full, script)
		assert.Equal(t, MemoryExceeded, res.Verdict, "%s: %s", name, out)
		assert.Positive(t, res.Usage.OOMKills, name)
		assert.LessOrEqual(t, res.Usage.PeakMemory, int64(32<<20), name)
		if name == "anonymous" || name == "memfd" {
			assert.Equal(t, "after", sh(t, full, "echo after"), "what dies with its process is free again")
		}
		if testing.Short() && name != "kernel" {
			continue
		}
		out, res = try(t, standing(t, WithMemory("512m")), script)
		assert.Contains(t, []Verdict{OK, NonZeroExit}, res.Verdict, "control: %s: %s", name, out)
		assert.Zero(t, res.Usage.OOMKills, "control: %s", name)
	}
	// What the page cache holds is given back, not held against the job.
	_, res = try(t, sb, "cat /usr/bin/* 2>/dev/null | head -c 80000000 > /dev/null")
	assert.Equal(t, OK, res.Verdict)
	// What a file system in memory holds stays charged to the sandbox until it is removed, whichever command wrote it.
	sh(t, sb, "head -c 20000000 /dev/zero > /tmp/f")
	_, res = try(t, sb, hog(10))
	assert.Equal(t, MemoryExceeded, res.Verdict)
	sh(t, sb, "rm /tmp/f")
	sh(t, sb, hog(10))
}

// The whole command goes, not just the process that happened to be largest.
func TestMemoryLimitEndsAll(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("32m")))
	out, res := try(t, sb, hog(100)+" & wait; echo survived; sleep 1000")
	assert.Equal(t, MemoryExceeded, res.Verdict, out)
	assert.Less(t, res.Usage.Wall, patience)
}

// A small job fits a small limit: neither the library's own work nor what is inherited is charged to it.
func TestMemoryIsTheJobsAlone(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("4m")))
	for range 3 {
		res, err := sb.Run(inTime(t), "/bin/true")
		require.NoError(t, err)
		assert.Equal(t, OK, res.Verdict)
		assert.Positive(t, res.Usage.PeakMemory)
		assert.Less(t, res.Usage.PeakMemory, int64(4<<20))
	}
	// dd touches all of a buffer of half of it.
	_, res := try(t, sb, "exec dd if=/dev/zero of=/dev/null bs=2M count=1")
	assert.Equal(t, OK, res.Verdict)
	assert.Greater(t, res.Usage.PeakMemory, int64(2<<20))
	_, res = try(t, sb, hog(20))
	assert.Equal(t, MemoryExceeded, res.Verdict, "control: the limit is on")
}

func TestMemoryLimitOfACommand(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("200m")))
	c := sb.Command("/bin/sh", "-c", "exec "+hog(60))
	c.Limits.Memory = 24 << 20
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, MemoryExceeded, res.Verdict)
	_, res = try(t, sb, hog(60))
	assert.Equal(t, OK, res.Verdict, "control: without it")
}

func TestNoSwap(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("32m")))
	_, _ = try(t, sb, hog(64))
	s, err := sb.Stats()
	require.NoError(t, err)
	assert.Zero(t, s.Memory.Swap)
}

func TestTinyLimits(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]Option{{WithMemory("512k")}, {WithPids(1)}, {WithMemory("1m"), WithPids(1)}, {WithPids(1), WithCPUTime(time.Millisecond), WithMemory("600k")}} {
		sb, err := New(opts...)
		needsHost(t, err)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			continue
		}
		rounds := 3
		if testing.Short() {
			rounds = 1
		}
		for range rounds {
			res, err := sb.Run(inTime(t), "/bin/sh", "-c", "/bin/true; /bin/true")
			if err != nil {
				var e *Error
				assert.ErrorAs(t, err, &e)
				continue
			}
			assert.Contains(t, []Verdict{OK, NonZeroExit, MemoryExceeded, PidsExceeded, CPUTimeExceeded, Signaled}, res.Verdict)
		}
		require.NoError(t, sb.Close())
	}
}

func TestPidsLimit(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithPids(12), WithMemory("128m")))
	for name, script := range map[string]string{
		"fork bomb":     "bomb() { bomb | bomb & }; bomb; sleep 1; exit 5",
		"many children": "i=0; while [ $i -lt 50 ]; do sleep 1000 & i=$((i+1)); done; exit 5",
		"zombies":       `perl -e 'for (1..50) { my $p = fork(); exit 5 unless defined $p; exit 0 unless $p } exit 5'`,
	} {
		out, res := try(t, sb, script)
		assert.Equal(t, PidsExceeded, res.Verdict, "%s: %s", name, out)
		assert.LessOrEqual(t, res.Usage.PeakPids, 12, name)
		assert.Positive(t, res.Usage.PidsHits, name)
		assert.Equal(t, "usable", sh(t, sb, "echo usable"), name)
	}
	_, res := try(t, sb, "sleep 0.01 & sleep 0.01 & sleep 0.01 & wait")
	assert.Equal(t, OK, res.Verdict, "control: a few are fine")
	_, res = try(t, grouped(t, standing(t, WithPids(100))), "i=0; while [ $i -lt 50 ]; do sleep 1000 & i=$((i+1)); done; exit 5")
	assert.Equal(t, NonZeroExit, res.Verdict, "control: a wider limit")
	c := sb.Command("/bin/sh", "-c", "sleep 1 & sleep 1 & exit 5")
	c.Limits.Pids = 2
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, PidsExceeded, res.Verdict, "a command's own")
}

func TestCPUTimeLimit(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	for name, script := range map[string]string{
		"spin": "while :; do :; done", "children": "sh -c 'while :; do :; done' & sh -c 'while :; do :; done' & wait",
		"short children": "while :; do /bin/true; done", "ignores signals": "trap '' XCPU TERM; while :; do :; done",
	} {
		if testing.Short() && name == "ignores signals" {
			continue // of which there is none here
		}
		t.Run(name, func(t *testing.T) {
			sb, err := New(WithCPUTime(limit))
			needsHost(t, err)
			require.NoError(t, err)
			defer sb.Close()
			// By the kernel's account, which a busy machine does not stretch; only how soon the monitor gets to run does. A processor that stops
			// for a while stretches it once, but not always.
			eventually(t, "it is ended in time", func() bool {
				_, res := try(t, sb, script)
				require.Equal(t, CPUTimeExceeded, res.Verdict)
				require.Greater(t, res.Usage.CPU.Total, limit)
				t.Logf("over by %v", res.Usage.CPU.Total-limit)
				return res.Usage.CPU.Total < limit+300*time.Millisecond
			})
		})
	}
	sb := grouped(t, standing(t, WithCPUTime(5*limit))) // to start a shell takes a fifth of that on an emulated processor
	eventually(t, "control: time that passes is not CPU time", func() bool {
		_, res := try(t, sb, "sleep 1.2")
		require.Equal(t, res.Usage.CPU.Total > 5*limit, res.Verdict == CPUTimeExceeded) // a processor that stops is taken for one that works
		return res.Verdict == OK
	})
	_, err := New(WithCPUTime(-1))
	assert.ErrorIs(t, err, ErrInvalid)
}

func TestCPUsLimit(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithCPUs(0.1), WithWallTime(600*time.Millisecond)))
	// A tenth of the time, and a period's share at both ends, as far as the processor does not stop meanwhile.
	eventually(t, "it gets no more than it may", func() bool {
		_, res := try(t, sb, "while :; do :; done")
		require.Equal(t, WallTimeExceeded, res.Verdict)
		return res.Usage.CPU.Total < res.Usage.Wall/10+240*time.Millisecond
	})
}

func TestWallTimeLimit(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithWallTime(100*time.Millisecond))
	for _, script := range []string{"sleep 1000", "trap '' TERM INT; sleep 1000; sleep 1000", "setsid sleep 1000 & wait", "kill -STOP $$"} {
		_, res := try(t, sb, script)
		assert.Equal(t, WallTimeExceeded, res.Verdict, script)
		assert.GreaterOrEqual(t, res.Usage.Wall, 100*time.Millisecond)
	}
	c := sb.Command("/bin/sleep", "1000")
	c.Limits.WallTime = time.Hour
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, WallTimeExceeded, res.Verdict, "a command cannot have more than its sandbox")
}

// A monitor that is kept from running by jobs that take all CPUs ends them all the same.
func TestDeadlineUnderLoad(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithWallTime(300*time.Millisecond), WithPids(64)))
	_, res := try(t, sb, "i=0; while [ $i -lt 30 ]; do (while :; do :; done) & i=$((i+1)); done; while :; do :; done")
	assert.Equal(t, WallTimeExceeded, res.Verdict)
	assert.Less(t, res.Usage.Wall, 30*time.Second)
}

func TestTmpfsLimit(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithTmpfs("/box", "1m"), WithTmpfs("/other", "64k"))
	for _, dir := range []string{"/box", "/other"} {
		out, res := try(t, sb, "head -c 2000000 /dev/zero > "+dir+"/f")
		assert.NotEqual(t, 0, res.ExitCode)
		assert.Contains(t, out, "No space left")
	}
	assert.Equal(t, "1048576", sh(t, sb, "stat -c %s /box/f; rm /box/f"))
	out, res := try(t, sb, `cd /tmp && perl -e 'for (1..70000) { open(F, ">", "f$_") or die "$!" }'`)
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Contains(t, out, "No space left", "inodes")
	sh(t, sb, "head -c 1000000 /dev/zero > /box/f")
}

func TestDescriptorLimit(t *testing.T) {
	t.Parallel()
	out, res := try(t, standing(t), `perl -e 'while (open(my $f, "<", "/dev/null")) { push @f, $f } print "$! ", scalar @f'`)
	assert.Equal(t, 0, res.ExitCode)
	assert.Contains(t, out, "Too many open files")
	var n int
	_, err := fmt.Sscan(out[strings.LastIndex(out, " "):], &n)
	require.NoError(t, err)
	assert.Less(t, n, 1024)
	assert.Equal(t, "64 1024", sh(t, standing(t), "echo $(ulimit -l) $(ulimit -n)"))
	assert.Equal(t, "50", sh(t, standing(t, WithRlimit("nofile", 50, 50)), "ulimit -n"))
}

// A crash has no program of the host's run (core(5)), which a limit of 0 does not see to, and nobody becomes a realtime process or has a better priority than others.
func TestLimitsOfOtherKinds(t *testing.T) {
	t.Parallel()
	var host unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_CORE, &host))
	limits := map[string]string{}
	for _, l := range strings.Split(sh(t, standing(t), "cat /proc/self/limits"), "\n") {
		if f := strings.Fields(l[min(len(l), 26):]); len(f) >= 2 {
			limits[strings.TrimSpace(l[:26])] = f[0] + " " + f[1]
		}
	}
	if host.Max > 0 { // otherwise it takes root to raise it
		assert.Equal(t, "1 1", limits["Max core file size"])
	}
	assert.Equal(t, "0 0", limits["Max nice priority"])
	assert.Equal(t, "0 0", limits["Max realtime priority"])
	assert.Equal(t, "0 0", sh(t, standing(t, WithRlimit("core", 0, 0)), "echo $(ulimit -S -c) $(ulimit -H -c)"), "control: it is what was asked for")
}

// Terminals are of one number for the whole machine; a sandbox gets a part.
func TestTerminalLimit(t *testing.T) {
	t.Parallel()
	needsTool(t, "/usr/bin/perl")
	out, res := try(t, standing(t), `perl -e 'while (open(my $f, "+<", "/dev/ptmx")) { push @f, $f } print scalar @f'`)
	assert.Equal(t, OK, res.Verdict)
	assert.Equal(t, "256", out)
}

func TestHugeArguments(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for _, args := range [][]string{{strings.Repeat("x", 1<<20)}, strings.Split(strings.Repeat(strings.Repeat("y", 1000)+" ", 9000), " ")} {
		_, err := sb.Run(inTime(t), "/bin/true", args...)
		assert.ErrorContains(t, err, "too long")
	}
	c := sb.Command("/bin/sh", "-c", "echo ${#X}")
	c.Env = []string{"X=" + strings.Repeat("z", 100000)}
	out, err := c.Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "100000\n", string(out))
	_, err = sb.Run(inTime(t), "/bin/true", strings.Repeat("x", 70<<20))
	assert.Error(t, err)
	sh(t, sb, "true")
}
