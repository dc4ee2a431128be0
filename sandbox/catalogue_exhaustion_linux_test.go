package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	parts["threads"] = func([]string) {
		for range 100 {
			ready := make(chan bool)
			go func() { runtime.LockOSThread(); ready <- true; select {} }()
			<-ready
		}
		fmt.Println("threads=100")
	}
	// kernelmemory fills what the kernel holds for a process: of pipes and of sockets.
	parts["kernelmemory"] = func(args []string) {
		full := make([]byte, 64<<10)
		for range 400 {
			var fd [2]int
			var err error
			if args[0] == "pipes" {
				err = unix.Pipe2(fd[:], unix.O_NONBLOCK)
			} else {
				fd, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
			}
			if err != nil {
				fmt.Println("error=" + err.Error())
				os.Exit(1)
			}
			for range 3 {
				_, _ = unix.Write(fd[1], full)
			}
		}
		fmt.Println("full=400")
	}
}

// playing runs a part of the test binary, to whatever end.
func playing(t *testing.T, sb *Sandbox, part string, args ...string) (string, *Result) {
	t.Helper()
	c := sb.Command(victimPath)
	c.Env = []string{partEnv + "=" + strings.Join(append([]string{part}, args...), " ")}
	var b strings.Builder
	c.Stdout = &b
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	return strings.TrimSpace(b.String()), res
}

// Case 65: threads count as processes do.
func TestCase65ThreadFlood(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, asVictim(t), WithPids(30)))
	out, res := playing(t, sb, "threads")
	assert.Equal(t, PidsExceeded, res.Verdict, out)
	assert.LessOrEqual(t, res.Usage.PeakPids, 30)
	assert.Equal(t, "usable", sh(t, sb, "echo usable"))
	out, res = playing(t, standing(t, asVictim(t), WithPids(200)), "threads")
	assert.Equal(t, OK, res.Verdict, "the control")
	assert.Equal(t, "threads=100", out)
}

// Case 69: what the kernel keeps for a job counts as its memory: what lies in its pipes and sockets.
func TestCase69KernelMemory(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"pipes", "sockets"} {
		sb := grouped(t, standing(t, asVictim(t), WithMemory("20m")))
		out, res := playing(t, sb, "kernelmemory", kind)
		assert.Equal(t, MemoryExceeded, res.Verdict, "%s: %s", kind, out)
		assert.Equal(t, "usable", sh(t, sb, "echo usable"))
		out, res = playing(t, standing(t, asVictim(t), WithMemory("256m")), "kernelmemory", kind)
		assert.Equal(t, OK, res.Verdict, "the control: %s", kind)
		assert.Equal(t, "full=400", out)
		assert.Greater(t, res.Usage.PeakMemory, int64(20<<20), "%s count", kind)
	}
}
