package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pty is a terminal of which the test is the person: it types, and reads the screen.
type pty struct {
	t    *testing.T
	ctl  *os.File // the person's end
	end  *os.File // the program's end
	mu   sync.Mutex
	text strings.Builder // all that was printed
	seen int             // how much of it expect has gone past
}

// newPTY opens a terminal (pts(4)) of that size.
func newPTY(t *testing.T, rows, cols uint16) *pty {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	p := &pty{t: t, ctl: os.NewFile(uintptr(fd), "/dev/ptmx")}
	t.Cleanup(func() { _ = p.ctl.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	p.end, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.end.Close() })
	p.resize(rows, cols)
	go p.read()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the screen:\n%s", p.screen())
		}
	})
	return p
}

func (p *pty) read() {
	buf := make([]byte, 4096)
	for {
		n, err := p.ctl.Read(buf)
		p.mu.Lock()
		p.text.Write(buf[:n])
		p.mu.Unlock()
		if err != nil && !errors.Is(err, unix.EIO) { // EIO: nobody has the other end open at the moment
			return
		}
	}
}

// start starts run on the terminal, as a login does: as the leader of a session whose terminal it is.
func (p *pty) start(args ...string) *exec.Cmd {
	p.t.Helper()
	cmd := program(p.t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.end, p.end, p.end
	cmd.Env = append(cmd.Env, "TERM=vt100")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(p.t, cmd.Start())
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// wait returns the exit status of what start has started.
func (p *pty) wait(cmd *exec.Cmd) int {
	p.t.Helper()
	_ = cmd.Wait()
	return exitCode(cmd.ProcessState)
}

func (p *pty) keys(s string) {
	p.t.Helper()
	require.NoError(p.t, p.ctl.SetWriteDeadline(time.Now().Add(patience)))
	_, err := p.ctl.WriteString(s)
	require.NoError(p.t, err)
}

// expect waits until a text is printed that was not there before, and returns what came before it.
func (p *pty) expect(text string) string {
	p.t.Helper()
	var before string
	eventually(p.t, strconv.Quote(text)+" on the screen", func() bool {
		fresh := p.screen()[p.seen:]
		i := strings.Index(fresh, text)
		if i >= 0 {
			before = fresh[:i]
			p.seen += i + len(text)
		}
		return i >= 0
	})
	return before
}

func (p *pty) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *pty) resize(rows, cols uint16) {
	p.t.Helper()
	require.NoError(p.t, unix.IoctlSetWinsize(int(p.end.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
}

func (p *pty) modes() unix.Termios {
	p.t.Helper()
	m, err := unix.IoctlGetTermios(int(p.end.Fd()), unix.TCGETS)
	require.NoError(p.t, err)
	return *m
}

// isRaw tells whether keys have no meaning to this terminal.
func isRaw(m unix.Termios) bool {
	return m.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) == 0
}
