package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/stretchr/testify/require"
)

func init() { parts["live"] = playLive }

// TestManyLive has many sandboxes at once and then several times as many in turn, in a host program of its own, and sees what that costs it and the
// zygote. BELLJAR_LIVE says how many at once.
func TestManyLive(t *testing.T) {
	t.Parallel()
	needRoot(t) // the zygote's descriptors are nobody else's to look at
	n := 60
	if testing.Short() {
		n = 10
	}
	if v, err := strconv.Atoi(os.Getenv("BELLJAR_LIVE")); err == nil {
		n = v
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+n/100)*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = []string{partEnv + "=live " + strconv.Itoa(n)}
	raw, err := cmd.CombinedOutput()
	out := string(raw)
	require.NoError(t, err, out)
	t.Log(out)
	got := map[string]int{}
	for k, v := range values(out) {
		i, err := strconv.Atoi(v)
		require.NoError(t, err, k)
		got[k] = i
	}
	require.Equal(t, n, got["ran"], "each of them ran a program")
	require.Less(t, got["host descriptors live"], got["host descriptors before"]+10, "a sandbox costs the host program no descriptor")
	require.Less(t, got["host descriptors after"], got["host descriptors before"]+5)
	require.Greater(t, got["zygote descriptors live"], got["zygote descriptors before"]+n, "control: they are counted")
	require.Less(t, got["zygote descriptors after"], got["zygote descriptors before"]+20)
	require.Less(t, got["goroutines after"], got["goroutines before"]+5)
	require.Zero(t, got["processes after"])
	// What the allocators keep after the first wave serves the later ones.
	require.Less(t, got["zygote kB after"], 2*got["zygote kB live"]+4096)
	require.Less(t, got["host kB after"], 2*got["host kB live"]+4096)
}

// playLive is a host program that prints its figures, and "ran": how many of the sandboxes that stood at once ran a program then.
func playLive(args []string) {
	n, err := strconv.Atoi(args[0])
	exitOn(err)
	exitOn(Prepare())
	zygote := strconv.Itoa(theZygote.client.pid)
	figures := func(when string) {
		debug.FreeOSMemory()
		fmt.Printf("host descriptors %s=%d\n", when, openFiles("self"))
		fmt.Printf("zygote descriptors %s=%d\n", when, openFiles(zygote))
		fmt.Printf("goroutines %s=%d\n", when, runtime.NumGoroutine())
		fmt.Printf("host kB %s=%d\n", when, pss("self"))
		fmt.Printf("zygote kB %s=%d\n", when, pss(zygote))
	}
	boxes := openMany(n)
	closeMany(boxes[:1]) // what the first one of all makes stays
	boxes = boxes[1:]
	closeMany(boxes)
	figures("before")

	begin := time.Now()
	boxes = openMany(n)
	fmt.Printf("us each to make=%d\n", time.Since(begin).Microseconds()/int64(n))
	var ran int
	begin = time.Now()
	for _, sb := range boxes {
		res, err := sb.Run(context.Background(), "/bin/true")
		exitOn(err)
		if res.Verdict == OK {
			ran++
		}
	}
	fmt.Printf("us each to run=%d\n", time.Since(begin).Microseconds()/int64(n))
	fmt.Printf("ran=%d\n", ran)
	figures("live")
	idle := 0
	for _, sb := range boxes {
		idle += pss(strconv.Itoa(sb.PID()))
	}
	fmt.Printf("kB each of PID 1=%d\n", idle/n)
	closeMany(boxes)
	for range 3 {
		closeMany(openMany(n))
	}
	for end := time.Now().Add(patience / 2); len(sandboxed(theZygote.client.pid)) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // until all have been waited for
	}
	figures("after")
	fmt.Printf("processes after=%d\n", len(sandboxed(theZygote.client.pid)))
}

// sandboxed are a zygote's processes beside the seed, which is no sandbox's.
func sandboxed(zygote int) []leaktest.Process {
	return slices.DeleteFunc(leaktest.Descendants(zygote), func(p leaktest.Process) bool { return p.Name == launch.SeedName })
}

// openMany makes n sandboxes, two at a time.
func openMany(n int) []*Sandbox {
	boxes := make([]*Sandbox, n)
	var both sync.WaitGroup
	for half := range 2 {
		both.Go(func() {
			for i := half; i < n; i += 2 {
				var err error
				boxes[i], err = New(BestEffort(WithMemory("64m")), BestEffort(WithPids(20)))
				exitOn(err)
			}
		})
	}
	both.Wait()
	return boxes
}

func closeMany(boxes []*Sandbox) {
	for _, sb := range boxes {
		exitOn(sb.Close())
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func openFiles(pid string) int {
	n := 0
	for _, count := range leaktest.Files(pid) {
		n += count
	}
	return n
}

// pss is the memory of a process in kB, what it shares divided by those it shares it with; 0 if it cannot be read.
func pss(pid string) int {
	b, _ := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	f := strings.Fields(string(b))
	i := slices.Index(f, "Pss:")
	if i < 0 || i+1 == len(f) {
		return 0
	}
	n, _ := strconv.Atoi(f[i+1])
	return n
}
