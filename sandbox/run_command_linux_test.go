package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCommandPasses(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithEnv("FROM=option"))
	c := sb.Command("/bin/sh", "-c", `read line; echo "$line $0 $1 $FROM"; echo err >&2; exit 7`, "zero", "one")
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader("input\n"), &stdout, &stderr
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "input zero one option\n", stdout.String())
	assert.Equal(t, "err\n", stderr.String())
	assert.Equal(t, NonZeroExit, res.Verdict)
	assert.Equal(t, 7, res.ExitCode)
	assert.Zero(t, res.Signal)
	assert.Positive(t, res.Usage.Wall)
}

// What a command that cannot be executed ends with is what os/exec would say, and never an exit code.
func TestCommandNotExecutable(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for _, f := range []struct {
		name, data string
		mode       fs.FileMode
	}{{"plain", "#!/bin/sh\n", 0o644}, {"noise", "\x00\x01\x02", 0o755}, {"noscript", "echo hi\n", 0o755}, {"lost", "#!/no/such\n", 0o755}, {"empty", "", 0o755}, {"rec", "#!/box/rec\n", 0o755}} {
		require.NoError(t, sb.WriteFile("/box/"+f.name, []byte(f.data), f.mode))
	}
	for _, c := range []struct {
		path string
		want error
	}{
		{"/no/such", syscall.ENOENT},
		{"nosuchprogram", syscall.ENOENT},
		{"./relative", syscall.ENOENT},
		{"/box", syscall.EACCES},
		{"/box/plain", syscall.EACCES},
		{"/box/noise", syscall.ENOEXEC},
		{"/box/noscript", syscall.ENOEXEC},
		{"/box/empty", syscall.ENOEXEC},
		{"/box/lost", syscall.ENOENT},
		{"/box/rec", syscall.ELOOP},
		{"/box/plain/x", syscall.ENOTDIR},
		{"/" + strings.Repeat("x", 300), syscall.ENAMETOOLONG},
		{strings.Repeat("/x", 3000), syscall.ENAMETOOLONG},
	} {
		t.Run(c.path[:min(len(c.path), 20)], func(t *testing.T) {
			res, err := sb.Run(inTime(t), c.path)
			require.ErrorIs(t, err, c.want)
			assert.Nil(t, res)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "exec", e.Stage)
			assert.Equal(t, c.path, e.Path)
		})
	}
	assert.ErrorIs(t, mustErr(sb.Run(inTime(t), "/no/such")), fs.ErrNotExist)
	assert.ErrorIs(t, mustErr(sb.Run(inTime(t), "/box/plain")), ErrPermission)
	assert.Equal(t, "ok", sh(t, sb, "echo ok"), "the sandbox is still usable")
}

func mustErr(_ *Result, err error) error { return err }

func TestCommandLooksUpInThePathItGets(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	require.NoError(t, sb.WriteFile("/box/tool", []byte("#!/bin/sh\necho own\n"), 0o755))
	require.NoError(t, sb.WriteFile("/tmp/tool", []byte("no"), 0o644))
	run := func(env ...string) (string, error) {
		c := sb.Command("tool")
		c.Env = env
		out, err := c.Output(inTime(t))
		return string(out), err
	}
	out, err := run("PATH=/no:/tmp:/box")
	require.NoError(t, err)
	assert.Equal(t, "own\n", out)
	_, err = run("PATH=/tmp:/no")
	assert.ErrorIs(t, err, syscall.EACCES, "found, but not executable, as execvp(3) says")
	for _, path := range []string{"PATH=.:", "PATH=", "X=/box"} {
		_, err = run(path)
		assert.ErrorIs(t, err, syscall.ENOENT, "the working directory is no place to look: "+path)
	}
}

func TestCommandDir(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	assert.Equal(t, "/box", sh(t, sb, "pwd"))
	c := sb.Command("/bin/pwd")
	c.Dir = "/tmp"
	out, err := c.Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "/tmp\n", string(out))
	for dir, want := range map[string]error{"/no": syscall.ENOENT, "/etc/passwd": syscall.ENOTDIR, "no/such": ErrInvalid} {
		c := sb.Command("/bin/pwd")
		c.Dir = dir
		_, err := c.Run(inTime(t))
		assert.ErrorIs(t, err, want, dir)
		assert.ErrorContains(t, err, dir)
	}
	assert.Equal(t, "/usr", sh(t, standing(t, WithDir("/usr")), "pwd"))
}

// The host program's environment holds what is nobody's business inside.
func TestCommandEnv(t *testing.T) {
	t.Setenv("BELLJAR_TEST_SECRET", "of the host")
	sb := standing(t, WithEnv("A=1"))
	out, err := sb.Command("/usr/bin/env").Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, []string{"A=1", defaultPath}, strings.Fields(string(out)))
	c := sb.Command("/usr/bin/env")
	c.Env = []string{}
	out, err = c.Output(inTime(t))
	require.NoError(t, err)
	assert.Empty(t, string(out))
}

func TestCommandPipes(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	c := sb.Command("/bin/sh", "-c", "cat; echo done >&2")
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	errs, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(inTime(t)))
	_, err = io.WriteString(in, "through\n")
	require.NoError(t, err)
	require.NoError(t, in.Close())
	got, err := io.ReadAll(out)
	require.NoError(t, err)
	assert.Equal(t, "through\n", string(got))
	got, err = io.ReadAll(errs)
	require.NoError(t, err)
	assert.Equal(t, "done\n", string(got))
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict)
	_, err = out.Read(make([]byte, 1))
	assert.ErrorIs(t, err, os.ErrClosed)
	for _, f := range []func() error{
		func() error { _, err := c.StdinPipe(); return err },
		func() error { _, err := c.StdoutPipe(); return err },
		func() error { _, err := c.Wait(); return err },
		func() error { return c.Start(inTime(t)) },
	} {
		assert.Error(t, f(), "a command is used once")
	}
}

func TestCommandExtraFiles(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("of the host"), 0o644))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	c := sb.Command("/bin/sh", "-c", "cat <&4; cat <&3")
	c.ExtraFiles = []*os.File{nil, f}
	out, err := c.CombinedOutput(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "of the host", string(out))
	_, err = f.Stat()
	assert.NoError(t, err, "it stays the caller's")

	c = sb.Command("/bin/true")
	c.ExtraFiles = make([]*os.File, 300)
	_, err = c.Run(inTime(t))
	assert.ErrorIs(t, err, syscall.E2BIG)
}

func TestCommandFilesAreThePrograms(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	c := sb.Command("/bin/sh", "-c", "echo a; echo b >&2")
	c.Stdout, c.Stderr = f, f
	_, err = c.Run(inTime(t))
	require.NoError(t, err)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "a\nb\n", string(b))
}

func TestCommandWriterFails(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	c := sb.Command("/bin/echo", "hi")
	c.Stdout = badWriter{}
	res, err := c.Run(inTime(t))
	assert.ErrorIs(t, err, errBad)
	assert.NotNil(t, res)
	// A program that goes on writing gets SIGPIPE instead of filling a pipe that nobody reads.
	c = sb.Command("/usr/bin/yes")
	c.Stdout = badWriter{}
	res, err = c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, syscall.SIGPIPE, res.Signal)
}

var errBad = errors.New("writer is broken")

type badWriter struct{}

func (badWriter) Write([]byte) (int, error) { return 0, errBad }

func TestCommandIgnoresItsInput(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	c := sb.Command("/bin/true")
	r, w := io.Pipe()
	defer w.Close()
	c.Stdin = r // never ends
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict)
	c = sb.Command("/bin/true")
	c.Stdin = bytes.NewReader(make([]byte, 4<<20)) // more than a pipe takes
	res, err = c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict)
}

func TestCommandSignal(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	c := sb.Command("/bin/sh", "-c", `trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.01; done`)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	assert.ErrorIs(t, c.Signal(syscall.SIGUSR1), os.ErrProcessDone)
	require.NoError(t, c.Start(inTime(t)))
	ready := make([]byte, 6)
	_, err = io.ReadFull(out, ready)
	require.NoError(t, err)
	assert.NoError(t, syscall.Kill(c.PID(), 0), "PID is a process of the host")
	require.NoError(t, c.Signal(syscall.SIGUSR1))
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	assert.Equal(t, "got\n", string(rest))
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, 3, res.ExitCode)
	assert.ErrorIs(t, c.Signal(syscall.SIGUSR1), os.ErrProcessDone)
	assert.ErrorIs(t, c.Kill(), os.ErrProcessDone)
}

func TestCommandWithoutSandboxOrContext(t *testing.T) {
	t.Parallel()
	assert.ErrorIs(t, (&Cmd{Path: "/bin/true"}).Start(context.Background()), ErrInvalid)
	sb := standing(t)
	var none context.Context
	assert.ErrorIs(t, sb.Command("/bin/true").Start(none), ErrInvalid)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	assert.ErrorIs(t, sb.Command("/bin/true").Start(done), context.Canceled)
	for _, c := range []*Cmd{sb.Command(""), sb.Command("/bin/true\x00x"), sb.Command("/bin/true", "a\x00b")} {
		assert.ErrorIs(t, c.Start(context.Background()), ErrInvalid)
	}
	_, err := sb.Command("/bin/true").Wait()
	assert.ErrorContains(t, err, "not been started")
}

func TestRunOfPackage(t *testing.T) {
	t.Parallel()
	res, err := Run(inTime(t), []string{"/bin/sh", "-c", "exit 4"}, WithWallTime(time.Minute))
	require.NoError(t, err)
	assert.Equal(t, 4, res.ExitCode)
	_, err = Run(inTime(t), nil)
	assert.ErrorIs(t, err, ErrInvalid)
}

// What a command sets on the empty input it is given, others do not see: it is opened for each.
func TestCommandNullIsItsOwn(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	const flags = `sed -n 's/^flags:\s*//p' /proc/self/fdinfo/0`
	before := sh(t, sb, flags)
	after := sh(t, sb, `perl -MFcntl -e 'fcntl(STDIN, F_SETFL, O_NONBLOCK|O_APPEND) or die $!'; `+flags)
	assert.NotEqual(t, before, after, "control: it is set")
	assert.Equal(t, before, sh(t, sb, flags))
	assert.Equal(t, "readable writable", sh(t, sb, "cat < /dev/stdin && echo -n 'readable ' && : > /proc/self/fd/0 && echo writable"))
}
