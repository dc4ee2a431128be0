//go:build linux && cgo

package sandbox_test

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/belljar-go/belljar/sandbox"
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
