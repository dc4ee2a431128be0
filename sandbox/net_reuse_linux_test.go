package sandbox

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// needNoting skips where sockets cannot be noted. It returns the group of v2 that this process is in.
func needNoting(t *testing.T) (own string) {
	t.Helper()
	needRoot(t)
	needKernel(t, 6, 7)
	h, err := cgroup.Detect()
	require.NoError(t, err)
	p, ok := h.Unified()
	if !ok {
		skip(t, "sockets are noted by group: needs cgroup v2 to be mounted")
	}
	return p.Dirs[0].Path
}

// What notes sockets is attached to no group but the zygote's own, and goes with it.
func TestNetworkReuseBothersNobody(t *testing.T) {
	own := needNoting(t)
	stopZygote()
	before := attached(t, own)
	for range 3 {
		_, err := Run(inTime(t), []string{"/bin/true"})
		require.NoError(t, err)
	}
	z, err := currentZygote()
	require.NoError(t, err)
	var groups []string
	eventually(t, "sockets are noted", func() bool {
		groups = notingGroups(z.pid)
		sb, err := New() // one more may be what it takes
		require.NoError(t, err)
		require.NoError(t, sb.Close())
		return len(groups) == 1 && slices.Equal(attached(t, groups[0]), []uint32{1, 1, 1})
	})
	assert.Equal(t, before, attached(t, own), "the group of this process and the zygote")

	// The sandbox's processes are there, however they were started, and nobody else is.
	where := func(pid int) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if group, ok := strings.CutPrefix(line, "0::"); ok {
				return group
			}
		}
		return ""
	}
	name := filepath.Base(groups[0])
	var sb *Sandbox
	eventually(t, "a sandbox in a namespace that was made since", func() (there bool) {
		var err error
		sb, err = New()
		require.NoError(t, err)
		if there = strings.Contains(where(sb.PID()), name); !there {
			require.NoError(t, sb.Close())
		}
		return there
	})
	for range 3 {
		cmd, finish := started(t, sb, "echo word; read word", Limits{})
		assert.Contains(t, where(cmd.PID()), name)
		finish()
	}
	assert.NotContains(t, where(z.pid), name)
	assert.NotContains(t, where(os.Getpid()), name)
	require.NoError(t, sb.Close())
	stopZygote()
	assert.NoDirExists(t, groups[0])
	assert.Equal(t, before, attached(t, own))
}

// attached counts the programs that are attached to a group of v2 itself, by the types that the zygote attaches (BPF_PROG_QUERY).
func attached(t *testing.T, group string) (counts []uint32) {
	t.Helper()
	fd, err := unix.Open(group, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	for _, kind := range []uint32{unix.BPF_CGROUP_INET_SOCK_CREATE, 49, 50} { // BPF_CGROUP_UNIX_CONNECT and _SENDMSG
		attr := struct {
			target, kind, flags, attachFlags uint32
			ids                              uint64
			count, _                         uint32
		}{target: uint32(fd), kind: kind}
		_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_QUERY, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		require.Zero(t, errno, group)
		counts = append(counts, attr.count)
	}
	return counts
}

// cookieScript prints the kernel's number of the network namespace, which no other has had or will have: inode numbers are given out again. The socket it takes is of AF_UNIX.
var cookieScript = fmt.Sprintf(`perl -e 'socket(S, 1, 1, 0); $b = "\0" x 8; $n = pack("L", 8); syscall(%d, fileno(S), 1, %d, $b, $n) == 0 and print unpack("Q", $b)'`, unix.SYS_GETSOCKOPT, unix.SO_NETNS_COOKIE)

// A network namespace serves another sandbox only after one that can have left nothing in it. The control are the quiet ones, whose do.
func TestNetworkReuse(t *testing.T) {
	needNoting(t)
	ours, theirs, err := os.Pipe()
	require.NoError(t, err)
	defer closeFiles([]*os.File{ours, theirs})
	quiet := func(t *testing.T, sb *Sandbox) {}
	run := func(script string) func(*testing.T, *Sandbox) {
		return func(t *testing.T, sb *Sandbox) { sh(t, sb, script) }
	}
	give := func(f *os.File) func(*testing.T, *Sandbox) {
		return func(t *testing.T, sb *Sandbox) {
			c := sb.Command("/bin/true")
			c.ExtraFiles = []*os.File{f}
			_, err := c.Run(inTime(t))
			require.NoError(t, err)
		}
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/socket", Net: "unix"})
	require.NoError(t, err)
	defer listener.Close()
	socket, err := listener.File()
	require.NoError(t, err)
	defer socket.Close()
	folder, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer folder.Close()

	type job struct {
		opts []Option
		deed func(*testing.T, *Sandbox)
	}
	// together has all of them stand at once, so that each has a namespace of its own, and end; which, it returns.
	together := func(jobs map[string]job) map[string]string {
		had := map[string]string{}
		var all []*Sandbox
		for name, j := range jobs {
			sb, err := New(j.opts...)
			require.NoError(t, err, name)
			all = append(all, sb)
			cookie := sh(t, sb, cookieScript)
			require.NotEmpty(t, cookie)
			j.deed(t, sb)
			had[cookie] = name
		}
		assert.Len(t, had, len(jobs))
		for _, sb := range all {
			require.NoError(t, sb.Close())
		}
		return had
	}
	// after makes as many as are kept, and more, and tells which of what others had are used again.
	after := func(had map[string]string) (again []string) {
		var all []*Sandbox
		for range 20 {
			sb, err := New()
			require.NoError(t, err)
			all = append(all, sb)
			if name := had[sh(t, sb, cookieScript)]; name != "" {
				again = append(again, name)
			}
		}
		for _, sb := range all {
			require.NoError(t, sb.Close())
		}
		return again
	}
	terminal := func(t *testing.T, sb *Sandbox) {
		c := sb.Command("/bin/true")
		c.TTY = &WindowSize{Rows: 2, Cols: 2}
		_, err := c.Run(inTime(t))
		require.NoError(t, err)
	}
	ids := []namespace.IDMap{{Inside: 0, Outside: 300000, Count: 1 << 16}}
	after(nil) // from the second sandbox on
	assert.Empty(t, after(together(map[string]job{
		"internet":            {nil, run(`perl -e 'socket(S, 2, 2, 0) or die'`)},
		"internet, listening": {nil, run(`perl -MIO::Socket::INET -e 'IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1) or die'`)},
		"connect":             {nil, run(`perl -MSocket -e 'socket(S, 1, 1, 0); connect(S, pack_sockaddr_un("/tmp/x"))'`)},
		"send to a name":      {nil, run(`perl -MSocket -e 'socket(S, 1, 2, 0); send(S, "word", 0, pack_sockaddr_un("/tmp/x"))'`)},
		"a socket given":      {nil, give(socket)},
		"a folder given":      {nil, give(folder)},
		"a terminal":          {nil, terminal},
		"PID":                 {nil, func(t *testing.T, sb *Sandbox) { sb.PID() }},
	})), "what a job has done")
	assert.Empty(t, after(together(map[string]job{
		"a bind":              {[]Option{WithBind(t.TempDir(), "/mnt", 0)}, quiet},
		"a read-only bind":    {[]Option{WithBind(t.TempDir(), "/mnt", ReadOnly)}, quiet},
		"a policy of its own": {[]Option{WithSeccomp(seccomp.Network())}, quiet},
		"the host's IPC":      {[]Option{WithHost(namespace.IPC)}, quiet},
		"a view":              {[]Option{WithProc(ViewFiles)}, quiet},
		"another id map":      {[]Option{WithIDMap(ids, ids)}, quiet},
		"a capability":        {[]Option{WithCapabilities("NET_RAW")}, quiet},
	})), "what a sandbox is")
	assert.NotEmpty(t, after(together(map[string]job{
		"nothing":        {nil, quiet},
		"a pipe given":   {nil, give(ours)},
		"a pair":         {nil, run(`perl -e 'socketpair(A, B, 1, 1, 0) or die; syswrite(A, "x")'; cat /proc/net/tcp >/dev/null`)},
		"no internet":    {[]Option{WithSeccomp(seccomp.Build())}, quiet},
		"files, a tmpfs": {[]Option{WithMemory("64m"), WithTmpfs("/more", "1m"), WithFile("/etc/more", nil, 0o644)}, quiet},
	})), "the control: these may")
}
