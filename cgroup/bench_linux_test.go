package cgroup

import (
	"os"
	"runtime"
	"testing"

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

// A command from making its leaf to removing it, without and with.
func BenchmarkCommand(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, command(&Leaf{dirFD: -1}, "true").Run())
		}
	})
	b.Run("leaf", func(b *testing.B) {
		m := testManager(b, benchLimits)
		b.ResetTimer()
		for b.Loop() {
			l, err := m.NewLeaf("cmd", Limits{})
			require.NoError(b, err)
			require.NoError(b, run(command(l, "true")))
			_, err = l.Totals()
			require.NoError(b, err)
			require.NoError(b, l.Delete())
		}
	})
}
