//go:build amd64 || arm64

package seccomp

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The test binary runs itself as a victim: a process that makes a policy's program active for all its threads, and then
// makes calls or becomes another program. "none" loads nothing: the control.
const (
	victimPolicy = "BELLJAR_SECCOMP_VICTIM"
	victimBy     = "BELLJAR_SECCOMP_BACKEND" // what compiles the policy; unset: what Policy.Compile takes
	victimTries  = "BELLJAR_SECCOMP_TRIES"   // names of tries, comma-separated; unset: become the program in the arguments
)

func victimPolicies() map[string]Policy {
	marked := Default()
	marked.Unknown = Errno(unix.ENOTNAM)
	return map[string]Policy{
		"default": Default(),
		"build":   Build(),
		"strict":  Strict(),
		"network": Network(),
		"kill":    Default().WithDenied(KillProcess),
		"trap":    Default().WithDenied(Trap),
		"marked":  marked, // tells the filter's answer to unknown numbers from the kernel's own
	}
}

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(victimPolicy); ok {
		os.Unsetenv(victimPolicy)
		if err := victim(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(125)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func victim(name string) error {
	if name != "none" {
		backend := nativeBackend
		if by, ok := os.LookupEnv(victimBy); ok {
			backend = backends[by]
		}
		program, err := victimPolicies()[name].compileWith(NativeArch(), backend)
		if err != nil {
			return err
		}
		if err := loadOnAllThreads(program); err != nil {
			return fmt.Errorf("seccomp: %w", err)
		}
	}
	names, ok := os.LookupEnv(victimTries)
	if !ok {
		path, err := exec.LookPath(os.Args[1])
		if err != nil {
			return err
		}
		return syscall.Exec(path, os.Args[1:], os.Environ())
	}
	results := map[string]syscall.Errno{}
	for _, n := range strings.Split(names, ",") {
		results[n] = tries[n]()
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

func loadOnAllThreads(p Program) error {
	runtime.LockOSThread() // no_new_privs is a thread's; TSYNC gives it to the others together with the filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	code := p.Bytes()
	prog := unix.SockFprog{Len: uint16(p.Len()), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	tid, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	if tid != 0 {
		return fmt.Errorf("thread %d cannot take the filter", tid)
	}
	return nil
}

// runTries makes the calls in a victim under a policy and gives their errors.
func runTries(t *testing.T, policy, backend string, names ...string) map[string]syscall.Errno {
	t.Helper()
	cmd := victimCommand(policy)
	cmd.Env = append(cmd.Env, victimBy+"="+backend, victimTries+"="+strings.Join(names, ","))
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr(err))
	results := map[string]syscall.Errno{}
	require.NoError(t, json.Unmarshal(out, &results), "%q", out)
	return results
}

func victimCommand(policy string, argv ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.Env = append(os.Environ(), victimPolicy+"="+policy)
	return cmd
}

func stderr(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}
