package sandbox

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A nil pointer where a stream goes is told before anything is started, and leaves nothing.
func TestNilStreams(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for name, set := range map[string]func(*Cmd){
		"Stdin, *bytes.Buffer":   func(c *Cmd) { c.Stdin = (*bytes.Buffer)(nil) },
		"Stdin, *bytes.Reader":   func(c *Cmd) { c.Stdin = (*bytes.Reader)(nil) },
		"Stdin, *strings.Reader": func(c *Cmd) { c.Stdin = (*strings.Reader)(nil) },
		"Stdout, *bytes.Buffer":  func(c *Cmd) { c.Stdout = (*bytes.Buffer)(nil) },
		"Stderr, *bytes.Buffer":  func(c *Cmd) { c.Stderr = (*bytes.Buffer)(nil) },
		"Stdout, *strings.Builder": func(c *Cmd) {
			c.Stdout = (*strings.Builder)(nil)
			c.Stderr = c.Stdout
		},
	} {
		c := sb.Command("/bin/echo", "x")
		set(c)
		_, err := c.Run(inTime(t))
		require.ErrorIs(t, err, ErrInvalid, name)
		field, kind, _ := strings.Cut(name, ", ")
		assert.ErrorContains(t, err, "Cmd."+field, name)
		assert.ErrorContains(t, err, kind, name)
	}
	c := sb.Command("/bin/echo", "x")
	c.Stdin, c.Stdout, c.Stderr = io.Reader(nil), io.Writer(nil), io.Writer(nil)
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	require.NoError(t, res.Err(), "the control")
	returns(t, "Close", func() { assert.NoError(t, sb.Close()) })
}

// A writer that panics while a command runs does so for who waits for the command, whoever wrote to it, and afterwards nothing is left and nothing hangs.
func TestWriterPanics(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	copied := func() *strings.Builder { // which its methods forbid
		var b strings.Builder
		_, _ = b.WriteString("x")
		c := b
		return &c
	}
	for _, script := range []string{"echo x", "head -c 300000 /dev/zero", "yes", "echo x; sleep 0.01; echo y"} {
		for _, run := range []func(*Cmd){
			func(c *Cmd) { _, _ = c.Run(inTime(t)) },
			func(c *Cmd) {
				require.NoError(t, c.Start(inTime(t)))
				_, _ = c.Wait()
			},
		} {
			offered(t, sb)
			c := sb.Command("/bin/sh", "-c", script)
			c.Stdout = copied()
			assert.PanicsWithValue(t, "strings: illegal use of non-zero Builder copied by value", func() { run(c) }, script)
			assert.True(t, c.hasNoProcess(), script)
		}
	}
	_, res := directly(t, sb, "/bin/sh", "-c", "exit 5")
	assert.Equal(t, 5, res.ExitCode)
	returns(t, "Close", func() { assert.NoError(t, sb.Close()) })
}

// leaver is a reader that ends the goroutine which reads from it, as testing.T.FailNow does.
type leaver struct{}

func (leaver) Read([]byte) (int, error) {
	runtime.Goexit()
	return 0, nil
}

func TestReaderEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	c := standing(t).Command("/bin/cat")
	c.Stdin = leaver{}
	res, err := c.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict, "it is the end of the input")
}
