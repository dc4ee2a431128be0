package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// drainTime is how long output may still come after the command has ended. Nothing writes any more then but a process that cannot be
// killed, or one that was allowed to stay.
const drainTime = 500 * time.Millisecond

// meter counts output against a limit that both streams share.
type meter struct {
	left atomic.Int64
	over func() // called once, when the limit is passed
	once sync.Once
}

// take says how many of n bytes may pass.
func (m *meter) take(n int) int {
	if m == nil {
		return n
	}
	left := m.left.Add(-int64(n))
	if left >= 0 {
		return n
	}
	m.once.Do(m.over)
	return int(max(left+int64(n), 0))
}

// has tells whether n bytes may pass.
func (m *meter) has(n int) bool { return m == nil || m.left.Load() >= int64(n) }

// programFile is a descriptor of the program.
type programFile struct {
	file *os.File // nil: /dev/null
	pipe bool     // made here
}

// files makes the program's descriptors. Those opened here are in c.childs.
func (c *Cmd) files(e *engine) ([]programFile, error) {
	if c.limits.Output > 0 {
		c.meter = &meter{over: func() { c.over.Store(true); go c.proc.kill() }}
		c.meter.left.Store(c.limits.Output)
	}
	var files []programFile
	if c.TTY != nil {
		end, err := c.terminal(e)
		if err != nil {
			return nil, err
		}
		files = []programFile{{file: end}, {file: end}, {file: end}}
	} else {
		for _, open := range []func() (programFile, error){c.stdin, func() (programFile, error) { return c.output(c.Stdout) }} {
			f, err := open()
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
		if c.Stderr != nil && sameWriter(c.Stdout, c.Stderr) {
			files = append(files, files[1])
		} else {
			f, err := c.output(c.Stderr)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	for _, f := range c.ExtraFiles {
		files = append(files, programFile{file: f})
	}
	return files, nil
}

// sameWriter compares without panicking where the types cannot be compared.
func sameWriter(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

// givenFile is a file of the caller's.
func givenFile(f *os.File) (programFile, error) {
	if f == nil {
		return programFile{}, &Error{Stage: "files", Op: "fd", Err: os.ErrInvalid} // an interface with a nil file in it is not nil
	}
	return programFile{file: f}, nil
}

// nilStream tells whether an interface has a nil pointer in it of a type that cannot be read or written then. What a nil pointer of the caller's own types does is theirs.
func nilStream(v any) bool {
	switch v := v.(type) {
	case *bytes.Buffer:
		return v == nil
	case *bytes.Reader:
		return v == nil
	case *strings.Reader:
		return v == nil
	case *strings.Builder:
		return v == nil
	}
	return false
}

// checkStreams refuses what would panic as soon as it is used.
func (c *Cmd) checkStreams() error {
	for _, s := range []struct {
		name string
		is   any
	}{{"Cmd.Stdin", c.Stdin}, {"Cmd.Stdout", c.Stdout}, {"Cmd.Stderr", c.Stderr}} {
		if nilStream(s.is) {
			return invalid(s.name, "", fmt.Sprintf("is a nil %T in an interface that is not nil", s.is))
		}
	}
	return nil
}

func (c *Cmd) stdin() (programFile, error) {
	switch in := c.Stdin.(type) {
	case nil:
		return programFile{}, nil
	case *os.File:
		return givenFile(in)
	}
	fd, r, err := rawPipe(1, uint32(intoJob))
	if err != nil {
		return programFile{}, err
	}
	c.childs = append(c.childs, r)
	c.inlet = &inlet{fd: fd, early: feedEarly(fd, c.Stdin)}
	if c.inlet.all {
		c.inlet.close() // the end of the input
	}
	return programFile{r, true}, nil
}

// inlet is our end of the pipe that is the program's standard input.
type inlet struct {
	fd int // -1: it is closed, or a file's
	early
}

func (i *inlet) close() {
	if i != nil && i.fd >= 0 {
		closeRaw(i.fd)
		i.fd = -1
	}
}

// open makes a file of it.
func (i *inlet) open() *os.File {
	f := os.NewFile(uintptr(i.fd), "|")
	i.fd = -1
	return f
}

func (c *Cmd) output(to io.Writer) (programFile, error) {
	if c.meter == nil {
		if to == nil {
			return programFile{}, nil
		}
		if f, ok := to.(*os.File); ok {
			return givenFile(f)
		}
	}
	fd, w, err := rawPipe(0, uint32(outOfJob))
	if err != nil {
		return programFile{}, err
	}
	c.childs = append(c.childs, w)
	if to == nil {
		to = io.Discard
	}
	s := &sink{fd: fd, to: to}
	if f, ok := to.(*os.File); ok {
		if i := slices.Index(c.childs, f); i >= 0 { // of StdoutPipe or StderrPipe: ours to write to, so it must stay open
			c.childs = slices.Delete(c.childs, i, i+1)
			c.relays = append(c.relays, f)
			s.own = f
		}
	}
	c.sinks = append(c.sinks, s)
	return programFile{w, true}, nil
}

// sink is a stream on its way to a writer.
type sink struct {
	fd   int      // -1: it is closed, or a file's
	from *os.File // as soon as somebody copies
	to   io.Writer
	own  *os.File // the writer, if it is the end of a pipe made here

	failed bool // the writer has: it is not written to again

	room  *[earlyRoom]byte // what came before that, see drain
	early int
	ended bool
}

// earlyRoom is how much of a stream is taken before there is anybody who copies it, which is what fits a pipe.
const earlyRoom = 64 << 10

var earlyRooms = sync.Pool{New: func() any { return new([earlyRoom]byte) }}

// open makes a file of it, which can be waited for.
func (s *sink) open() *os.File {
	if s.fd >= 0 {
		s.from, s.fd = os.NewFile(uintptr(s.fd), "|"), -1
	}
	return s.from
}

func (s *sink) close() {
	if s.fd >= 0 {
		closeRaw(s.fd)
		s.fd = -1
	}
	if s.from != nil {
		_ = s.from.Close()
	}
	s.rest()
}

// takeEarly returns what came before anybody copied, which is good until the next call of drain or rest.
func (s *sink) takeEarly() []byte {
	n := s.early
	if s.early = 0; n == 0 {
		return nil
	}
	return s.room[:n]
}

func (s *sink) rest() {
	if s.room != nil {
		earlyRooms.Put(s.room)
		s.room, s.early = nil, 0
	}
}

// passive tells whether writing to it waits for nobody, so that whoever has nothing else to do may do it.
func (s *sink) passive() bool {
	switch s.to.(type) {
	case *bytes.Buffer, *strings.Builder:
		return true
	}
	return s.to == io.Discard
}

const (
	intoJob  fs.FileMode = 0o444 // of a pipe that the job reads
	outOfJob fs.FileMode = 0o222 // of one that it writes
)

// pipe makes a pipe whose end in the job can be opened a second time there, as programs do that write to /dev/stdout: in that direction alone. A pipe belongs to
// who made it, who is nobody inside where this process is root, and has mode 0600 otherwise.
func (c *Cmd) pipe(mode fs.FileMode) (r, w *os.File, err error) {
	if r, w, err = os.Pipe(); err != nil {
		return nil, nil, &Error{Stage: "files", Op: "pipe", Err: err}
	}
	if err := w.Chmod(mode); err != nil {
		closeFiles([]*os.File{r, w})
		return nil, nil, &Error{Stage: "files", Op: "fchmod", Path: "pipe", Err: err}
	}
	return r, w, nil
}

// terminal opens a terminal inside; our end takes what is printed and gives what is typed.
func (c *Cmd) terminal(e *engine) (*os.File, error) {
	if c.Stderr != nil {
		return nil, invalid("TTY", "", "does not go with Stderr: a terminal has one output")
	}
	control, end, err := e.terminal(*c.TTY)
	if err != nil {
		return nil, err
	}
	c.tty = control
	c.childs = append(c.childs, end)
	to := c.Stdout
	if to == nil {
		to = io.Discard
	}
	c.sinks = append(c.sinks, &sink{fd: -1, from: control, to: to})
	return end, nil
}

// startCopying starts the goroutines between the caller's readers and writers and the program. Of one that has ended already finishCopying takes what there is.
func (c *Cmd) startCopying(ctx context.Context) {
	if !c.proc.over {
		for _, s := range c.sinks {
			c.startCollecting(ctx, s)
		}
	}
	typed := c.tty
	if i := c.inlet; i != nil {
		if i.taken > 0 {
			i.pass(i.taken)
		}
		if i.all {
			return
		}
		typed = i.open()
		c.writers = append(c.writers, typed)
	} else if c.Stdin == nil {
		return
	}
	if typed != nil {
		go func() { c.label(ctx, "input"); c.feed(typed) }()
	}
}

func (c *Cmd) startCollecting(ctx context.Context, s *sink) {
	c.readers = append(c.readers, s.open())
	c.copiers.Add(1)
	go func() { defer c.copiers.Done(); c.label(ctx, "output"); c.collect(s) }()
}

// passOn forwards what has been taken of a stream to which nobody attends yet, if nobody is waited for and nothing else comes of it.
func (c *Cmd) passOn(s *sink) bool {
	return s.passive() && c.meter.has(s.early) && c.forward(s, s.takeEarly())
}

// collectNow copies what a command that has ended before anybody copied has written.
func (c *Cmd) collectNow(ctx context.Context) {
	for _, s := range c.sinks {
		if s.fd < 0 {
			continue
		}
		if s.passive() && s.readNow(func(b []byte) bool { return c.forward(s, b) }) {
			s.close()
			continue
		}
		c.startCollecting(ctx, s)
	}
}

// feed copies standard input. A program that does not read all of it is no error.
func (c *Cmd) feed(to *os.File) {
	if to != c.tty {
		defer to.Close() // also where a reader ends its goroutine
	}
	_, err := io.Copy(struct{ io.Writer }{to}, c.Stdin)
	if to != c.tty {
		err = errors.Join(err, to.Close())
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, syscall.EIO) && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.copyErr.CompareAndSwap(nil, &err)
	}
}

// collect copies one stream of output until its end or the limit. Past the limit nothing is read any more.
func (c *Cmd) collect(s *sink) {
	if s.own != nil {
		defer s.own.Close() // the end of file for who reads the pipe
	}
	defer s.from.Close()
	more := c.forward(s, s.takeEarly())
	s.rest()
	buf := make([]byte, 32<<10)
	for more {
		n, err := s.from.Read(buf)
		// The error is the end of file, EIO of a terminal whose last user is gone, or a deadline.
		more = c.forward(s, buf[:n]) && err == nil
	}
}

// forward writes what a stream had to say, as far as the limit lets it pass. It is false when nothing more is to be read: closing the stream then has the program get SIGPIPE, as without a
// sandbox.
func (c *Cmd) forward(s *sink, b []byte) bool {
	pass := c.meter.take(len(b))
	if pass > 0 && !s.failed {
		if err := c.write(s, b[:pass]); err != nil {
			s.failed = true
			if s.own == nil || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrDeadlineExceeded) {
				c.copyErr.CompareAndSwap(nil, &err)
			}
		}
	}
	return pass == len(b) && !s.failed
}

var errPanicked = errors.New("the writer has panicked")

// write has a panic of a writer that anybody may write to (see passive) wait for who waits for the command: whose goroutine it comes in is a matter of chance, and whoever recovers
// from it there would leave the command to nobody.
func (c *Cmd) write(s *sink, b []byte) (err error) {
	if s.passive() {
		defer func() {
			if p := recover(); p != nil {
				c.panicked.CompareAndSwap(nil, &p)
				err = errPanicked
			}
		}()
	}
	_, err = s.to.Write(b)
	return err
}

// finishCopying waits for the output of a command that has ended.
func (c *Cmd) finishCopying(ctx context.Context) {
	c.collectNow(ctx)
	for _, r := range c.readers {
		_ = r.SetReadDeadline(time.Now().Add(drainTime))
	}
	if len(c.relays) > 0 {
		copied := make(chan struct{})
		go func() { c.copiers.Wait(); close(copied) }()
		select {
		case <-copied:
		case <-c.waiting: // what has not been read by now never will be
		case <-c.sandbox.done:
		}
		for _, w := range c.relays {
			_ = w.SetWriteDeadline(time.Now().Add(drainTime))
		}
	}
	c.copiers.Wait()
	closeFiles(c.readers, c.writers)
}

// StdinPipe returns a pipe to the program's standard input. The caller closes it to end the input; Wait closes it too.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if c.Stdin != nil || c.TTY != nil {
		return nil, invalid("StdinPipe", "", "does not go with Stdin or TTY")
	}
	r, w, err := c.ownPipe("StdinPipe", intoJob)
	if err != nil {
		return nil, err
	}
	c.Stdin = r
	c.childs, c.pipes = append(c.childs, r), append(c.pipes, w)
	return w, nil
}

// StdoutPipe returns a pipe from the program's standard output. Wait closes it, so read all of it first. With a limit on output the pipe ends at the limit.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	if c.Stdout != nil || c.TTY != nil {
		return nil, invalid("StdoutPipe", "", "does not go with Stdout or TTY")
	}
	return c.outputPipe("StdoutPipe", &c.Stdout)
}

// StderrPipe is StdoutPipe for standard error.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	if c.Stderr != nil || c.TTY != nil {
		return nil, invalid("StderrPipe", "", "does not go with Stderr or TTY")
	}
	return c.outputPipe("StderrPipe", &c.Stderr)
}

func (c *Cmd) outputPipe(op string, to *io.Writer) (io.ReadCloser, error) {
	r, w, err := c.ownPipe(op, outOfJob)
	if err != nil {
		return nil, err
	}
	*to = w
	c.childs, c.pipes = append(c.childs, w), append(c.pipes, r)
	return r, nil
}

func (c *Cmd) ownPipe(op string, mode fs.FileMode) (r, w *os.File, err error) {
	if c.started.Load() {
		return nil, nil, invalid(op, "", "comes after Start")
	}
	return c.pipe(mode)
}

// Resize tells the program's terminal its new size; the program gets SIGWINCH.
func (c *Cmd) Resize(size WindowSize) error {
	c.ttyMu.Lock()
	defer c.ttyMu.Unlock()
	if c.tty == nil {
		return invalid("Resize", "", "needs a command with a TTY that has been started")
	}
	return resize(c.tty, size)
}

func closeFiles(lists ...[]*os.File) {
	for _, list := range lists {
		for _, f := range list {
			_ = f.Close()
		}
	}
}
