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
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), what)
	}
}

// none tells whether nothing is left, not even the clock.
func (n *nets) none() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.spare) == 0 && n.clock == 0
}

// idle lets as much time pass as makes the spare ones go.
func (n *nets) idle() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastTake = time.Now().Add(-2 * netsIdle)
	n.wakeIn(0)
}

// Each namespace is handed out once, is nobody else's, and the spare ones go when nobody has asked for a while.
func TestNets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces of our own user namespace: needs root")
	}
	home, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	ours, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(ours)
	busy := &traffic{}
	n := &nets{traffic: busy}
	seen := map[uint64]bool{}
	var held []*netns
	defer func() {
		for _, ns := range held {
			n.drop(ns)
		}
	}()
	for i := range 4 {
		if i == 2 {
			defer busy.begin()() // they are made although something always goes on
		}
		ns, at, err := n.take()
		require.NoError(t, err)
		assert.Equal(t, inode(t, at), inode(t, ours), "home")
		held = append(held, ns)
		ino := inode(t, ns.fd)
		assert.False(t, seen[ino], "handed out twice")
		seen[ino] = true
		n.calm()
		await(t, "more", func() bool { return n.ready() == spareNets })
	}
	now, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	assert.Equal(t, home, now, "this process has stayed where it was")

	n.idle()
	await(t, "none", n.none)
	ns, at, err := n.take()
	require.NoError(t, err)
	defer unix.Close(at)
	held = append(held, ns)
	await(t, "more again", func() bool { return n.ready() == spareNets })
	n.idle()
	await(t, "none again", n.none)
}

// None is made while something goes on, for a while.
func TestTraffic(t *testing.T) {
	t.Parallel()
	var at traffic
	one, two := at.begin(), at.begin()
	one()
	time.Sleep(2 * lull)
	assert.False(t, at.quiet())
	two()
	await(t, "quiet", at.quiet)
}
