package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Programs find the limits of the sandbox where they look for the size of the machine, and cannot change what they find.
func TestViewFiles(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, asVictim(t), WithProc(ViewFiles), WithMemory("64m"), WithCPUs(0.5)))
	plain := standing(t, asVictim(t))
	look := func(sb *Sandbox) map[string]string {
		return values(sh(t, sb, `echo total=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)
echo free=$(free -k | awk '/^Mem/ { print $2 }')
echo nproc=$(nproc)
echo cpuinfo=$(grep -c ^processor /proc/cpuinfo)
echo stat=$(grep -c '^cpu[0-9]' /proc/stat)
echo conf=$(getconf _NPROCESSORS_ONLN)
echo uptime=$(cut -d' ' -f1 /proc/uptime)
echo swaps=$(wc -l < /proc/swaps)
echo top=$(top -bn1 | awk '/Mem :/ { print $4 }')
echo online=$(cat /sys/devices/system/cpu/online)`) + "\n" + play(t, sb, "runtime"))
	}
	got, host := look(sb), look(plain)
	for name, want := range map[string]string{
		"total": "65536", "free": "65536", "nproc": "1", "cpuinfo": "1", "stat": "1", "conf": "1", "uptime": "0.00", "swaps": "1", "top": "64.0", "numcpu": "1",
	} {
		assert.Equal(t, want, got[name], name)
	}
	assert.Regexp(t, `^\d+$`, got["online"])
	// Control: without the option they find the host.
	assert.Equal(t, strconv.Itoa(runtime.NumCPU()), host["nproc"])
	assert.Equal(t, strconv.Itoa(runtime.NumCPU()), host["numcpu"])
	for _, name := range []string{"total", "uptime"} {
		assert.NotEqual(t, got[name], host[name], name)
	}
	assert.Empty(t, host["online"])
	assert.Contains(t, sb.Report().String(), "proc: of the sandbox as it was made, by files")
}

func init() {
	parts["runtime"] = func([]string) { fmt.Printf("numcpu=%d\nmaxprocs=%d\n", runtime.NumCPU(), runtime.GOMAXPROCS(0)) }
}

// Nobody inside changes what the files say, and what is masked stays masked beside them.
func TestViewIsReadOnly(t *testing.T) {
	t.Parallel()
	needRoot(t)
	root := standing(t, append(unguarded(), WithProc(ViewFiles), WithMemory("64m"), WithCPUs(0.5))...)
	for _, p := range rootfs.Substitutes() {
		if _, err := os.Stat(p); err != nil {
			continue
		}
		out, res := try(t, root, "echo 1 > "+p)
		assert.NotEqual(t, 0, res.ExitCode, p)
		assert.Contains(t, out, "ead-only", p)
		out, res = try(t, root, "chmod 777 "+p)
		assert.NotEqual(t, 0, res.ExitCode, p+out)
	}
	out, res := try(t, root, "touch /sys/x")
	assert.NotEqual(t, 0, res.ExitCode, out)
	for _, p := range rootfs.MaskedPaths() {
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			assert.Empty(t, sh(t, root, "head -c 100 "+p), p)
		}
	}
	// Control: a file beside them takes what is written to it.
	sh(t, root, "echo 100 > /proc/self/oom_score_adj")
}

// A root of the caller's need not have a /sys; the host's own may be shown, with the one file replaced.
func TestViewInOtherRoots(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t)
	opts = append(opts, WithProc(ViewFiles), BestEffort(WithCPUs(1)))
	const look = "cat /sys/devices/system/cpu/online; cut -d' ' -f1 /proc/uptime"
	assert.Regexp(t, `^\d+\n0\.00$`, sh(t, standing(t, opts...), look))
	hostSys := append(opts, WithBind("/sys", "/sys", ReadOnly))
	assert.Regexp(t, `^\d+\n0\.00$`, sh(t, standing(t, hostSys...), look))
	assert.NotEmpty(t, sh(t, standing(t, hostSys...), "ls /sys/kernel"))
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("mine"), 0o644))
	below := standing(t, append(opts, WithBind(dir, "/sys/class", ReadOnly))...)
	assert.Equal(t, "mine", sh(t, below, "cat /sys/class/f"))
	assert.Regexp(t, `^\d+\n0\.00$`, sh(t, below, look))
}

// Sandboxes are bound to one CPU after the other.
func TestViewSpreads(t *testing.T) {
	t.Parallel()
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	seen := map[string]bool{}
	for range 4 * runtime.NumCPU() {
		sb := standing(t, WithProc(ViewFiles), BestEffort(WithCPUs(0.5)))
		allowed := sh(t, sb, "grep Cpus_allowed_list /proc/self/status | cut -f2")
		assert.Equal(t, allowed, sh(t, sb, "cat /sys/devices/system/cpu/online"))
		seen[allowed] = true
	}
	assert.Greater(t, len(seen), 1)
}

// Processes that one may not trace do not show: PID 1 and, under Landlock, other commands.
func TestHidePID(t *testing.T) {
	t.Parallel()
	const list = "ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm 2>&1; ls -d /proc/1 2>&1; cat /proc/self/comm"
	assert.Contains(t, sh(t, standing(t), list), "belljar-p\n/proc/1\ncat", "the control")
	assert.Regexp(t, `/proc/1/comm: .*\n/proc/1\ncat`, sh(t, standing(t, WithHidePID(HideContents)), list))
	hidden := standing(t, WithHidePID(HideProcesses))
	assert.Regexp(t, `/proc/1/comm: .*\nls.*/proc/1.*No such.*\ncat`, sh(t, hidden, list))

	find := func(sb *Sandbox) string {
		other := sb.Command("/bin/sleep", "1000")
		require.NoError(t, other.Start(inTime(t)))
		defer func() { require.NoError(t, other.Kill()); _, _ = other.Wait() }()
		var got string
		for range 1000 { // until its exec it is not called that
			if got, _ = try(t, sb, "cat /proc/[0-9]*/comm 2>/dev/null"); strings.Contains(got, "sleep") {
				break
			}
			if sb == hidden {
				break
			}
		}
		return got
	}
	assert.Contains(t, find(standing(t)), "sleep", "the control")
	if v, err := landlockABI(); err != nil || v < 2 {
		notExercised(t, "no Landlock: %v", err)
	}
	assert.NotContains(t, find(hidden), "sleep")
}

// A proc of processes alone tells nothing of the machine, and nested namespaces are forbidden all the same.
func TestProcPIDs(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithProcPIDs())
	for _, p := range []string{"meminfo", "cpuinfo", "sys", "version", "cmdline", "sysrq-trigger", "kcore"} {
		_, res := try(t, sb, "ls -d /proc/"+p)
		assert.NotEqual(t, 0, res.ExitCode, p)
	}
	assert.Contains(t, sh(t, sb, "ls /proc; cat /proc/self/comm"), "self\nthread-self\ncat")
	sh(t, standing(t), "ls -d /proc/meminfo /proc/sys") // the control
	if os.Geteuid() != 0 {
		return
	}
	out, res := try(t, standing(t, append(unguarded(), WithProcPIDs())...), "unshare -U true")
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Contains(t, out, "No space left")
}

// Where the outer /proc is covered in part, as in most containers, the kernel allows no proc of one's own: that is refused and explained.
func TestProcUnderMaskedProc(t *testing.T) {
	t.Parallel()
	needRoot(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	run := func(before string) map[string]string {
		cmd := exec.CommandContext(inTime(t), "unshare", "--mount", "/bin/sh", "-ec", before+"\nexec \"$0\"", exe)
		cmd.Env = append(os.Environ(), partEnv+"=new")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return values(string(out))
	}
	assert.Equal(t, "alive", run("true")["out"], "the control")
	got := run("mount -t tmpfs none /proc/fs\nmount --bind /dev/null /proc/keys")
	assert.Empty(t, got["out"])
	assert.Contains(t, got["error"], "operation not permitted")
	assert.Contains(t, got["error"], "/proc")
	assert.Contains(t, got["explain"], "systempaths=unconfined")
}

func init() {
	parts["new"] = func([]string) {
		defer stopZygote()
		sb, err := New()
		if err != nil {
			fmt.Printf("error=%v\nexplain=%s\n", err, Explain(err))
			return
		}
		defer sb.Close()
		out, err := sb.Command("/bin/echo", "alive").Output(context.Background())
		fmt.Printf("out=%s\nfault=%v\n", strings.TrimSpace(string(out)), err)
	}
}
