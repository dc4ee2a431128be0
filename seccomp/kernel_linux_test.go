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
