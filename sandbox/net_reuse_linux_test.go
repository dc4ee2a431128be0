package sandbox

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// needNoting skips where sockets cannot be noted. It returns what notingPlace does.
func needNoting(t *testing.T) (place string, alone bool) {
	t.Helper()
	needRoot(t)
	needKernel(t, 6, 7)
	if place, alone = notingPlace(); place == "" {
		skip(t, "sockets are noted by group: needs cgroup v2 to be mounted")
	}
	return place, alone
}

// What notes sockets is attached to no group but the zygote's own, and goes with it.
func TestNetworkReuseBothersNobody(t *testing.T) {
	place, _ := needNoting(t)
	stopZygote()
	before := attached(t, place)
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
	assert.Equal(t, before, attached(t, place), "the group above")

	// A sandbox's commands are there, however they were started, and nobody else is.
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
	there := func(sb *Sandbox) bool {
		cmd, finish := started(t, sb, "echo word; read word", Limits{})
		defer finish()
		return strings.Contains(where(cmd.PID()), name)
	}
	var sb *Sandbox
	eventually(t, "a sandbox in a namespace that was made since", func() bool {
		var err error
		sb, err = New()
		require.NoError(t, err)
		if there(sb) {
			return true
		}
		require.NoError(t, sb.Close())
		return false
	})
	for range 3 {
		assert.True(t, there(sb))
	}
	assert.NotContains(t, where(z.pid), name)
	assert.NotContains(t, where(os.Getpid()), name)
	require.NoError(t, sb.Close())
	stopZygote()
	assert.NoDirExists(t, groups[0])
	assert.Equal(t, before, attached(t, place))
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

// cookieOf is the kernel's number of a sandbox's network namespace, which no other has had or will have: inode numbers are given out again. The socket it takes is of AF_UNIX.
func cookieOf(t *testing.T, sb *Sandbox) (cookie uint64) {
	t.Helper()
	home, err := launch.Home("net")
	require.NoError(t, err)
	defer unix.Close(home)
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", sb.engine.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(ns)
	require.NoError(t, launch.Away(home, unix.CLONE_NEWNET, func() error {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return err
		}
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		cookie, err = unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	}))
	require.NotZero(t, cookie)
	return cookie
}

// A network namespace serves another sandbox only after one that can have left nothing in it. The control are the quiet ones, whose do.
func TestNetworkReuse(t *testing.T) {
	needNoting(t)
	ours, theirs, err := os.Pipe()
	require.NoError(t, err)
	defer closeFiles([]*os.File{ours, theirs})
	run := func(script string) func(*testing.T, *Sandbox) {
		return func(t *testing.T, sb *Sandbox) { sh(t, sb, script) }
	}
	quiet := run("true")
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
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	epoll := os.NewFile(uintptr(fd), "epoll")
	defer epoll.Close()

	type job struct {
		opts []Option
		deed func(*testing.T, *Sandbox)
	}
	// together has all of them stand at once, so that each has a namespace of its own, and then end, one list after the other; which, it returns.
	together := func(lists ...map[string]job) map[uint64]string {
		had := map[uint64]string{}
		var all []*Sandbox
		for _, jobs := range lists {
			for name, j := range jobs {
				sb, err := New(j.opts...)
				require.NoError(t, err, name)
				all = append(all, sb)
				had[cookieOf(t, sb)] = name
				j.deed(t, sb)
			}
		}
		assert.Len(t, had, len(all))
		for _, sb := range all {
			require.NoError(t, sb.Close())
		}
		return had
	}
	// after makes as many as are kept and ready, and tells which of what others had are used again.
	after := func(had map[uint64]string) (again []string) {
		var all []*Sandbox
		for range 12 {
			sb, err := New()
			require.NoError(t, err)
			all = append(all, sb)
			if name := had[cookieOf(t, sb)]; name != "" {
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
	not := map[string]job{ // for what the job has done
		"internet":            {nil, run(`perl -e 'socket(S, 2, 2, 0) or die'`)},
		"internet, listening": {nil, run(`perl -e 'socket(S, 2, 1, 0) and listen(S, 1) or die'`)},
		"connect":             {nil, run(`perl -MSocket -e 'socket(S, 1, 1, 0); connect(S, pack_sockaddr_un("/tmp/x"))'`)},
		"send to a name":      {nil, run(`perl -MSocket -e 'socket(S, 1, 2, 0); send(S, "word", 0, pack_sockaddr_un("/tmp/x"))'`)},
		"a socket given":      {nil, give(socket)},
		"a folder given":      {nil, give(folder)},
		"of no kind given":    {nil, give(epoll)},
		"a terminal":          {nil, terminal},
		"PID":                 {nil, func(t *testing.T, sb *Sandbox) { sb.PID() }},
		"its proc opened": {nil, func(t *testing.T, sb *Sandbox) {
			f, err := sb.FS().Open("proc/1/net/tcp")
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}},
		// For what the sandbox is.
		"a bind":              {[]Option{WithBind(t.TempDir(), "/mnt", 0)}, quiet},
		"a read-only bind":    {[]Option{WithBind(t.TempDir(), "/mnt", ReadOnly)}, quiet},
		"a policy of its own": {[]Option{WithSeccomp(seccomp.Network())}, quiet},
		"the host's IPC":      {[]Option{WithHost(namespace.IPC)}, quiet},
		"a view":              {[]Option{WithProc(ViewFiles)}, quiet},
		"another id map":      {[]Option{WithIDMap(ids, ids)}, quiet},
		"a capability":        {[]Option{WithCapabilities("NET_RAW")}, quiet},
	}
	may := map[string]job{
		"nothing":      {nil, quiet},
		"a pipe given": {nil, give(ours)},
		"a file written, and read": {nil, func(t *testing.T, sb *Sandbox) {
			require.NoError(t, sb.WriteFile("/tmp/file", []byte("word"), 0o600))
			_, err := fs.ReadFile(sb.FS(), "tmp/file")
			require.NoError(t, err)
		}},
		"a pair":         {nil, run(`perl -e 'socketpair(A, B, 1, 1, 0) or die; syswrite(A, "x")'; cat /proc/net/tcp >/dev/null`)},
		"no internet":    {[]Option{WithSeccomp(seccomp.Build())}, quiet},
		"files, a tmpfs": {[]Option{BestEffort(WithMemory("64m")), WithTmpfs("/more", "1m"), WithFile("/etc/more", nil, 0o644)}, quiet},
	}
	after(nil) // from the second sandbox on
	var again []string
	for end := time.Now().Add(patience); len(again) == 0 && time.Now().Before(end); { // on a busy machine it takes a while until sockets are noted
		again = after(together(not, may))
		assert.Subset(t, slices.Collect(maps.Keys(may)), again)
	}
	assert.NotEmpty(t, again)
}

// Whoever gives a spec another field has to say whether a sandbox with it may share its network namespace: in mayReuseNet if not, and here.
func TestNetworkReuseKnowsAllOptions(t *testing.T) {
	decides := "namespaces handlers caps host chroot parent upper volumes view ops policy uidMap gidMap" // asked by mayReuseNet, or by what gives setup.net and ids
	makesNoDifference := "name hostname offsets limits countIO run rlimits rootfsDir layers image scratch upperSize hosts resolvConf hidePID pidsOnly uid gid groups env dir landlock " +
		"explicit bestEffort asked values strict files fresh"
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[spec]()) {
		fields = append(fields, f.Name)
	}
	assert.ElementsMatch(t, strings.Fields(decides+" "+makesNoDifference), fields)
}

// A sandbox that ends as one of which nobody knows is handed nothing from then on by which that could become untrue.
func TestNetworkReuseNotWhileEnding(t *testing.T) {
	needRoot(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	socket := os.NewFile(uintptr(pair[0]), "socket")
	defer socket.Close()
	defer unix.Close(pair[1])
	give := func(sb *Sandbox) error {
		c := sb.Command("/bin/true")
		c.ExtraFiles = []*os.File{socket}
		_, err := c.Run(inTime(t))
		return err
	}
	sb := newBox(t)
	require.True(t, sb.engine.reuseNet)
	assert.True(t, sb.engine.unknown())
	assert.ErrorIs(t, give(sb), ErrClosed)
	_, err = sb.FS().Open("proc/1/net/tcp")
	assert.ErrorIs(t, err, ErrClosed)
	assert.Equal(t, "word", sh(t, sb, "echo -n word"))
	assert.True(t, sb.engine.unknown())

	control := newBox(t)
	assert.NoError(t, give(control))
	assert.False(t, control.engine.unknown())
}

// Whoever owns the group above may remove the one that is there for noting alone, or move its processes out first. Nobody is denied a sandbox or a command for that.
func TestNetworkReuseWithoutGroup(t *testing.T) {
	own, alone := needNoting(t)
	if !alone {
		t.Skip("here it is the sandboxes' own group, without which there are none")
	}
	stopZygote()
	t.Cleanup(stopZygote) // the next one has a group again
	newBox(t)
	z, err := currentZygote()
	require.NoError(t, err)
	var inGroup *Sandbox
	var group string
	eventually(t, "a sandbox in the group", func() (there bool) {
		sb, err := New()
		require.NoError(t, err)
		groups := notingGroups(z.pid)
		if len(groups) == 1 {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", sb.PID()))
			require.NoError(t, err)
			there = strings.Contains(string(text), filepath.Base(groups[0]))
		}
		if !there {
			require.NoError(t, sb.Close())
			return false
		}
		group, inGroup = groups[0], sb
		return true
	})
	t.Cleanup(func() { require.NoError(t, inGroup.Close()) })
	for range 3 {
		sh(t, inGroup, "true") // what is ready for the next one is in the group, too
	}
	assert.ErrorIs(t, unix.Rmdir(group), unix.EBUSY, "the control: somebody is there")
	eventually(t, "all have been moved out", func() bool {
		for _, pid := range pidsOf(t, group) {
			_ = os.WriteFile(own+"/cgroup.procs", []byte(pid), 0)
		}
		return unix.Rmdir(group) == nil
	})
	for range 4 {
		assert.Equal(t, "word", sh(t, inGroup, "echo -n word"))
	}
	var all []*Sandbox
	for range 3 {
		sb, err := New()
		require.NoError(t, err)
		all = append(all, sb)
		for range 3 {
			assert.Equal(t, "word", sh(t, sb, "echo -n word"))
		}
		c, finish := started(t, sb, "echo word; read word", Limits{})
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.PID()))
		require.NoError(t, err)
		assert.NotContains(t, string(text), filepath.Base(group))
		finish()
	}
	for _, sb := range all {
		require.NoError(t, sb.Close())
	}
}

func pidsOf(t *testing.T, group string) []string {
	t.Helper()
	text, err := os.ReadFile(group + "/cgroup.procs")
	require.NoError(t, err)
	return strings.Fields(string(text))
}
