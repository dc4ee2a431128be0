package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The test binary attacks from inside: standing with asVictim has it at /victim, and play runs one of its parts there. The same part
// run by outside is the control: what it achieves there is what the sandbox prevents.
const victimPath = "/victim"

// patience bounds what waits for something to happen. Emulated machines are slow, and what they run on may have other things to do; a test that passes never waits for it.
const patience = 4 * time.Minute

// inTime gives a context that ends what hangs.
func inTime(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// standing makes a sandbox for the length of the test.
func standing(t testing.TB, opts ...Option) *Sandbox {
	t.Helper()
	sb, err := New(opts...)
	needsHost(t, err)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close()) })
	return sb
}

// needsHost skips where this host has nothing to enforce a limit with, or ids cannot be had.
func needsHost(t testing.TB, err error) {
	t.Helper()
	var e *Error
	if os.Geteuid() == 0 || !errors.As(err, &e) {
		return
	}
	switch {
	case e.Stage == "cgroup":
		skip(t, "needs cgroup delegation")
	case e.Stage == "id map":
		skip(t, "needs subordinate ids")
	}
}

// grouped skips where commands have no cgroup.
func grouped(t testing.TB, sb *Sandbox) *Sandbox {
	t.Helper()
	if _, err := sb.Stats(); errors.Is(err, ErrUnsupported) {
		if os.Geteuid() == 0 {
			t.Fatalf("root has no cgroup here: %v", sb.Report().Notes)
		}
		skip(t, "needs cgroup delegation")
	}
	return sb
}

// asVictim makes the test binary part of a sandbox.
func asVictim(t testing.TB) Option {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return WithBind(exe, victimPath, ReadOnly)
}

// sh runs a shell command that must succeed and returns what it printed.
func sh(t testing.TB, sb *Sandbox, script string) string {
	t.Helper()
	out, err := sb.Command("/bin/sh", "-c", script).CombinedOutput(inTime(t))
	require.NoErrorf(t, err, "%s\n%s", script, out)
	return strings.TrimSpace(string(out))
}

// try runs a shell command that may end as it likes.
func try(t testing.TB, sb *Sandbox, script string) (string, *Result) {
	t.Helper()
	var b bytes.Buffer
	c := sb.Command("/bin/sh", "-c", script)
	c.Stdout, c.Stderr, c.Limits.Output = &b, &b, 16<<20
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	return strings.TrimSpace(b.String()), res
}

// play runs a part of the test binary inside and returns what it printed.
func play(t testing.TB, sb *Sandbox, part string, args ...string) string {
	t.Helper()
	c := sb.Command(victimPath)
	c.Env = []string{partEnv + "=" + strings.Join(append([]string{part}, args...), " ")}
	out, err := c.CombinedOutput(inTime(t))
	require.NoErrorf(t, err, "%s: %s", part, out)
	return strings.TrimSpace(string(out))
}

// outside runs a part without any sandbox.
func outside(t testing.TB, part string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(inTime(t), "/proc/self/exe")
	c.Env = []string{partEnv + "=" + strings.Join(append([]string{part}, args...), " ")}
	out, err := c.CombinedOutput()
	require.NoErrorf(t, err, "%s: %s", part, out)
	return strings.TrimSpace(string(out))
}

// values parses "name=value" lines.
func values(out string) map[string]string {
	m := map[string]string{}
	for _, l := range strings.Split(out, "\n") {
		if k, v, ok := strings.Cut(l, "="); ok {
			m[k] = v
		}
	}
	return m
}

// notExercised skips a case whose control shows nothing on this machine.
func notExercised(t testing.TB, format string, args ...any) {
	t.Helper()
	skip(t, "not exercised: "+fmt.Sprintf(format, args...))
}

// openPolicy is a filter that lets everything through, for controls.
func openPolicy() Option {
	return WithSeccomp(seccomp.Policy{Default: seccomp.Allow, Unknown: seccomp.Allow}.Allow("read"))
}

// everyCapability is all power over the sandbox's own namespaces, for controls.
func everyCapability() Option { return WithCapabilities(capabilities...) }

// unguarded is the options of a sandbox whose walls are only its namespaces.
func unguarded() []Option {
	return []Option{WithCredential(0, 0), everyCapability(), openPolicy()}
}

// tinyRoot makes a root for WithRootfs that shows the host's programs. change may prepare more of it.
func tinyRoot(t testing.TB, change ...func(dir string)) (string, []Option) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, d := range []string{"usr", "proc", "dev", "tmp", "box", "etc"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	var opts []Option
	for _, d := range []string{"bin", "lib", "lib32", "lib64", "sbin"} {
		to, err := os.Readlink("/" + d)
		switch {
		case err == nil:
			require.NoError(t, os.Symlink(to, filepath.Join(dir, d)))
		case !os.IsNotExist(err):
			require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
			opts = append(opts, WithBind("/"+d, "/"+d, ReadOnly))
		}
	}
	for _, f := range change {
		f(dir)
	}
	return dir, append(opts, WithRootfs(dir), WithBind("/usr", "/usr", ReadOnly))
}

// errnoName names what a system call returned: "ok" or the errno's symbol.
func errnoName(err error) string {
	var e syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e) && e == 0:
		return "ok"
	case errors.As(err, &e):
		return unix.ErrnoName(e)
	}
	return err.Error()
}

// needsTool skips what needs a program of the host.
func needsTool(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		skip(t, "needs "+path)
	}
}
