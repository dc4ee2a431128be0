package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// bothWays runs a command started by this program itself, and one that the zygote starts, and returns what is to be the same. prepare may set up the command, and tells afterwards what it saw.
func bothWays(t *testing.T, sb *Sandbox, script string, prepare func(*Cmd) (saw func() string)) (direct, zygote string, res *Result) {
	t.Helper()
	run := func(want bool) (string, *Result) {
		for {
			before := startedDirectly(sb)
			if want {
				offered(t, sb)
				before = startedDirectly(sb)
			} else {
				_, err := sb.Stats() // takes back what is offered
				require.NoError(t, err)
			}
			c := sb.Command("/bin/sh", "-c", script)
			saw := prepare(c)
			res, err := c.Run(inTime(t))
			if want != (startedDirectly(sb) > before) {
				continue
			}
			text := fmt.Sprintf("error %v; saw %s", err, saw())
			switch {
			case res == nil:
			case res.Truncated: // whether it had ended by then is chance
				text += fmt.Sprintf("; %v, truncated", res.Verdict)
			default:
				text += fmt.Sprintf("; %v, exit %d, signal %v", res.Verdict, res.ExitCode, res.Signal)
			}
			return text, res
		}
	}
	zygote, _ = run(false)
	direct, res = run(true)
	return direct, zygote, res
}

func init() {
	parts["printsdata"] = func([]string) {
		fd, err := unix.Open("/hang/data", unix.O_RDONLY, 0)
		check(err)
		mem, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
		check(err)
		_, _, errno := unix.Syscall(unix.SYS_WRITE, 1, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)))
		check(errno)
	}
}

// brokenWriter takes nothing.
type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// manner is a writer of which nothing is known.
type manner struct{ io.Writer }

// What a command prints and reads is the same whoever starts it.
func TestDirectOutputAlike(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	two := func(wrap func(io.Writer) io.Writer) func(*Cmd) func() string {
		return func(c *Cmd) func() string {
			var o, e bytes.Buffer
			c.Stdout, c.Stderr = wrap(&o), wrap(&e)
			return func() string { return short(o.String()) + " " + short(e.String()) }
		}
	}
	plain := two(func(w io.Writer) io.Writer { return w })
	strange := two(func(w io.Writer) io.Writer { return manner{w} })
	one := func(limit int64, in io.Reader) func(*Cmd) func() string {
		return func(c *Cmd) func() string {
			var b strings.Builder
			c.Stdout, c.Stderr, c.Stdin, c.Limits.Output = &b, &b, in, limit
			return func() string { return short(b.String()) }
		}
	}
	reads := func(text string, of func(string) io.Reader) func(*Cmd) func() string {
		return func(c *Cmd) func() string {
			in := of(text)
			saw := one(0, in)(c)
			return func() string {
				return fmt.Sprintf("%s, %d of its input left", saw(), in.(interface{ Len() int }).Len())
			}
		}
	}
	for name, c := range map[string]struct {
		script  string
		prepare func(*Cmd) func() string
		want    string
	}{
		"two streams":    {"echo out; echo err >&2; exit 3", plain, `"out\n" "err\n"; non-zero exit, exit 3`},
		"other writer":   {"echo out; echo err >&2; exit 3", strange, `"out\n" "err\n"; non-zero exit, exit 3`},
		"one stream":     {"echo out; echo err >&2; echo out", one(0, nil), `"out\nerr\nout\n"; OK`},
		"nothing":        {"exit 4", plain, `"" ""; non-zero exit, exit 4`},
		"much":           {"head -c 3000000 /dev/zero; head -c 1000 /dev/zero >&2", plain, "3000000 bytes"},
		"two pipes full": {"head -c 150000 /dev/zero; head -c 150000 /dev/zero >&2", plain, "150000 bytes 150000 bytes; OK"},
		"within":         {"head -c 150000 /dev/zero", one(150000, nil), "150000 bytes; OK"},
		"exceeds":        {"head -c 150000 /dev/zero", one(100000, nil), "100000 bytes; output exceeded"},
		"much, other":    {"head -c 3000000 /dev/zero; head -c 1000 /dev/zero >&2", strange, "3000000 bytes"},
		"slow":           {"echo a; sleep 0.03; echo b", one(0, nil), `"a\nb\n"; OK`},
		"at the limit":   {"head -c 1000 /dev/zero", one(1000, nil), "1000 bytes; OK, exit 0"},
		"beyond it":      {"head -c 1001 /dev/zero; sleep 1000", one(1000, nil), "1000 bytes; output exceeded"},
		"ended beyond":   {"head -c 1001 /dev/zero; exit 0", one(1000, nil), "1000 bytes; output exceeded"},
		"discarded": {"head -c 101 /dev/zero", func(c *Cmd) func() string {
			c.Limits.Output = 100
			return func() string { return "" }
		}, "output exceeded"},
		"a flood":  {"yes", one(100000, nil), "100000 bytes; output exceeded"},
		"leftover": {"(sleep 1000; echo late) & echo early", one(0, nil), `"early\n"; OK`},
		"fails":    {"echo x", func(c *Cmd) func() string { c.Stdout = brokenWriter{}; return func() string { return "" } }, "error broken"},
		"strings":  {"cat; exit 5", reads("some\ninput", func(s string) io.Reader { return strings.NewReader(s) }), `"some\ninput", 0 of its input left; non-zero exit, exit 5`},
		"bytes":    {"cat", reads(strings.Repeat("x", 50000), func(s string) io.Reader { return bytes.NewReader([]byte(s)) }), "50000 bytes, 0 of"},
		"buffer":   {"cat", reads("some", func(s string) io.Reader { return bytes.NewBufferString(s) }), `"some", 0 of`},
		"no input": {"cat", reads("", func(s string) io.Reader { return strings.NewReader(s) }), `"", 0 of`},
		"not read": {"exit 6", reads("some", func(s string) io.Reader { return strings.NewReader(s) }), `"", 0 of its input left; non-zero exit, exit 6`},
		"half read": {"cat", func(c *Cmd) func() string {
			in := strings.NewReader("0123456789")
			_, _ = in.Seek(7, io.SeekStart)
			return one(0, in)(c)
		}, `"789"; OK`},
		"signal": {"echo x; kill -6 $$", one(0, nil), `"x\n"; signaled`},
	} {
		direct, zygote, res := bothWays(t, sb, c.script, c.prepare)
		assert.Equal(t, zygote, direct, name)
		assert.Contains(t, direct, c.want, name)
		if res != nil {
			assert.Positive(t, res.Usage.Wall, name)
			assert.Positive(t, res.Usage.PeakPids, name)
			assert.Len(t, res.Stages(), int(stageCount), name)
		}
	}
	offered(t, sb)
	out, err := sb.Command("/bin/echo", "hello").Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(out))
	// A command that does not start leaves its input where it is.
	for range 2 {
		offered(t, sb)
		in := bytes.NewBufferString("input")
		c := sb.Command("/no/such/program")
		c.Stdin, c.Stdout = in, &strings.Builder{}
		_, err = c.Run(inTime(t))
		require.ErrorIs(t, err, unix.ENOENT)
		assert.Equal(t, "input", in.String())
	}
}

// short is a text that can be compared in a message.
func short(s string) string {
	if len(s) < 100 {
		return fmt.Sprintf("%q", s)
	}
	if strings.Trim(s, s[:1]) == "" {
		return fmt.Sprintf("%d bytes", len(s))
	}
	return fmt.Sprintf("%.10q… %d bytes", s, len(s))
}

// More input than a pipe holds, or of which nothing is known, has somebody who feeds it, and is all read.
func TestInputIsFed(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	text := strings.Repeat("0123456789", 100000)
	for name, in := range map[string]io.Reader{"strings": strings.NewReader(text), "bytes": bytes.NewReader([]byte(text)), "buffer": bytes.NewBufferString(text), "other": io.MultiReader(strings.NewReader(text))} {
		offered(t, sb)
		before := startedDirectly(sb)
		c := sb.Command("/bin/cat")
		c.Stdin = in
		out, err := c.Output(inTime(t))
		require.NoError(t, err, name)
		assert.True(t, string(out) == text, name)
		assert.Equal(t, before, startedDirectly(sb), name)
	}
}

// A command that prints is ended with its context at whatever moment, and its output until then is there.
func TestDirectOutputCanceled(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	for _, after := range []time.Duration{0, 500 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 30 * time.Millisecond} {
		offered(t, sb)
		ctx, cancel := context.WithCancel(inTime(t))
		time.AfterFunc(after, cancel)
		var out bytes.Buffer
		c := sb.Command("/bin/sh", "-c", "echo begun; sleep 1000")
		c.Stdout = &out
		res, err := c.Run(ctx)
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			continue
		}
		assert.Equal(t, Canceled, res.Verdict)
		assert.Contains(t, []string{"", "begun\n"}, out.String())
	}
}

// So is one that holds the lock of the pipe meanwhile, for as long as it takes to read what it prints.
func TestDirectOutputHeld(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if testing.Short() {
		t.Skip("slow: the program that prints is this one, which takes its time to be read")
	}
	for did := false; !did; {
		hang := mountHanging(t)
		sb := limited(t, WithBind(hang.dir, "/hang", ReadOnly), asVictim(t))
		offered(t, sb)
		ctx, cancel := context.WithCancel(inTime(t))
		prints := make(chan struct{})
		go func() {
			defer cancel()
			defer close(prints)
			select {
			case <-hang.opened:
				assert.Eventually(t, hang.asked, tooLong, time.Millisecond)
			case <-ctx.Done():
			}
		}()
		stop := interfere(sb, func(step string, _ *commandPlan) bool {
			if step == "wait" {
				did = true
				<-prints
			}
			return true
		})
		c := sb.Command(victimPath)
		c.Env = []string{partEnv + "=printsdata"}
		c.Stdout = &bytes.Buffer{}
		returns(t, "the command", func() {
			res, err := c.Run(ctx)
			if assert.NoError(t, err) {
				assert.Equal(t, Canceled, res.Verdict)
			}
		})
		stop()
		<-prints
		require.NoError(t, sb.Close())
	}
}

// A stream that somebody else can still write to is left to who can wait for it, for a while.
func TestReadNow(t *testing.T) {
	var got bytes.Buffer
	take := func(b []byte) bool { got.Write(b); return true }
	open := func() (*sink, *os.File) {
		fd, w, err := rawPipe(0, uint32(outOfJob))
		require.NoError(t, err)
		s := &sink{fd: fd, to: &got}
		t.Cleanup(func() { s.close(); _ = w.Close() })
		got.Reset()
		return s, w
	}
	s, w := open()
	_, err := w.WriteString("first ")
	require.NoError(t, err)
	require.True(t, s.drain())
	_, err = w.WriteString("second")
	require.NoError(t, err)
	assert.False(t, s.readNow(take), "it has not ended")
	assert.Equal(t, "first second", got.String())
	require.NoError(t, w.Close())
	assert.True(t, s.readNow(take))
	assert.Equal(t, "first second", got.String())

	s, w = open()
	flood := func(b []byte) bool {
		got.Write(b)
		_, err := w.Write(make([]byte, len(b)))
		require.NoError(t, err)
		return true
	}
	_, err = w.Write(make([]byte, earlyRoom))
	require.NoError(t, err)
	assert.False(t, s.drain(), "there may be more")
	assert.False(t, s.readNow(flood), "it is being filled")

	s, w = open()
	_, err = w.WriteString("more than may pass")
	require.NoError(t, err)
	assert.True(t, s.readNow(func([]byte) bool { return false }), "nothing more is wanted")
}
