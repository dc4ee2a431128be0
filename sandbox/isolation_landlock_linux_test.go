package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/belljar-go/belljar/namespace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// needLandlock skips what a kernel without it, or with less of it, cannot show.
func needLandlock(t testing.TB, abi int) {
	t.Helper()
	kernel := map[int][2]int{2: {5, 19}, 6: {6, 12}}[abi]
	needKernel(t, kernel[0], kernel[1])
	have, err := landlockABI()
	if err != nil || have < abi {
		skip(t, fmt.Sprintf("needs Landlock: version %d, %v", have, err))
	}
}

func init() {
	// reach takes a directory from its descriptor 3, a socket, and tries what can be done with it.
	parts["reach"] = func([]string) {
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), oob, 0)
		messages, _ := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(messages) != 1 {
			fmt.Println("no descriptor", err)
			return
		}
		fds, _ := unix.ParseUnixRights(&messages[0])
		dir := fds[0]
		for name, flags := range map[string]int{"secret": unix.O_RDONLY, "open": unix.O_WRONLY, "new": unix.O_CREAT | unix.O_WRONLY, ".": unix.O_RDONLY} {
			_, err := unix.Openat(dir, name, flags, 0o666)
			fmt.Printf("%s=%s\n", name, errnoName(err))
		}
		fmt.Printf("unlink=%s\n", errnoName(unix.Unlinkat(dir, "gone", 0)))
		fmt.Printf("truncate=%s\n", errnoName(unix.Truncate(fmt.Sprintf("/proc/self/fd/%d/open", dir), 0)))
		fmt.Printf("exec=%s\n", errnoName(unix.Exec(fmt.Sprintf("/proc/self/fd/%d/program", dir), []string{"program"}, nil)))
	}
	// files does what programs do in a root, and prints what fails.
	parts["files"] = func([]string) {
		for name, f := range ordinary {
			fmt.Printf("%s=%s\n", name, errnoName(f()))
		}
	}
}

// ordinary is what Landlock must not break, by the right that it takes.
var ordinary = map[string]func() error{
	"rename across directories": func() error {
		return firstError(os.MkdirAll("/tmp/a/b", 0o755), os.Mkdir("/tmp/c", 0o755), os.WriteFile("/tmp/a/b/f", nil, 0o644),
			os.Rename("/tmp/a/b/f", "/tmp/c/g"), os.Link("/tmp/c/g", "/tmp/a/h"), os.Rename("/tmp/a/b", "/tmp/c/b"))
	},
	"remove": func() error { return firstError(os.MkdirAll("/box/x/y", 0o755), os.RemoveAll("/box/x")) },
	"truncate": func() error {
		return firstError(os.WriteFile("/box/t", []byte("abc"), 0o644), os.Truncate("/box/t", 1))
	},
	"symlink": func() error { return os.Symlink("x", "/tmp/link") },
	"fifo":    func() error { return unix.Mkfifo("/tmp/fifo", 0o600) },
	"temporary": func() error {
		fd, err := unix.Open("/tmp", unix.O_TMPFILE|unix.O_RDWR, 0o600)
		return firstError(err, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, "/tmp/linked", unix.AT_SYMLINK_FOLLOW))
	},
	"socket": func() error {
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		c, err2 := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		at := &unix.SockaddrUnix{Name: "/tmp/socket"}
		return firstError(err, err2, unix.Bind(s, at), unix.Listen(s, 1), unix.Connect(c, at))
	},
	"shm":  func() error { return os.WriteFile("/dev/shm/x", []byte("x"), 0o600) },
	"null": func() error { return os.WriteFile("/dev/null", []byte("x"), 0) },
	"write proc": func() error {
		return os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o644)
	},
	"message queue": func() error {
		_, err := mqueue(unix.SYS_MQ_OPEN, "belljar", unix.O_CREAT|unix.O_RDWR, 0o600)
		return err
	},
	"memfd by name": func() error {
		fd, err := unix.MemfdCreate("x", 0)
		_, err2 := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
		return firstError(err, err2)
	},
	"pipe by name": func() error {
		var p [2]int
		err := unix.Pipe(p[:])
		_, err2 := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", p[1]), os.O_WRONLY, 0)
		return firstError(err, err2)
	},
	"terminal": func() error {
		fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
		return firstError(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	},
	"execute": func() error { return exec.Command("/bin/true").Run() },
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestLandlockLetsProgramsWork(t *testing.T) {
	t.Parallel()
	needLandlock(t, 2)
	_, root := tinyRoot(t)
	for name, opts := range map[string][]Option{
		"default": {WithLandlock()},
		"rootfs":  append([]Option{WithLandlock(), WithTmpfs("/tmp", "1m"), WithTmpfs("/box", "1m")}, root...),
	} {
		sb := standing(t, append(opts, asVictim(t))...)
		for what, got := range values(play(t, sb, "files")) {
			assert.Equal(t, "ok", got, "%s: %s", name, what)
		}
		assert.Contains(t, sb.Report().String(), "enforced: landlock: version ")
		assert.Len(t, values(play(t, sb, "fds")), 3, "the ruleset is gone with the exec")
	}
}

// A directory of the host that somehow gets into the sandbox is of no use there: the control is the same without Landlock.
func TestLandlockIsASecondWall(t *testing.T) {
	t.Parallel()
	needLandlock(t, 2)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	reach := func(opt Option) map[string]string {
		for name, mode := range map[string]os.FileMode{"secret": 0o644, "open": 0o666, "gone": 0o666, "program": 0o777} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), mode))
			require.NoError(t, os.Chmod(filepath.Join(dir, name), mode))
		}
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "new")))
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
		defer ours.Close()
		defer theirs.Close()
		d, err := os.Open(dir)
		require.NoError(t, err)
		defer d.Close()
		require.NoError(t, unix.Sendmsg(fds[0], []byte("x"), unix.UnixRights(int(d.Fd())), nil, 0))
		c := standing(t, asVictim(t), opt).Command(victimPath)
		c.Env, c.ExtraFiles = []string{partEnv + "=reach"}, []*os.File{theirs}
		out, err := c.CombinedOutput(inTime(t))
		require.NoError(t, err, string(out))
		return values(string(out))
	}
	control := reach(WithoutLandlock())
	for _, what := range []string{"secret", "open", ".", "truncate"} {
		assert.Equal(t, "ok", control[what], "control: %s", what)
	}
	assert.Equal(t, "ENOEXEC", control["exec"], "control")
	for what, got := range reach(WithLandlock()) {
		if what == "truncate" && !kernelAtLeast(6, 2) {
			continue // Landlock did not know of it
		}
		assert.Equal(t, "EACCES", got, what)
	}
}

// A FIFO can be written to although its mount is read-only; what Landlock says of a place holds for whatever is there.
func TestLandlockClosesFIFOs(t *testing.T) {
	t.Parallel()
	needLandlock(t, 2)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
	require.NoError(t, os.Chmod(filepath.Join(dir, "fifo"), 0o666))
	reader, err := os.OpenFile(filepath.Join(dir, "fifo"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer reader.Close()
	script := "echo hello > /in/fifo"
	_, res := try(t, standing(t, WithBind(dir, "/in", ReadOnly), WithoutLandlock()), script)
	assert.Equal(t, OK, res.Verdict, "control")
	out, res := try(t, standing(t, WithBind(dir, "/in", ReadOnly)), script)
	assert.Equal(t, NonZeroExit, res.Verdict, out)
	assert.Contains(t, out, "ermission denied")
	_, res = try(t, standing(t, WithBind(dir, "/in")), script)
	assert.Equal(t, OK, res.Verdict, "in a writable bind it may be written to")
}

// What is handed over can be opened again by a name for the descriptor, as it was opened.
func TestLandlockAndFilesHandedOver(t *testing.T) {
	t.Parallel()
	needLandlock(t, 2)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	open := func(name string, flags int) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), flags|os.O_CREATE, 0o666)
		require.NoError(t, err)
		require.NoError(t, f.Chmod(0o666))
		t.Cleanup(func() { f.Close() })
		return f
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in"), []byte("input\n"), 0o666))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o777))
	require.NoError(t, os.Chmod(filepath.Join(dir, "sub"), 0o777))
	sub, err := os.Open(filepath.Join(dir, "sub"))
	require.NoError(t, err)
	defer sub.Close()
	run := func(sb *Sandbox, in *os.File, script string) (string, *Result) {
		out := open("out", os.O_WRONLY|os.O_TRUNC|os.O_APPEND)
		c := sb.Command("/bin/sh", "-c", script)
		c.Stdin, c.Stdout, c.ExtraFiles = in, out, []*os.File{sub}
		res, err := c.Run(inTime(t))
		require.NoError(t, err)
		text, err := os.ReadFile(out.Name())
		require.NoError(t, err)
		return string(text), res
	}
	sb := standing(t, WithLandlock())
	text, res := run(sb, open("in", os.O_RDONLY), "cat /dev/stdin >> /dev/stdout && echo below > /proc/self/fd/3/f && ls /proc/self/fd/3/ && mv /proc/self/fd/3/f /proc/self/fd/3/g")
	assert.Equal(t, OK, res.Verdict)
	assert.Equal(t, "input\nf\n", text)
	_, res = run(sb, open("in", os.O_RDONLY), "echo more >> /dev/stdin")
	assert.NotEqual(t, OK, res.Verdict, "what was opened for reading is for reading")
	_, res = run(standing(t, WithoutLandlock()), open("in", os.O_RDONLY), "echo more >> /dev/stdin")
	assert.Equal(t, OK, res.Verdict, "control")

	// A descriptor of the sandbox's own root, got by FS, is under its rules like the path.
	c := sb.Command("/bin/sh", "-c", "echo x > /box/made; cat /box/made")
	c.TTY = &WindowSize{Rows: 24, Cols: 80}
	out, err := c.Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "x", strings.TrimSpace(string(out)))
}

// In the host's PID namespace, with an id of the host's, a job could signal whatever runs with that id.
func TestLandlockScopesSignals(t *testing.T) {
	t.Parallel()
	needLandlock(t, 6)
	victim := exec.Command("/bin/sleep", "1000")
	opts := []Option{WithHost(namespace.PID)}
	if os.Geteuid() == 0 {
		opts = []Option{WithHost(namespace.PID, namespace.User), WithCredential(65533, 65533)}
		victim.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65533, Gid: 65533}}
	}
	require.NoError(t, victim.Start())
	defer victim.Wait()
	defer victim.Process.Kill()
	script := "kill -0 " + strconv.Itoa(victim.Process.Pid)
	run := func(opt Option, script string) *Result {
		sb, err := New(append(opts, opt)...)
		if os.Geteuid() != 0 && errors.Is(err, ErrUnsupported) {
			skip(t, "needs cgroup delegation") // without a PID namespace of its own nothing else ends a job
		}
		require.NoError(t, err)
		defer sb.Close()
		_, res := try(t, sb, script)
		return res
	}
	if run(WithoutLandlock(), script).Verdict != OK {
		notExercised(t, "ids of the sandbox are none of the host's")
	}
	assert.Equal(t, NonZeroExit, run(WithLandlock(), script).Verdict)
	assert.Equal(t, OK, run(WithLandlock(), "sleep 100 & kill -0 $! && kill $! && kill -0 $$").Verdict, "its own")
}

// With the host's network its abstract sockets are in reach, which have no owner and no mode; what listens on one of a command's own is not cut off.
func TestLandlockScopesAbstractSockets(t *testing.T) {
	t.Parallel()
	needLandlock(t, 6)
	abstract := fmt.Sprintf("@belljar-landlock-%d", os.Getpid())
	socket, err := net.Listen("unix", abstract)
	require.NoError(t, err)
	defer socket.Close()
	run := func(opts ...Option) (*Sandbox, string) {
		sb := standing(t, append(opts, asVictim(t), WithHost(namespace.Net))...)
		return sb, values(play(t, sb, "connect", abstract))[abstract]
	}
	_, open := run(WithoutLandlock())
	assert.Equal(t, "ok", open, "control")
	sb, closed := run()
	assert.Equal(t, "EPERM", closed)
	assert.Contains(t, sb.Report().String(), "abstract sockets only within a command")
	out, res := try(t, sb, `perl -MSocket -e '
		socket(A, AF_UNIX, SOCK_STREAM, 0); my $n = pack("Sa*", AF_UNIX, "\0belljar-own-$$"); bind(A, $n) or die "bind $!"; listen(A, 1) or die;
		socket(B, AF_UNIX, SOCK_STREAM, 0); connect(B, $n) or die "connect $!"'`)
	assert.Equal(t, OK, res.Verdict, out)
}

func TestLandlockAndMounts(t *testing.T) {
	t.Parallel()
	needLandlock(t, 2)
	const script = "mount -t tmpfs none /tmp"
	sb := standing(t, unguarded()...)
	assert.Contains(t, sb.Report().String(), "note: landlock: left out")
	_, res := try(t, sb, script)
	assert.Equal(t, OK, res.Verdict, "control")
	_, res = try(t, standing(t, append(unguarded(), WithLandlock())...), script)
	assert.NotEqual(t, OK, res.Verdict)
}

func TestLandlockIsAnOption(t *testing.T) {
	f := rootFacts()
	decide := func(opts ...Option) (*landlock, string, error) {
		s, err := newSpec(opts)
		require.NoError(t, err)
		ops, err := s.rootOps(f.root)
		require.NoError(t, err)
		return planLandlock(s, f, ops, handSources(s, f, ops))
	}
	l, why, err := decide()
	require.NoError(t, err)
	assert.Empty(t, why)
	assert.Equal(t, 7, l.abi)
	l, why, err = decide(WithoutLandlock())
	assert.NoError(t, err)
	assert.Nil(t, l)
	assert.Empty(t, why)
	for _, lack := range []struct {
		abi int
		err error
	}{{0, errLandlockOff}, {0, fmt.Errorf("landlock_create_ruleset: %w", unix.ENOSYS)}, {1, nil}} {
		f.landlock, f.landlockErr = lack.abi, lack.err
		l, why, err = decide()
		assert.NoError(t, err)
		assert.Nil(t, l)
		assert.NotEmpty(t, why)
		l, why, err = decide(BestEffort(WithLandlock()))
		assert.NoError(t, err)
		assert.Nil(t, l)
		assert.NotEmpty(t, why)
		_, _, err = decide(WithLandlock())
		assert.ErrorIs(t, err, ErrUnsupported)
	}
	_, err = newSpec([]Option{WithLandlock(), WithoutLandlock()})
	assert.ErrorIs(t, err, ErrInvalid)
	_, err = newSpec([]Option{WithLandlock(), WithHost(namespace.Mount)})
	assert.ErrorIs(t, err, ErrInvalid)
}
