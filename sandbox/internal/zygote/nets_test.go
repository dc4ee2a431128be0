//go:build linux

package zygote

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &st))
	return st.Ino
}

func (n *nets) ready() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.filling {
		return -1
	}
	return len(n.spare)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), what)
	}
}

// Each namespace is handed out once, is nobody else's, and the spare ones go when nobody has asked for a while.
func TestNets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces of our own user namespace: needs root")
	}
	home, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	n := &nets{}
	seen := map[uint64]bool{}
	var held []int
	defer func() { closeFDs(held) }()
	for range 4 {
		fd, err := n.take()
		require.NoError(t, err)
		held = append(held, fd)
		ino := inode(t, fd)
		assert.False(t, seen[ino], "handed out twice")
		seen[ino] = true
		n.refill()
		await(t, "refill", func() bool { return n.ready() == spareNets })
	}
	now, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	assert.Equal(t, home, now, "this process has stayed where it was")

	n.rest()
	assert.Equal(t, spareNets, n.ready(), "one was taken just now")
	n.mu.Lock()
	n.lastTake = time.Now().Add(-2 * netsIdle)
	n.idle.Stop()
	n.mu.Unlock()
	n.rest()
	assert.Zero(t, n.ready())
	close(n.tasks)
}
