package cgroup

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var benchLimits = Limits{Memory: 64 << 20, Pids: 20}

// What a command costs besides its process.
func BenchmarkLeaf(b *testing.B) {
	m := testManager(b, benchLimits)
	b.ResetTimer()
	for b.Loop() {
		l, err := m.NewLeaf("cmd", Limits{})
		require.NoError(b, err)
		require.NoError(b, l.Delete())
	}
}

func BenchmarkLeafTotals(b *testing.B) {
	l := testLeaf(b, testManager(b, benchLimits), "cmd", Limits{})
	for b.Loop() {
		_, err := l.Totals()
		require.NoError(b, err)
	}
}

func BenchmarkLeafStats(b *testing.B) {
	l := testLeaf(b, testManager(b, benchLimits), "cmd", Limits{})
	for b.Loop() {
		_, err := l.Stats()
		require.NoError(b, err)
	}
}

func BenchmarkLeafPopulated(b *testing.B) {
	l := testLeaf(b, testManager(b, benchLimits), "cmd", Limits{})
	for b.Loop() {
		_, err := l.Populated()
		require.NoError(b, err)
	}
}

func BenchmarkLeafKillEmpty(b *testing.B) {
	l := testLeaf(b, testManager(b, benchLimits), "cmd", Limits{})
	for b.Loop() {
		require.NoError(b, l.Kill(soon()))
	}
}

func BenchmarkLeafCPUUsage(b *testing.B) {
	l := testLeaf(b, testManager(b, benchLimits), "cmd", Limits{})
	for b.Loop() {
		_, err := l.CPUUsage()
		require.NoError(b, err)
	}
}

// What a sandbox costs besides its leaves.
func BenchmarkManager(b *testing.B) {
	p := testParent(b)
	b.ResetTimer()
	for b.Loop() {
		m, err := New(p, "sb", benchLimits)
		require.NoError(b, err)
		require.NoError(b, m.Delete())
	}
}

// Entering on v1: the calling thread writes "0" to every tasks file, and goes
// back the same way, so half of the time is one entry.
func BenchmarkEnterV1(b *testing.B) {
	m := testManager(b, benchLimits)
	l := testLeaf(b, m, "cmd", Limits{})
	if l.FD() >= 0 {
		b.Skip("everything is unified: there is nothing to write")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	var back []int
	for _, d := range testBase(b).Dirs {
		if versionOf(m.dirs, d.Controllers) != 1 {
			continue
		}
		fd, err := openAt(unix.AT_FDCWD, d.Path+"/tasks", os.O_WRONLY)
		require.NoError(b, err)
		back = append(back, fd)
	}
	defer closeAll(back)
	b.ResetTimer()
	for b.Loop() {
		for _, fds := range [][]int{l.TasksFDs(), back} {
			for _, fd := range fds {
				_, err := unix.Write(fd, []byte("0"))
				require.NoError(b, err)
			}
		}
	}
}

// A command from making its leaf to removing it, against plain fork+exec: in a
// hot loop, and with pauses. What waits for an RCU grace period, as moving a
// process by its pid does, costs little in a busy kernel and up to 10 ms in a
// quiet one. The figure that counts is how much more than bare the leaf costs,
// which ought to be the same in both; -bench Command shows them side by side.
//
// "unified" is v2 by itself on a host that has both: the hierarchy of that name has few controllers there, but to enter it and leave it is the same.
func BenchmarkCommand(b *testing.B) {
	for _, c := range []struct {
		name  string
		pause time.Duration
	}{{"hot", 0}, {"paused", 25 * time.Millisecond}} {
		b.Run(c.name+"/bare", func(b *testing.B) {
			benchPaused(b, c.pause, func() { require.NoError(b, command(&Leaf{dirFD: -1}, "true").Run()) })
		})
		b.Run(c.name+"/leaf", func(b *testing.B) { benchLeaf(b, c.pause, testManager(b, benchLimits)) })
		b.Run(c.name+"/unified", func(b *testing.B) { benchLeaf(b, c.pause, unifiedManager(b)) })
	}
}

func benchLeaf(b *testing.B, pause time.Duration, m *Manager) {
	benchPaused(b, pause, func() {
		l, err := m.NewLeaf("cmd", Limits{})
		require.NoError(b, err)
		require.NoError(b, run(command(l, "true")))
		_, err = l.Totals()
		require.NoError(b, err)
		require.NoError(b, l.Delete())
	})
}

// unifiedManager is one without limits in the unified hierarchy of a host that has v1 beside it.
func unifiedManager(b *testing.B) *Manager {
	h, err := Detect()
	require.NoError(b, err)
	base, err := h.Base(HugetlbController)
	all := len(base.Dirs)
	base.Dirs = slices.DeleteFunc(base.Dirs, func(d Dir) bool { return d.Version == 1 })
	if err != nil || all == len(base.Dirs) || len(base.Dirs) == 0 {
		b.Skip("no host with both hierarchies, or nothing in v2")
	}
	w, err := NewOwner(base, os.Getpid(), Options{})
	require.NoError(b, err)
	m, err := New(w.Parent(), "sb", Limits{Hugepages: []HugepageLimit{{Size: 2 << 20}}})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, m.Delete()); require.NoError(b, w.Close()) })
	return m
}

// benchPaused measures f alone, and not the pauses between, by its median: an
// interrupted run in a hundred says nothing of the rest.
func benchPaused(b *testing.B, pause time.Duration, f func()) {
	var took []time.Duration
	b.ResetTimer()
	for b.Loop() {
		if pause > 0 {
			b.StopTimer()
			time.Sleep(pause)
			b.StartTimer()
		}
		begin := time.Now()
		f()
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-us")
	b.ReportMetric(float64(took[len(took)/10].Microseconds()), "p10-us") // of a machine that is busy with other things
}

// BenchmarkSheetTotals is what who has read a leaf's files for another leaves to that.
func BenchmarkSheetTotals(b *testing.B) {
	m := testManager(b, Limits{Memory: 64 << 20, Pids: 20})
	leaf := testLeaf(b, m, "job", Limits{})
	leaf.KeepOpen()
	s, fds, ok := leaf.Sheet()
	if !ok {
		skip(b, "this host's hierarchy does not tell in one file whether a group is empty")
	}
	texts := make([][]byte, len(fds))
	for i, fd := range fds {
		t := make([]byte, s.Files[i].Room)
		n, err := unix.Pread(fd, t, 0)
		require.NoError(b, err)
		texts[i] = t[:n]
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Totals(texts); err != nil {
			b.Fatal(err)
		}
	}
}
