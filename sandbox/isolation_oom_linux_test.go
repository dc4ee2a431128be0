package sandbox

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Between its clone and its exec a command is in the job's cgroup. Did it share the zygote's memory, the OOM killer, called by other commands of the sandbox, would take it for the
// largest process there, and kill the zygote with it.
func TestZygoteOutlivesOOMKills(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("16m")))
	z, err := currentZygote()
	require.NoError(t, err)
	var kills atomic.Int64
	var wg sync.WaitGroup
	run := func(end time.Time, name string, args ...string) {
		defer wg.Done()
		for time.Now().Before(end) || kills.Load() == 0 && time.Now().Before(end.Add(patience)) {
			res, err := sb.Run(inTime(t), name, args...)
			if !assert.NoError(t, err) {
				return
			}
			if res.Verdict == MemoryExceeded {
				kills.Add(1)
			}
		}
	}
	end := time.Now().Add(2 * time.Second)
	if testing.Short() {
		end = time.Now().Add(time.Second)
	}
	for range 3 {
		wg.Add(3)
		go run(end, "/usr/bin/perl", "-e", `$x .= "x" x 100000 while 1`)
		go run(end, "/bin/true")
		go run(end, "/bin/true")
	}
	wg.Wait()
	assert.Positive(t, kills.Load(), "control")
	assert.False(t, z.isDead())
	assert.Equal(t, "alive", sh(t, sb, "echo alive"))
}

// clones tells whether a process is in clone3(2): it waits in a vfork, then.
func clones(pid int) bool {
	call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	return strings.HasPrefix(string(call), strconv.Itoa(unix.SYS_CLONE3)+" ")
}

// Nor is it taken along with a process that has yet to execute its program, whoever has been killed of those that the kernel would spare it for.
func TestZygoteOutlivesOOMKillOfLaunch(t *testing.T) {
	hang := mountHanging(t)
	newBox(t)
	sb := grouped(t, standing(t, WithMemory("8m"), WithBind(hang.program(), "/program", ReadOnly)))
	z, err := currentZygote()
	require.NoError(t, err)
	launched := make(chan error, 1)
	go func() {
		_, err := sb.Run(context.Background(), "/program")
		launched <- err
	}()
	returns(t, "the control: somebody opens the program", func() { <-hang.opened })
	var first []int
	eventually(t, "the control: the first process of the launch waits for the second one's exec", func() bool {
		first = first[:0]
		for _, p := range leaktest.Descendants(z.pid) {
			if clones(p.PID) {
				first = append(first, p.PID)
			}
		}
		return len(first) > 0
	})
	require.Len(t, first, 1)
	require.NoError(t, unix.Kill(first[0], unix.SIGKILL))
	res, err := sb.Run(inTime(t), "/usr/bin/perl", "-e", `$x .= "x" x 100000 while 1`)
	if assert.NoError(t, err) {
		assert.Equal(t, MemoryExceeded, res.Verdict, "control")
	}
	assert.False(t, z.isDead())
	hang.abort(t)
	returns(t, "the launch", func() { <-launched })
	assert.Equal(t, "alive", sh(t, sb, "echo alive"))
}
