//go:build amd64 || arm64

package seccomp

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
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

// TestKernelSubArch: where the policy lets i386 in its rules hold for it, by its own numbers.
func TestKernelSubArch(t *testing.T) {
	if tries["int80"] == nil {
		t.Skip("the architecture has no second entry")
	}
	names := []string{"int80", "int80-mount", "int80-unknown"}
	cmd := victimCommand("none")
	cmd.Env = append(cmd.Env, victimTries+"="+strings.Join(names, ","))
	out, err := cmd.Output()
	if err != nil {
		skip(t, "not exercised: the kernel has no i386 emulation: "+stderr(err))
	}
	control := map[string]syscall.Errno{}
	require.NoError(t, json.Unmarshal(out, &control))
	assert.Equal(t, map[string]syscall.Errno{"int80": 0, "int80-mount": syscall.EFAULT, "int80-unknown": syscall.ENOSYS}, control)
	for backend := range backends {
		if testing.Short() && backend != Backend { // the interpreter has all of them
			continue
		}
		got := runTries(t, "386", backend, names...)
		assert.Equal(t, map[string]syscall.Errno{"int80": 0, "int80-mount": syscall.EPERM, "int80-unknown": syscall.ENOSYS}, got, backend)
	}
	cmd = victimCommand("386, kill")
	cmd.Env = append(cmd.Env, victimTries+"=int80,int80-mount")
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Run(), &exit)
	assert.Equal(t, syscall.SIGSYS, exit.Sys().(syscall.WaitStatus).Signal())
}

// TestKernelOtherThreads: a filter loaded into a process with threads holds for a thread that stood before (catalogue 52)
// by TSYNC alone, which is the control. A sandbox's commands have one thread then.
func TestKernelOtherThreads(t *testing.T) {
	run := func(env ...string) syscall.Errno {
		cmd := victimCommand("default")
		cmd.Env = append(append(cmd.Env, victimTries+"=unshare"), env...)
		out, err := cmd.Output()
		require.NoError(t, err, "%s", stderr(err))
		results := map[string]syscall.Errno{}
		require.NoError(t, json.Unmarshal(out, &results))
		return results["unshare"]
	}
	assert.Equal(t, syscall.EPERM, run(victimThread+"=before"))
	assert.Equal(t, syscall.EPERM, run(victimTSync+"=0"), "the thread that loads it")
	assert.Zero(t, run(victimThread+"=before", victimTSync+"=0"), "another one, without TSYNC")
}

// TestKernelCombines holds Restrict to what the kernel itself does with two filters.
func TestKernelCombines(t *testing.T) {
	names := []string{
		"getpid", "unshare", "setns", "ptrace", "mount", "umount2", "keyctl", "socket-unix", "socket-inet", "socket-inet6", "socket-netlink",
		"socketpair-unix", "tcgets", "tiocsti", "tioclinux", "unknown", "x32", "clone", "clone-newuser", "clone3", "personality-ask",
	}
	both := runTries(t, "narrow+default", "built-in", names...)
	for backend := range backends {
		assert.Equal(t, both, runTries(t, "restricted", backend, names...), backend)
	}
	assert.Equal(t, syscall.EXDEV, both["socketpair-unix"], "narrow's alone")
	assert.Equal(t, syscall.EPERM, both["mount"], "both deny: the last one loaded says how")
	assert.Equal(t, syscall.EPERM, both["tiocsti"])
	assert.Equal(t, syscall.ERANGE, both["tcgets"])
	merged := runTries(t, "merged", "built-in", names...)
	assert.Equal(t, syscall.ENOTTY, merged["tcgets"], "default's")
	assert.Zero(t, merged["unshare"], "narrow's")
	assert.Equal(t, syscall.EPERM, merged["mount"])
}

// TestKernelStrict: what strict refuses, the kernel does without it.
func TestKernelStrict(t *testing.T) {
	cases := map[string]syscall.Errno{
		"clone": syscall.EPERM, "socket-unix": syscall.EPERM, "socket-inet": syscall.EPERM, "create": syscall.EPERM, "create-write": syscall.EPERM,
		"mkdir": syscall.EPERM, "kill-self": syscall.EPERM, "openat2": syscall.ENOSYS, "socketpair-tipc": syscall.EPERM,
		"prlimit-parent": syscall.EPERM, "sendto-address": syscall.EPERM, "sendmsg": syscall.EPERM,
	}
	names := append(slices.Sorted(maps.Keys(cases)), "socketpair-unix", "getpid", "read-only")
	control := runTries(t, "none", "", names...)
	for backend := range backends {
		strict := runTries(t, "strict", backend, names...)
		for name, want := range cases {
			assert.Equal(t, want, strict[name], "%s: %s", backend, name)
			assert.NotEqual(t, want, control[name], "not exercised: %s", name)
		}
		for _, name := range []string{"socketpair-unix", "getpid", "read-only"} {
			assert.Zero(t, strict[name], "%s: %s", backend, name)
		}
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
