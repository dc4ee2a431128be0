package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// startLXCFS runs Debian's lxcfs for the length of a test, where no other test runs beside that could come to use it.
func startLXCFS(t *testing.T) string {
	t.Helper()
	needRoot(t)
	path, err := exec.LookPath("lxcfs")
	if err != nil {
		skip(t, "needs lxcfs")
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "fs")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.Chmod(parent, 0o755))
	log, err := os.Create(filepath.Join(parent, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command(path, "-f", "-p", filepath.Join(parent, "pid"), dir)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		<-ended
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	})
	eventually(t, "lxcfs is mounted", func() bool {
		select {
		case <-ended:
			b, _ := os.ReadFile(log.Name())
			t.Fatalf("lxcfs ended: %s", b)
		default:
		}
		_, err := os.Stat(filepath.Join(dir, "proc/meminfo"))
		return err == nil
	})
	return dir
}

// Through lxcfs the files tell of the sandbox as it is at the moment.
func TestViewLXCFS(t *testing.T) {
	dir := startLXCFS(t)
	opts := []Option{WithMemory("64m"), WithPids(10)}
	sb := standing(t, append(opts, WithProc(ViewLXCFS))...)
	assert.Contains(t, sb.Report().String(), "by lxcfs at "+dir)
	meminfo := func(sb *Sandbox, name string) int {
		n, err := strconv.Atoi(sh(t, sb, "awk '/^"+name+":/ { print $2 }' /proc/meminfo"))
		require.NoError(t, err)
		return n
	}
	assert.Equal(t, 64<<10, meminfo(sb, "MemTotal"))
	assert.Equal(t, "65536", sh(t, sb, "free -k | awk '/^Mem/ { print $2 }'"))
	before := meminfo(sb, "MemFree")
	after, err := strconv.Atoi(sh(t, sb, "head -c 30000000 /dev/zero > /tmp/f; awk '/^MemFree:/ { print $2 }' /proc/meminfo; rm /tmp/f"))
	require.NoError(t, err)
	assert.Less(t, after, before-20<<10, "what the job stores shows")
	up, err := strconv.ParseFloat(sh(t, sb, "cut -d' ' -f1 /proc/uptime"), 64)
	require.NoError(t, err)
	host, err := os.ReadFile("/proc/uptime")
	require.NoError(t, err)
	var hostUp float64
	if f := strings.Fields(string(host)); len(f) > 0 {
		hostUp, _ = strconv.ParseFloat(f[0], 64)
	}
	assert.Less(t, up, min(hostUp-5, 60))
	assert.Greater(t, meminfo(standing(t, opts...), "MemTotal"), 128<<10, "the control: without it the host's")

	// All of the limit is the job's, although PID 1 is in the group as well, and PID 1 outlives what kills a job.
	out, res := try(t, sb, "i=0; while [ $i -lt 8 ]; do sleep 1000 & i=$((i+1)); done; sh -c true")
	assert.Equal(t, OK, res.Verdict, out)
	_, res = try(t, sb, "i=0; while [ $i -lt 11 ]; do sleep 1000 & i=$((i+1)); done")
	assert.Equal(t, PidsExceeded, res.Verdict)
	_, res = try(t, sb, `perl -e '$x = "x" x 100000000'; exit 5`) // memory that goes with it: a file would leave none for what follows
	assert.Equal(t, MemoryExceeded, res.Verdict)
	require.NoError(t, sb.Pause())
	require.NoError(t, sb.Resume())
	assert.Equal(t, "alive", sh(t, sb, "echo alive"))
	assert.Equal(t, Running, sb.State())

	paused := standing(t, append(opts, WithProc(ViewLXCFS))...)
	require.NoError(t, paused.Pause())
	require.NoError(t, paused.Kill(), "the paused one ends, with PID 1 in the frozen group")
	auto := standing(t, append(opts, WithProc(ViewSandbox))...)
	assert.Equal(t, 64<<10, meminfo(auto, "MemTotal"))
	assert.Contains(t, auto.Report().String(), "by lxcfs at")
}

// Without lxcfs a view that needs it is refused, or given up where that was allowed.
func TestViewWithoutLXCFS(t *testing.T) {
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(b), "fuse.lxcfs") {
		t.Skip("lxcfs runs on this machine")
	}
	_, err := New(WithProc(ViewLXCFS))
	require.Error(t, err)
	assert.ErrorContains(t, err, "WithProc lxcfs")
	assert.Contains(t, Explain(err), "lxcfs")
	best := standing(t, BestEffort(WithProc(ViewLXCFS)))
	require.Len(t, best.Report().GivenUp, 1)
	assert.Equal(t, "0.00", sh(t, best, "cut -d' ' -f1 /proc/uptime"))
	require.ErrorIs(t, err, ErrUnsupported)
}
