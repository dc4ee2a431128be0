package sandbox

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// screen is a buffer that can be looked at while it is written to.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.String(), text); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never shown: %q; shown: %q", text, s.String())
		}
	}
}

func TestTTY(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	keys, typed := io.Pipe()
	var out screen
	c := sb.Command("/bin/sh", "-c", "tty; stty size; trap 'stty size; echo resized' WINCH; echo ready; while ! read line; do :; done; echo \"got $line\"; exit 6")
	c.TTY, c.Stdin, c.Stdout = &WindowSize{Rows: 24, Cols: 80}, keys, &out
	assert.ErrorIs(t, c.Resize(WindowSize{Rows: 1, Cols: 1}), ErrInvalid)
	require.NoError(t, c.Start(inTime(t)))
	out.shows(t, "/dev/pts/")
	out.shows(t, "24 80")
	out.shows(t, "ready")
	require.NoError(t, c.Resize(WindowSize{Rows: 50, Cols: 100}))
	out.shows(t, "50 100")
	out.shows(t, "resized")
	_, err := io.WriteString(typed, "hello\n")
	require.NoError(t, err)
	out.shows(t, "got hello")
	res, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, 6, res.ExitCode)
	assert.Error(t, c.Resize(WindowSize{Rows: 1, Cols: 1}))
	require.NoError(t, typed.Close())
}

// Ctrl-C is typed like anything else, and job control works.
func TestTTYInterrupts(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	keys, typed := io.Pipe()
	defer typed.Close()
	var out screen
	c := sb.Command("/bin/sh", "-c", "echo ready; exec sleep 1000")
	c.TTY, c.Stdin, c.Stdout = &WindowSize{Rows: 24, Cols: 80}, keys, &out
	require.NoError(t, c.Start(inTime(t)))
	out.shows(t, "ready")
	_, err := typed.Write([]byte{3})
	require.NoError(t, err)
	res, err := c.Wait()
	require.NoError(t, err)
	assert.True(t, res.Signal == syscall.SIGINT || res.ExitCode == 128+int(syscall.SIGINT), "%v", res.Err()) // the shell's own way, before it executes sleep

	out.b.Reset()
	c = sb.Command("/bin/sh", "-ic", "sleep 0.01 & fg; echo fine")
	c.TTY, c.Stdout = &WindowSize{Rows: 24, Cols: 80}, &out
	_, err = c.Run(inTime(t))
	require.NoError(t, err)
	assert.Contains(t, out.String(), "fine")
	assert.NotContains(t, out.String(), "job control turned off")
}

func TestTTYWithWhatDoesNotGoWithIt(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	c := sb.Command("/bin/true")
	c.TTY, c.Stderr = &WindowSize{}, io.Discard
	assert.ErrorIs(t, c.Start(inTime(t)), ErrInvalid)
	c = sb.Command("/bin/true")
	c.TTY = &WindowSize{}
	_, err := c.StdinPipe()
	assert.ErrorIs(t, err, ErrInvalid)
	_, err = c.StdoutPipe()
	assert.ErrorIs(t, err, ErrInvalid)
	c = sb.Command("/no/such")
	c.TTY = &WindowSize{}
	assert.Error(t, c.Start(inTime(t)))
	assert.ErrorIs(t, sb.Command("/bin/true").Resize(WindowSize{}), ErrInvalid)
}

// A terminal that leftovers keep open, or floods, does not keep Wait from returning.
func TestTTYEnds(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for name, change := range map[string]func(*Cmd){
		"leftover stays": func(c *Cmd) { c.KeepLeftovers = true },
		"leftover goes":  func(*Cmd) {},
		"limit": func(c *Cmd) {
			c.Args, c.Limits.Output = []string{"sh", "-c", "yes"}, 1000
		},
	} {
		var out screen
		c := sb.Command("/bin/sh", "-c", "trap '' HUP; sleep 1000 & echo done")
		c.TTY, c.Stdout = &WindowSize{Rows: 24, Cols: 80}, &out
		change(c)
		if c.KeepLeftovers && !sb.engine.grouped {
			assert.ErrorIs(t, c.Start(inTime(t)), ErrUnsupported)
			continue
		}
		require.NoError(t, c.Start(inTime(t)), name)
		ended := make(chan *Result, 1)
		go func() { r, _ := c.Wait(); ended <- r }()
		select {
		case r := <-ended:
			assert.NotNil(t, r, name)
			assert.Equal(t, name == "limit", r.Verdict == OutputExceeded, name)
		case <-time.After(patience):
			t.Fatalf("%s: hangs", name)
		}
	}
}
