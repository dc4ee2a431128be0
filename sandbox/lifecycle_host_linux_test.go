package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Host programs in all their lives: the test binary plays them.

func init() {
	parts["host"] = func(args []string) { hosts[args[0]](args[1:]) }
}

// hosts say what their zygote is with a line "zygote PID" as soon as they have one, and what else there is to say; then "ready".
var hosts = map[string]func(args []string){
	"plain":    func([]string) { say("ready"); sleep() },
	"prepared": func([]string) { check(Prepare()); sayZygote(); say("ready"); sleep() },
	"new": func([]string) {
		check(Prepare())
		sayZygote()
		say("ready")
		for {
			sb, err := New()
			check(err)
			check(sb.Close())
		}
	},
	"commands": func(args []string) {
		n, err := strconv.Atoi(args[0])
		check(err)
		check(Prepare())
		sayZygote()
		for range n {
			startStubborn()
		}
		say("ready")
		sleep()
	},
	"once": func([]string) {
		sb, err := New()
		check(err)
		check(sb.Close())
		say("ready")
	},
	"asked": func([]string) {
		check(Prepare())
		sayZygote()
		asked := make(chan struct{})
		sb, err := New(WithSeccomp(seccomp.Default(), seccomp.Notify("mkdir", func(seccomp.Call) seccomp.Answer {
			close(asked)
			select {}
		})))
		check(err)
		check(sb.Command("/bin/sh", "-c", "perl -e 'mkdir q(/tmp/a)'; sleep 1000").Start(background))
		<-asked
		say("ready")
		sleep()
	},
	"say":          func([]string) { say("main ran") },
	"unprivileged": func([]string) { unprivileged() },
	"answering":    func([]string) { answering() },
	"ignorant":     func([]string) { ignorant() },
}

// background is for what ends by itself.
var background = context.Background()

func say(args ...any) { fmt.Println(args...) }

func sayZygote() {
	z, err := currentZygote()
	check(err)
	say("zygote", z.pid)
}

func sleep() {
	for {
		time.Sleep(time.Hour)
	}
}

func check(err error) {
	if err != nil {
		say("error", err)
		os.Exit(1)
	}
}

// startStubborn starts a command with descendants that ignore every signal they can, in sessions of their own.
func startStubborn() {
	sb, err := New()
	check(err)
	c := sb.Command("/bin/sh", "-c", `trap '' HUP INT TERM PIPE; (setsid sleep 1000 &) ; echo up; sleep 1000`)
	out, err := c.StdoutPipe()
	check(err)
	check(c.Start(background))
	_, err = bufio.NewReader(out).ReadString('\n')
	check(err)
}

// host is a host program under test.
type host struct {
	cmd    *exec.Cmd
	zygote int
	said   []string
}

// startHost starts a host program and returns when it is ready or has ended.
func startHost(t *testing.T, part string) *host {
	t.Helper()
	h := &host{cmd: exec.Command("/proc/self/exe")}
	h.cmd.Env = append(os.Environ(), partEnv+"=host "+part)
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, h.cmd.Start())
	t.Cleanup(h.kill)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		h.said = append(h.said, line)
		if pid, ok := strings.CutPrefix(line, "zygote "); ok {
			h.zygote, err = strconv.Atoi(pid)
			require.NoError(t, err)
		}
		if line == "ready" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			break
		}
	}
	require.Contains(t, h.said, "ready")
	return h
}

func (h *host) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// TestHostKilled kills host programs at various moments. All that is theirs ends with them; a cgroup is at most left until the next start.
func TestHostKilled(t *testing.T) {
	type moment struct {
		part   string
		delays []time.Duration
	}
	few := []time.Duration{0}
	many := []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 8 * time.Millisecond, 13 * time.Millisecond}
	if testing.Short() {
		many = many[:2]
	}
	for _, m := range []moment{{"plain", few}, {"prepared", few}, {"new", many}, {"commands 1", few}, {"commands 10", few}, {"asked", few}} {
		for _, d := range m.delays {
			t.Run(fmt.Sprintf("%s after %v", m.part, d), func(t *testing.T) {
				before := leaktest.Take()
				h := startHost(t, m.part)
				if strings.HasPrefix(m.part, "commands") || m.part == "asked" {
					assert.NotEmpty(t, sandboxed(h.zygote), "the control: while it lives there is something")
				}
				time.Sleep(d)
				h.kill()
				killed := time.Now()
				assert.Empty(t, before.Await(patience))
				t.Logf("all gone after %v", time.Since(killed).Round(time.Millisecond))
			})
		}
	}
}

// TestHostAndZygoteKilled leaves nobody to clean up. Processes are gone all the same; the next program that starts removes the cgroups.
func TestHostAndZygoteKilled(t *testing.T) {
	before := leaktest.Take()
	h := startHost(t, "commands 3")
	left := groupsOf(h.zygote)
	require.NoError(t, unix.Kill(h.cmd.Process.Pid, unix.SIGSTOP)) // so that it cannot react to its zygote's death
	inside := sandboxed(h.zygote)
	assert.NotEmpty(t, inside)
	require.NoError(t, unix.Kill(h.zygote, unix.SIGKILL))
	h.kill()
	eventually(t, "processes gone", func() bool {
		leaktest.ReapOrphans() // as init does: a PID 1 stays until all of its namespace have been waited for
		for _, p := range inside {
			if q, ok := leaktest.Lookup(strconv.Itoa(p.PID)); ok && q.Start == p.Start && !q.Zombie() {
				return false
			}
		}
		return true
	})
	if len(left) > 0 {
		assert.NotEmpty(t, groupsOf(h.zygote), "the control: nobody has removed the cgroups yet")
	}
	startHost(t, "once").kill()
	assert.Empty(t, before.Await(patience))
}

// giveUpPrivileges leaves all power to the zygote.
func giveUpPrivileges() {
	check(Prepare())
	check(syscall.Setgroups(nil))
	check(syscall.Setresgid(65534, 65534, 65534))
	check(syscall.Setresuid(65534, 65534, 65534))
	if _, err := os.ReadFile("/etc/shadow"); err == nil {
		say("still has its privileges")
	}
}

// unprivileged gives up all power after Prepare and then uses everything.
func unprivileged() {
	giveUpPrivileges()
	sb, err := New(WithMemory("64m"), WithPids(20))
	check(err)
	check(sb.WriteFile("/box/in", []byte("data"), 0o644))
	out, err := sb.Command("/bin/sh", "-c", "cat /box/in; id -u; cat /proc/self/uid_map; cp /box/in /box/out").Output(background)
	check(err)
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		say("out", strings.Join(strings.Fields(l), " "))
	}
	f, err := sb.FS().Open("box/out")
	check(err)
	b, err := io.ReadAll(f)
	check(err)
	say("file", string(b))
	check(f.Close())
	if s, err := sb.Stats(); err != nil || s.Memory.Peak == 0 {
		say("stats", err, s.Memory.Peak)
	}
	_, err = New(WithBind("/etc/shadow", "/shadow"))
	say("shadow:", err)
	check(sb.Close())
	say("ready")
}

// TestUnprivilegedHost gives up its privileges after Prepare, whose power the zygote keeps.
func TestUnprivilegedHost(t *testing.T) {
	needRoot(t)
	h := startHost(t, "unprivileged")
	said := strings.Join(h.said, "\n")
	assert.Contains(t, said, "out data1000\n")
	assert.Contains(t, said, "file data\n")
	assert.NotContains(t, said, "stats")
	assert.NotContains(t, said, "still")
	assert.Contains(t, said, "shadow: root: WithBind /etc/shadow: permission denied", "what may be bound is the caller's right, not the zygote's")
	if !mapped(1<<30, 1<<30) {
		return
	}
	assert.NotContains(t, said, " 65534 1\n", "a sandbox has a range of its own as if the privileges were there")
	assert.Regexp(t, `out 0 [12]\d{9} 65536`, said)
}

// ignorant ignores signals and blocks them, as a program may have been started; its thread then ends.
func ignorant() {
	signal.Ignore(syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGTERM, syscall.SIGUSR1)
	done := make(chan struct{})
	var sb *Sandbox
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var all unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = ^uint64(0)
		}
		check(unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil))
		var err error
		sb, err = New()
		check(err)
	}()
	<-done
	for range 3 {
		out, err := sb.Command("cat", "/proc/self/status").Output(background)
		check(err)
		say(strings.Join(regexp.MustCompile(`(SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt):\s*\w+`).FindAllString(string(out), -1), " "))
	}
	res, err := sb.Run(background, "/bin/sh", "-c", "kill -TERM $$")
	check(err)
	say(res.Verdict, res.Signal)
	check(sb.Close())
	say("ready")
}

// TestSignals has a program that ignores SIGCHLD and starts everything with all signals blocked: commands see none of it.
func TestSignals(t *testing.T) {
	before := leaktest.Take()
	h := startHost(t, "ignorant")
	const none = "0000000000000000"
	for _, line := range h.said[:3] {
		assert.Equal(t, "SigPnd:\t"+none+" ShdPnd:\t"+none+" SigBlk:\t"+none+" SigIgn:\t"+none+" SigCgt:\t"+none, line)
	}
	assert.Contains(t, h.said[3], "terminated")
	h.kill()
	assert.Empty(t, before.Await(patience))
}
