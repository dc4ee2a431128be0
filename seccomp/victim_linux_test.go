//go:build amd64 || arm64

package seccomp

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
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
	victimThread = "BELLJAR_SECCOMP_THREAD"  // "before": the tries are made by a thread that was there before the filter
	victimTSync  = "BELLJAR_SECCOMP_TSYNC"   // "0": the filter is the loading thread's alone
)

// narrow differs from the default in kinds of actions and in errnos.
func narrow() Policy {
	return Policy{Default: Errno(unix.EXDEV), Unknown: Errno(unix.ENOTNAM), Rules: []Rule{
		{Names: []string{"socket"}, Action: Errno(unix.EDOM), Args: []Arg{Low32(0, unix.AF_INET6)}},
		{Names: []string{"ioctl"}, Action: Allow, Args: []Arg{Low32(1, unix.TIOCSTI)}},
		{Names: []string{"ioctl"}, Action: Errno(unix.ERANGE)},
		{Names: []string{"mount", "ptrace"}, Action: Errno(unix.EDOM)},
		{Names: append(slices.Clone(strictAllowed), "socket", "clone", "unshare", "rt_sigreturn", "openat", "prctl", "seccomp", "ftruncate"), Action: Allow},
	}}
}

func victimPolicies() map[string]Policy {
	marked := Default()
	marked.Unknown = Errno(unix.ENOTNAM)
	return map[string]Policy{
		"default":    Default(),
		"build":      Build(),
		"strict":     Strict(),
		"narrow":     narrow(),
		"restricted": Default().Restrict(narrow()),
		"merged":     Default().Merge(narrow()),
		"network":    Network(),
		"kill":       Default().WithDenied(KillProcess),
		"trap":       Default().WithDenied(Trap),
		"386":        subArches(Default()),
		"386, kill":  subArches(Default().WithDenied(KillProcess)),
		"marked":     marked, // tells the filter's answer to unknown numbers from the kernel's own
	}
}

func subArches(p Policy) Policy {
	p.SubArches = []Arch{I386, ARM}
	return p
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
	run := make(chan []string)
	done := make(chan map[string]syscall.Errno)
	go func() {
		runtime.LockOSThread() // a thread of its own, which stands when the filter is loaded
		for names := range run {
			done <- makeTries(names)
		}
	}()
	run <- nil
	<-done
	standingThreads()
	// "a+b" is two filters, b loaded last.
	for _, name := range strings.Split(name, "+") {
		if err := loadPolicy(name); err != nil {
			return err
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
	var results map[string]syscall.Errno
	if os.Getenv(victimThread) == "before" {
		run <- strings.Split(names, ",")
		results = <-done
	} else {
		results = makeTries(strings.Split(names, ","))
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

// standingThreads has the runtime make all the threads it can want, which it keeps: afterwards it needs no clone, clone3, mprotect or what else a
// policy may deny, and which the runtime dies of.
func standingThreads() {
	n := runtime.GOMAXPROCS(0) + 8
	var all, ended sync.WaitGroup
	all.Add(n)
	for range n {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait() // each has a thread of its own
		})
	}
	ended.Wait()
}

func makeTries(names []string) map[string]syscall.Errno {
	results := map[string]syscall.Errno{}
	for _, n := range names {
		results[n] = tries[n]()
	}
	return results
}

func loadPolicy(name string) error {
	if name == "none" {
		return nil
	}
	backend := nativeBackend
	if by, ok := os.LookupEnv(victimBy); ok {
		backend = backends[by]
	}
	program, err := victimPolicies()[name].compileWith(NativeArch(), backend)
	if err != nil {
		return err
	}
	if os.Getenv(victimTSync) == "0" {
		runtime.LockOSThread() // and never unlocked: the goroutine's other calls are this thread's
		_, err := loadOnThread(program)
		return err
	}
	if err := loadOnAllThreads(program); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}

func loadOnAllThreads(p Program) error {
	runtime.LockOSThread() // no_new_privs is a thread's; TSYNC gives it to the others together with the filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	code := p.Bytes()
	prog := unix.SockFprog{Len: uint16(p.Len()), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	tid, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(FlagTSync|p.Flags()), uintptr(unsafe.Pointer(&prog)))
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
