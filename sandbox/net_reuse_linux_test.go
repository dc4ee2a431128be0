package sandbox

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// cookieScript prints the kernel's number of the network namespace, which no other has had or will have: inode numbers are given out again. The socket it takes is of AF_UNIX.
var cookieScript = fmt.Sprintf(`perl -e 'socket(S, 1, 1, 0); $b = "\0" x 8; $n = pack("L", 8); syscall(%d, fileno(S), 1, %d, $b, $n) == 0 and print unpack("Q", $b)'`, unix.SYS_GETSOCKOPT, unix.SO_NETNS_COOKIE)

// A network namespace serves another sandbox only after one that can have left nothing in it. The control are the quiet ones, whose do.
func TestNetworkReuse(t *testing.T) {
	if os.Geteuid() != 0 {
		skip(t, "network namespaces made ahead: needs root")
	}
	needKernel(t, 6, 7)
	if h, err := cgroup.Detect(); err != nil {
		t.Fatal(err)
	} else if _, ok := h.Unified(); !ok {
		skip(t, "sockets are noted by group: needs cgroup v2 to be mounted")
	}
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
