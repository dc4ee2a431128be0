//go:build amd64 || arm64

package seccomp

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestKernelRefuses makes calls on the real kernel: without a filter they must do something else than what the filter
// answers, or the case proves nothing.
func TestKernelRefuses(t *testing.T) {
	const eperm, enosys = syscall.EPERM, syscall.ENOSYS
	cases := map[string]syscall.Errno{
		"unshare": eperm, "setns": eperm, "clone-newuser": eperm, "clone-newuser-newns": eperm, "clone3": enosys,
		"ptrace": eperm, "process_vm_readv": eperm, "process_vm_writev": eperm, "kcmp": eperm, "pidfd_getfd": eperm,
		"mount": eperm, "umount2": eperm, "chroot": eperm, "open_tree": eperm, "mount_setattr": eperm,
		"perf_event_open": eperm, "userfaultfd": eperm, "io_uring_setup": eperm, "keyctl": eperm, "add_key": eperm, "request_key": eperm,
		"socket-netlink": eperm, "socket-netlink-high": eperm, "socket-alg": eperm, "socket-vsock": eperm,
		"socketpair-tipc": eperm, "tiocsti": eperm, "tiocsti-high": eperm, "tioclinux": eperm, "personality-fixed": eperm,
	}
	if os.Geteuid() == 0 { // to others the kernel itself answers EPERM
		for _, name := range []string{"fsopen", "move_mount", "pivot_root", "open_by_handle_at", "bpf", "socket-packet"} {
			cases[name] = eperm
		}
	}
	names := make([]string, 0, len(cases))
	for name := range cases {
		names = append(names, name)
	}
	control := runTries(t, "none", "", names...)
	for backend := range backends {
		filtered := runTries(t, "default", backend, names...)
		for name, want := range cases {
			t.Run(backend+": "+name, func(t *testing.T) {
				if control[name] == want {
					skip(t, "not exercised: without a filter the kernel answers "+want.Error()+" too")
				}
				assert.Equal(t, want, filtered[name], "without a filter: %v", control[name])
			})
		}
	}
}

func TestKernelAllows(t *testing.T) {
	names := []string{"getpid", "clone", "socket-unix", "socket-inet", "socket-inet6", "socket-unix-high", "socketpair-unix", "tcgets", "personality-ask"}
	control := runTries(t, "none", "", names...)
	for backend := range backends {
		filtered := runTries(t, "default", backend, names...)
		assert.Equal(t, control, filtered, backend)
		assert.Zero(t, filtered["socket-unix"])
		assert.Zero(t, filtered["clone"])
		assert.Equal(t, syscall.ENOTTY, filtered["tcgets"])
	}
}

func TestKernelUnknownNumbers(t *testing.T) {
	names := []string{"unknown", "gap", "x32"}
	for backend := range backends {
		for _, policy := range []string{"default", "kill"} { // a kill action must not reach them
			for name, e := range runTries(t, policy, backend, names...) {
				assert.Equal(t, syscall.ENOSYS, e, "%s: %s: %s", backend, policy, name)
			}
		}
		marked := runTries(t, "marked", backend, names...)
		assert.Equal(t, syscall.Errno(118), marked["unknown"], backend)
		assert.Equal(t, syscall.Errno(118), marked["gap"], backend)
		if runtime.GOARCH == "amd64" {
			assert.Equal(t, syscall.ENOSYS, marked["x32"], backend)
		}
	}
}

func TestKernelKills(t *testing.T) {
	for _, c := range []struct {
		policy, try string
		dies        bool
	}{
		{"none", "unshare", false},
		{"default", "unshare", false},
		{"kill", "unshare", true},
		{"kill", "tiocsti", true},
		{"kill", "socket-netlink", true},
		{"kill", "clone3", false},
		{"kill", "tcgets", false},
		{"trap", "unshare", true}, // Go's runtime catches SIGSYS and ends with a traceback
	} {
		t.Run(c.policy+" "+c.try, func(t *testing.T) {
			cmd := victimCommand(c.policy)
			cmd.Env = append(cmd.Env, victimTries+"="+c.try)
			out, err := cmd.CombinedOutput()
			if !c.dies {
				require.NoError(t, err, "%s", out)
				return
			}
			require.Error(t, err)
			if c.policy == "kill" {
				status := err.(*exec.ExitError).Sys().(syscall.WaitStatus)
				assert.True(t, status.Signaled(), "%v", err)
				assert.Equal(t, syscall.SIGSYS, status.Signal())
			} else {
				assert.Contains(t, string(out), "SIGSYS")
			}
		})
	}
}

// TestKernelForeignEntry leaves by i386's entry, int 0x80, where 20 is getpid.
func TestKernelForeignEntry(t *testing.T) {
	if tries["int80"] == nil {
		t.Skip("the architecture has no second entry")
	}
	cmd := victimCommand("none")
	cmd.Env = append(cmd.Env, victimTries+"=int80")
	if out, err := cmd.CombinedOutput(); err != nil {
		skip(t, "not exercised: the kernel has no i386 emulation: "+string(out))
	}
	cmd = victimCommand("default")
	cmd.Env = append(cmd.Env, victimTries+"=int80")
	err := cmd.Run()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	status := exit.Sys().(syscall.WaitStatus)
	assert.True(t, status.Signaled() && status.Signal() == syscall.SIGSYS, "%v", err)
}

// TestProgramsRun has what people run do its work under the default policy, threads and children included.
func TestProgramsRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) { require.NoError(t, os.WriteFile(dir+"/"+name, []byte(text), 0o644)) }
	write("t.c", `#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>
static void *f(void *p) { *(int *)p = 42; return 0; }
int main(void) { pthread_t t; int v = 0; pthread_create(&t, 0, f, &v); pthread_join(t, 0);
	if (!fork()) _exit(3); int s; wait(&s); printf("%d %d\n", v, WEXITSTATUS(s)); }
`)
	write("t.py", `import concurrent.futures as f, subprocess, socket, tempfile, multiprocessing, asyncio
def sq(x): return x * x
if __name__ == "__main__":
    with f.ThreadPoolExecutor(4) as e: n = sum(e.map(sq, range(4)))
    with multiprocessing.Pool(2) as p: n += sum(p.map(sq, range(4)))
    a, b = socket.socketpair(); a.send(b"x"); n += len(b.recv(1))
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
    socket.create_connection(s.getsockname()).close()
    async def wait(): await asyncio.sleep(0.001); return 1
    n += asyncio.run(wait())
    with tempfile.TemporaryFile() as t: t.write(b"x")
    print(n, subprocess.check_output(["echo", "ok"]).decode().strip())
`)
	write("T.java", `public class T { public static void main(String[] a) throws Exception {
	var p = new ProcessBuilder("echo", "ok").start(); var t = new Thread(() -> System.out.print("thread "));
	t.start(); t.join(); System.out.print(new String(p.getInputStream().readAllBytes())); } }
`)
	write("t.go", `package main
import ("fmt"; "os/exec"; "net"; "time")
func main() { c := make(chan int); for i := range 8 { go func() { time.Sleep(time.Millisecond); c <- i }() }
	n := 0; for range 8 { n += <-c }
	l, err := net.Listen("tcp", "127.0.0.1:0"); if err != nil { panic(err) }
	k, err := net.Dial("tcp", l.Addr().String()); if err != nil { panic(err) }; k.Close()
	out, err := exec.Command("echo", "ok").Output(); if err != nil { panic(err) }
	fmt.Print(n, " ", string(out)) }
`)
	for _, c := range []struct{ name, needs, script, want string }{
		{"shell", "sh", `seq 100 | sort -n | while read a; do echo $a; done | tail -1; ls / >/dev/null && cp t.c u.c && rm u.c`, "100\n"},
		{"gcc", "gcc", `gcc -O1 -pthread -o t t.c && ./t`, "42 3\n"},
		{"python", "python3", `python3 t.py`, "30 ok\n"},
		{"java", "java", `java -Xmx64m T.java`, "thread ok\n"},
		{"go", "go", `go run t.go`, "28 ok\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(c.needs); err != nil {
				t.Skipf("%s is not installed", c.needs)
			}
			if testing.Short() && (c.name == "java" || c.name == "go") {
				t.Skip("slow")
			}
			policies := []string{"none", "default", "network"}
			if c.name != "python" && c.name != "go" { // these talk to the loopback
				policies = append(policies, "build")
			}
			for _, policy := range policies {
				cmd := victimCommand(policy, "/bin/sh", "-c", "set -e; "+c.script)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s: %s", policy, out)
				assert.Equal(t, c.want, string(out), policy)
			}
		})
	}
}

// TestFilterOutlivesExec looks at what the kernel says of the program that took the victim's place.
func TestFilterOutlivesExec(t *testing.T) {
	for policy, want := range map[string]int{"none": 0, "default": 2} {
		out, err := victimCommand(policy, "grep", "-E", "^(Seccomp|NoNewPrivs):", "/proc/self/status").Output()
		require.NoError(t, err, "%s", stderr(err))
		if policy == "none" && !strings.Contains(string(out), "Seccomp:\t0") {
			skip(t, "not exercised: this test runs under a filter itself")
		}
		assert.Contains(t, string(out), "Seccomp:\t"+strconv.Itoa(want))
	}
}
