//go:build linux && cgo

package sandbox_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/sandbox"
	"github.com/belljar-go/belljar/seccomp"
)

func Example() {
	sb, err := sandbox.New(sandbox.WithHostname("glass"))
	if err != nil {
		fmt.Println(err, sandbox.Explain(err))
		return
	}
	defer sb.Close()
	out, err := sb.Command("/bin/sh", "-c", "echo uid $(id -u) on $(hostname)").Output(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(out))
	// Output: uid 1000 on glass
}

// A result says how the program ended; an error says that the sandbox failed.
func ExampleRun() {
	res, err := sandbox.Run(context.Background(), []string{"/bin/sh", "-c", "exit 3"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Verdict, res.ExitCode)
	// Output: non-zero exit 3
}

func ExampleWithWallTime() {
	res, err := sandbox.Run(context.Background(), []string{"sleep", "1000"}, sandbox.WithWallTime(50*time.Millisecond))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Verdict)
	// Output: wall time exceeded
}

// Files go in with WriteFile and come out with FS, which never leads out of the sandbox.
func ExampleSandbox_FS() {
	sb, err := sandbox.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sb.Close()
	if err := sb.WriteFile("/box/in", []byte("hello"), 0o644); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := sb.Run(context.Background(), "/bin/sh", "-c", "tr a-z A-Z <in >out"); err != nil {
		fmt.Println(err)
		return
	}
	out, err := fs.ReadFile(sb.FS(), "box/out")
	fmt.Println(string(out), err)
	// Output: HELLO <nil>
}

// A handler opens a file on the program's behalf: it decides by the bytes that it has read, and hands over what it has opened, so that it makes no difference
// what the program writes into its memory meanwhile.
func ExampleWithSeccomp() {
	open := seccomp.Notify("openat", func(c seccomp.Call) seccomp.Answer {
		path, err := c.Path(c.Args[1])
		if err != nil || path != "/quotes/today" {
			return seccomp.Continue() // the root decides, as for any program
		}
		r, w, err := os.Pipe()
		if err != nil {
			return seccomp.Refuse(syscall.EIO)
		}
		fmt.Fprintln(w, "made up on the spot")
		_ = w.Close()
		return seccomp.Inject(r)
	})
	sb, err := sandbox.New(sandbox.WithSeccomp(seccomp.Default(), open))
	if err != nil {
		fmt.Println(err, sandbox.Explain(err))
		return
	}
	defer sb.Close()
	out, err := sb.Command("/bin/cat", "/quotes/today").Output(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(out))
	// Output: made up on the spot
}

// A policy that kills names the call.
func ExampleResult_syscall() {
	policy := seccomp.Default().WithDenied(seccomp.KillProcess)
	res, err := sandbox.Run(context.Background(), []string{"/usr/bin/perl", "-e", "chroot '/'"}, sandbox.WithSeccomp(policy))
	if err != nil {
		fmt.Println(err)
		return
	}
	name, _, _ := strings.Cut(res.Syscall, "=")
	fmt.Println(res.Verdict, name)
	// Output: system call denied chroot(path
}

// What a program is seen to do becomes a policy for it.
func ExampleTrial() {
	learned, err := seccomp.Learn(context.Background(),
		sandbox.Trial([]string{"/bin/ls", "/"}),
		sandbox.Trial([]string{"/bin/ls", "-l", "/usr"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := sandbox.Run(context.Background(), []string{"/bin/ls", "-l", "/"}, sandbox.WithSeccomp(learned.Policy()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(learned.Runs(), res.Verdict)
	// Output: 2 OK
}
