//go:build linux

package zygote

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// watched gives namespaces in which the witness sees this process.
func watched(t *testing.T) (n *nets, home int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces of our own user namespace: needs root")
	}
	n = &nets{}
	g := &groups{places: map[string]*groupPlace{"": {owner: &cgroup.Owner{}}}} // as on a host with v1 alone
	n.witness.where = g.noting
	t.Cleanup(g.unnote)
	n.witness.begin()
	t.Cleanup(n.witness.close)
	enter(t, g.notedFD())
	if n.witness.dir == "" {
		var u unix.Utsname
		var major, minor int
		require.NoError(t, unix.Uname(&u))
		_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
		require.NoError(t, err)
		if major < 6 || major == 6 && minor < 7 {
			t.Skip("sockets of AF_UNIX are noted: needs Linux 6.7")
		}
		t.Fatal("the kernel notes no sockets here")
	}
	home, err := launch.Home("net")
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(home) })
	return n, home
}

// enter moves this process to a group of v2 for the length of the test.
func enter(t *testing.T, group int) {
	t.Helper()
	if group < 0 {
		return
	}
	move := func(group int) error {
		procs, err := unix.Openat(group, "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(procs)
		_, err = unix.Write(procs, []byte("0"))
		return err
	}
	above, err := unix.Openat(group, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, move(group))
	t.Cleanup(func() {
		assert.NoError(t, move(above))
		_ = unix.Close(above)
	})
}

// inside runs f on a thread that is in a namespace meanwhile.
func inside(t *testing.T, home int, ns *netns, f func()) {
	t.Helper()
	require.NoError(t, launch.Away(home, unix.CLONE_NEWNET, func() error {
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		f()
		return nil
	}))
}

func newSocket(t *testing.T, family, kind, protocol int) int {
	t.Helper()
	s, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	require.NoError(t, err)
	return s
}

// A namespace is used again only if nothing has happened there that could be seen later or have let something out.
func TestProof(t *testing.T) {
	n, home := watched(t)
	loopback := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}
	nowhere := &unix.SockaddrUnix{Name: "/nowhere/at/all"}
	brief := func(family, kind, protocol int) func(*testing.T) []int {
		return func(t *testing.T) []int {
			require.NoError(t, unix.Close(newSocket(t, family, kind, protocol)))
			return nil
		}
	}
	for name, c := range map[string]struct {
		same bool
		deed func(*testing.T) (open []int)
	}{
		"nothing":   {true, func(*testing.T) []int { return nil }},
		"unix":      {true, brief(unix.AF_UNIX, unix.SOCK_DGRAM, 0)},
		"stream":    {false, brief(unix.AF_INET, unix.SOCK_STREAM, 0)},
		"datagram":  {false, brief(unix.AF_INET, unix.SOCK_DGRAM, 0)},
		"raw":       {false, brief(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
		"stream 6":  {false, brief(unix.AF_INET6, unix.SOCK_STREAM, 0)},
		"multipath": {false, brief(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)},
		"pair, talked over": {true, func(t *testing.T) []int {
			p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			_, err = unix.Write(p[0], []byte("word"))
			require.NoError(t, err)
			closeFDs(p[:])
			return nil
		}},
		"abstract name": {true, func(t *testing.T) []int {
			s := newSocket(t, unix.AF_UNIX, unix.SOCK_STREAM, 0)
			require.NoError(t, unix.Bind(s, &unix.SockaddrUnix{Name: "@belljar"}))
			require.NoError(t, unix.Listen(s, 1))
			require.NoError(t, unix.Close(s))
			return nil
		}},
		"abstract name that stays": {false, func(t *testing.T) []int {
			s := newSocket(t, unix.AF_UNIX, unix.SOCK_STREAM, 0)
			require.NoError(t, unix.Bind(s, &unix.SockaddrUnix{Name: "@belljar"}))
			return []int{s}
		}},
		"pair that stays": {false, func(t *testing.T) []int {
			p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			return p[:]
		}},
		"netlink that stays": {false, func(t *testing.T) []int {
			return []int{newSocket(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)}
		}},
		"connected, nothing sent": {false, func(t *testing.T) []int {
			s := newSocket(t, unix.AF_INET, unix.SOCK_DGRAM, 0)
			require.NoError(t, unix.Connect(s, loopback))
			require.NoError(t, unix.Close(s))
			return nil
		}},
		"unix, connected": {false, func(t *testing.T) []int {
			s := newSocket(t, unix.AF_UNIX, unix.SOCK_STREAM, 0)
			require.Error(t, unix.Connect(s, nowhere))
			require.NoError(t, unix.Close(s))
			return nil
		}},
		"unix, sent to a name": {false, func(t *testing.T) []int {
			s := newSocket(t, unix.AF_UNIX, unix.SOCK_DGRAM, 0)
			require.Error(t, unix.Sendto(s, []byte("word"), 0, nowhere))
			require.NoError(t, unix.Close(s))
			return nil
		}},
		"a packet of somebody on the host": {false, func(t *testing.T) []int {
			s := newSocket(t, unix.AF_PACKET, unix.SOCK_RAW, 0)
			require.NoError(t, unix.Sendto(s, make([]byte, 64), 0, &unix.SockaddrLinklayer{Ifindex: 1, Protocol: 0x0008}))
			require.NoError(t, unix.Close(s))
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ns, err := makeNet(home, &n.witness)
			require.NoError(t, err)
			require.NotZero(t, ns.cookie)
			ns.group, ns.noted = &cgroup.Manager{}, true
			require.True(t, n.witness.clean(ns.cookie))
			var open []int
			inside(t, home, ns, func() { open = c.deed(t) })
			same := n.prove(ns, home)
			closeFDs(open)
			assert.Equal(t, c.same, same)
			assert.Equal(t, c.same, n.returns)
			if same {
				n.drop(ns)
			}
			assert.False(t, n.witness.clean(ns.cookie), "it is forgotten")
		})
	}
}

// Of a namespace that nobody sees in, or whose sandbox was elsewhere, nothing is known.
func TestProofNeedsWitness(t *testing.T) {
	n, home := watched(t)
	ns, err := makeNet(home, &n.witness)
	require.NoError(t, err)
	assert.False(t, n.prove(ns, home), "no group")

	blind := &nets{}
	blind.witness.begin()
	ns, err = makeNet(home, &blind.witness)
	require.NoError(t, err)
	assert.Zero(t, ns.cookie)
	ns.group, ns.noted = &cgroup.Manager{}, true
	assert.False(t, blind.prove(ns, home), "no witness")

	ns, err = makeNet(home, &n.witness)
	require.NoError(t, err)
	ns.group, ns.noted = &cgroup.Manager{}, true
	ns.noted = false
	assert.False(t, n.prove(ns, home), "its commands were elsewhere")
}

// What comes back is handed out again, within bounds, and goes when nobody has asked for a while.
func TestNetsComeBack(t *testing.T) {
	n, _ := watched(t)
	first, at, err := n.take()
	require.NoError(t, err)
	defer unix.Close(at)
	require.NotZero(t, first.cookie)
	cookie := first.cookie
	first.group, first.noted = &cgroup.Manager{}, true
	n.back(first, true)
	var out []*netns
	found := false
	// It may just be looked at, or lie below others.
	for end := time.Now().Add(patience); !found && time.Now().Before(end); {
		ns, _, err := n.take()
		require.NoError(t, err)
		found = ns.cookie == cookie
		out = append(out, ns)
	}
	require.True(t, found)
	for range mostNets {
		ns, err := makeNet(at, &n.witness)
		require.NoError(t, err)
		out = append(out, ns)
	}
	for _, ns := range out {
		ns.group, ns.noted = &cgroup.Manager{}, true
		n.back(ns, true)
	}
	n.mu.Lock()
	assert.LessOrEqual(t, len(n.spare)+len(n.used), mostNets)
	n.mu.Unlock()
	n.idle()
	await(t, "none", n.none)

	ns, err := makeNet(at, &n.witness)
	require.NoError(t, err)
	n.back(ns, true) // nobody tends them now
	assert.Empty(t, n.used)
}

// Who comes second sees what who comes first saw.
func TestUsedLooksNew(t *testing.T) {
	n, home := watched(t)
	sight := func(used bool) map[string]string {
		ns, err := makeNet(home, &n.witness)
		require.NoError(t, err)
		defer func() { n.drop(ns) }()
		if used {
			ns.group, ns.noted = &cgroup.Manager{}, true
			inside(t, home, ns, func() {
				s := newSocket(t, unix.AF_UNIX, unix.SOCK_STREAM, 0)
				require.NoError(t, unix.Bind(s, &unix.SockaddrUnix{Name: "@belljar"}))
				require.NoError(t, unix.Close(s))
				_, err := os.ReadFile("/proc/thread-self/net/tcp")
				require.NoError(t, err)
			})
			require.True(t, n.prove(ns, home))
		}
		var all map[string]string
		inside(t, home, ns, func() { all = everything(t) })
		return all
	}
	fresh, again := sight(false), sight(true)
	assert.Greater(t, len(fresh), 100)
	assert.Contains(t, fresh, "netlink routes")
	for name, is := range fresh {
		assert.True(t, is == again[name], "%s: %.300q instead of %.300q", name, again[name], is)
	}
	assert.Len(t, again, len(fresh))
}

// everything is all there is to be seen of this thread's network namespace, by /proc and netlink, but for what is new each time.
func everything(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, root := range []string{"/proc/thread-self/net", "/proc/sys/net"} {
		require.NoError(t, filepath.WalkDir(root+"/", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if text, err := os.ReadFile(path); err == nil && !random(path) {
				all[path] = string(text)
			}
			return nil
		}))
	}
	for name, kind := range map[string]int{"links": unix.RTM_GETLINK, "addresses": unix.RTM_GETADDR, "routes": unix.RTM_GETROUTE, "neighbours": unix.RTM_GETNEIGH, "rules": unix.RTM_GETRULE} {
		rib, err := syscall.NetlinkRIB(kind, unix.AF_UNSPEC)
		require.NoError(t, err)
		messages, err := syscall.ParseNetlinkMessage(rib)
		require.NoError(t, err)
		var text bytes.Buffer
		for _, m := range messages {
			forgetTimes(&m)
			fmt.Fprintf(&text, "%d %x\n", m.Header.Type, m.Data)
		}
		all["netlink "+name] = text.String()
	}
	return all
}

// forgetTimes clears when an address and an interface came to be, and the latter's time for neighbours, which is random (IFA_CACHEINFO; IFLA_INET6_CACHEINFO, a struct ifla_cacheinfo, within IFLA_AF_SPEC).
func forgetTimes(m *syscall.NetlinkMessage) {
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return
	}
	for _, a := range attrs {
		switch {
		case m.Header.Type == unix.RTM_NEWADDR && a.Attr.Type == unix.IFA_CACHEINFO:
			clear(a.Value[8:])
		case m.Header.Type == unix.RTM_NEWLINK && a.Attr.Type == unix.IFLA_AF_SPEC:
			head := []byte{4 + 16, 0, unix.IFLA_INET6_CACHEINFO, 0, 0xff, 0xff, 0, 0} // of the largest size that can be put together again
			if i := bytes.Index(a.Value, head); i >= 0 {
				clear(a.Value[i+8:][:8])
			}
		}
	}
}

// random tells of which files not even two new namespaces have the same: those with keys, those with addresses of the kernel's, and those that are about the machine as a whole.
func random(path string) bool {
	name := filepath.Base(path)
	switch name {
	case "tcp_fastopen_key", "netlink", "ptype", "protocols", "softnet_stat", "nf_conntrack", "nf_conntrack_count", "tcp_mem", "udp_mem", "sockstat", "sockstat6", "rt_cache":
		return true
	}
	return strings.HasPrefix(path, "/proc/sys/net/core/") && strings.HasPrefix(name, "netdev_rss_key")
}
