package sandbox

import (
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/cgroup"
)

// cyclesEnv has the number of sandboxes that TestCyclesLeaveNothing makes: BELLJAR_CYCLES=10000 takes some minutes.
const cyclesEnv = "BELLJAR_CYCLES"

// Sandboxes made, used and closed again and again, several at once, leave no cgroup, descriptor, process, mount or folder.
func TestCyclesLeaveNothing(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 8
	}
	if s := os.Getenv(cyclesEnv); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	opts := []Option{WithPids(20), WithMemory("64m")}
	if groupless(t) {
		opts = nil
	}
	cycle := func() error {
		sb, err := New(opts...)
		if err != nil {
			return err
		}
		res, err := sb.Run(inTime(t), "/bin/true")
		if err == nil {
			err = res.Err()
		}
		if cerr := sb.Close(); err == nil {
			err = cerr
		}
		return err
	}
	require.NoError(t, cycle()) // what is made once for all
	fds, groups, mounts := openFiles("self"), cgroupsBelow(t), lines(t, "/proc/self/mounts")
	z, err := currentZygote()
	require.NoError(t, err)
	held := openFiles(strconv.Itoa(z.pid))
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range n / 4 {
				if !assert.NoError(t, cycle()) {
					return
				}
			}
		}()
	}
	wg.Wait()
	eventually(t, "cgroups are as many as before", func() bool { return cgroupsBelow(t) <= groups })
	eventually(t, "descriptors of the host program are", func() bool { return openFiles("self") <= fds+4 })
	// Templates, network namespaces and what notes sockets in them, all of which is made ahead, are few, and come and go by themselves.
	eventually(t, "descriptors of the zygote are", func() bool { return openFiles(strconv.Itoa(z.pid)) <= held+4+8+9 })
	eventually(t, "mounts are", func() bool { return lines(t, "/proc/self/mounts") <= mounts })
}

// cgroupsBelow counts the groups of this program in all hierarchies.
func cgroupsBelow(t *testing.T) int {
	t.Helper()
	h, err := cgroup.Detect()
	require.NoError(t, err)
	base, err := h.Base(0)
	if err != nil {
		return 0
	}
	z, err := currentZygote()
	require.NoError(t, err)
	name, err := cgroup.OwnerName(z.pid)
	require.NoError(t, err)
	n := 0
	for _, d := range base.Dirs {
		entries, _ := os.ReadDir(d.Path + "/" + name)
		for _, e := range entries {
			if e.IsDir() {
				n++
			}
		}
	}
	return n
}

func lines(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	n := 0
	for _, c := range b {
		if c == '\n' {
			n++
		}
	}
	return n
}
