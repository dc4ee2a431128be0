package sandbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOutputLimit(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithOutput("1000"))
	run := func(script string) (stdout, stderr string, res *Result) {
		var o, e bytes.Buffer
		c := sb.Command("/bin/sh", "-c", script)
		c.Stdout, c.Stderr = &o, &e
		res, err := c.Run(inTime(t))
		require.NoError(t, err)
		return o.String(), e.String(), res
	}
	out, _, res := run("head -c 1000 /dev/zero | tr '\\0' x")
	assert.Equal(t, []any{OK, false, 1000}, []any{res.Verdict, res.Truncated, len(out)}, "exactly the limit")
	out, _, res = run("head -c 1001 /dev/zero | tr '\\0' x; sleep 1000")
	assert.Equal(t, []any{OutputExceeded, true, 1000}, []any{res.Verdict, res.Truncated, len(out)}, "one more ends it")
	out, errs, res := run("head -c 600 /dev/zero; head -c 600 /dev/zero >&2; sleep 1000")
	assert.Equal(t, []any{OutputExceeded, true, 1000}, []any{res.Verdict, res.Truncated, len(out) + len(errs)}, "both streams share it")
	_, _, res = run("head -c 600 /dev/zero; head -c 300 /dev/zero >&2")
	assert.Equal(t, OK, res.Verdict)
	_, _, res = run("trap '' PIPE TERM; (setsid yes &) ; yes >&2")
	assert.Equal(t, OutputExceeded, res.Verdict, "a flood from a process in hiding")
	res, err := sb.Run(inTime(t), "/usr/bin/yes")
	require.NoError(t, err)
	assert.Equal(t, OutputExceeded, res.Verdict, "discarded output counts")
	c := sb.Command("/usr/bin/yes")
	c.Stdout = os.Stdout
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); assert.NoError(t, err) {
		defer null.Close()
		c.Stdout = null
	}
	res, err = c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, OutputExceeded, res.Verdict, "also that which goes to a file")
	c = standing(t).Command("/bin/sh", "-c", "head -c 5000 /dev/zero; exit 0")
	c.Limits.Output = 100
	b, err := c.Output(inTime(t))
	var exit *ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, OutputExceeded, exit.Verdict)
	assert.Len(t, b, 100, "a command's own limit")
}

// slowly reads a stream like a network that is congested.
type slowly struct{ n atomic.Int64 }

func (s *slowly) Write(b []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	s.n.Add(int64(len(b)))
	return len(b), nil
}

// However much a program floods and however slowly it is read, neither memory fills nor does the end wait.
func TestOutputFloodWithSlowReader(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithOutput("64m"), WithWallTime(300*time.Millisecond))
	var o, e slowly
	c := standing(t, WithOutput("64m")).Command("/bin/sh", "-c", "yes & yes >&2")
	c.Stdout, c.Stderr = &o, &e
	require.NoError(t, c.Start(inTime(t)))
	eventually(t, "both streams flow", func() bool { return o.n.Load() > 0 && e.n.Load() > 0 })
	require.NoError(t, c.Kill())
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, res.Verdict)
	assert.Less(t, o.n.Load()+e.n.Load(), int64(64<<20))
	// The pipe of a limited command ends at the limit.
	c = standing(t, WithOutput("100")).Command("/usr/bin/yes")
	r, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = c.Stdout
	require.NoError(t, c.Start(inTime(t)))
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Len(t, got, 100)
	res, err = c.Wait()
	require.NoError(t, err)
	assert.Equal(t, OutputExceeded, res.Verdict)
	// A reader of a pipe that does not read at all does not keep the command from ending.
	c = sb.Command("/usr/bin/yes")
	_, err = c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(inTime(t)))
	res, err = c.Wait()
	require.NoError(t, err)
	assert.Equal(t, WallTimeExceeded, res.Verdict)
	// Nor does one that is forgotten keep the sandbox from being closed.
	forgotten, err := New(WithOutput("1m"))
	require.NoError(t, err)
	c = forgotten.Command("/usr/bin/yes")
	_, err = c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(inTime(t)))
	require.NoError(t, forgotten.Close())
	_, err = c.Wait()
	require.NoError(t, err)
}

func TestOutputAndCombinedOutput(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	out, err := sb.Command("/bin/sh", "-c", "echo a; echo b >&2").Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "a\n", string(out))
	out, err = sb.Command("/bin/sh", "-c", "echo a; echo b >&2; exit 3").CombinedOutput(inTime(t))
	var exit *ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 3, exit.ExitCode)
	assert.Equal(t, "a\nb\n", string(out))
	c := sb.Command("/bin/true")
	c.Stdout = io.Discard
	for _, f := range []func() ([]byte, error){func() ([]byte, error) { return c.Output(inTime(t)) }, func() ([]byte, error) { return c.CombinedOutput(inTime(t)) }} {
		_, err := f()
		assert.ErrorIs(t, err, ErrInvalid)
	}
}

// Control bytes that a program prints or names things by do not reach the terminal of who reads errors.
func TestErrorsAreQuoted(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	evil := "/box/\x1b[2Jx\nforged: ok\xff"
	_, err := sb.Run(inTime(t), evil)
	werr := sb.WriteFile(evil+"/x", nil, 0o644)
	c := sb.Command("/bin/true")
	c.Dir = evil
	_, derr := c.Run(inTime(t))
	_, nerr := New(WithBind(evil, "/x"))
	_, herr := New(WithHostname(evil))
	for _, err := range []error{err, werr, derr, nerr, herr} {
		require.Error(t, err)
		assert.False(t, strings.ContainsAny(err.Error(), "\x1b\n") || !utf8.ValidString(err.Error()), "%q", err.Error())
		var e *Error
		assert.True(t, errors.As(err, &e))
	}
}
