package main

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/sandbox"
)

// terminal is the user's. The methods of a nil terminal do nothing.
type terminal struct {
	fd    int
	saved unix.Termios // as it was found

	mu  sync.Mutex
	raw bool
}

// openTerminal remembers how the terminal is set.
func openTerminal(f *os.File) (*terminal, error) {
	fd := int(f.Fd())
	saved, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, errors.New("the input device is not a TTY")
	}
	return &terminal{fd: fd, saved: *saved}, nil
}

// makeRaw has every key go to the program's own terminal, which gives it its meaning: Ctrl-C, Ctrl-D, Ctrl-Z, and the echo. A
// process in the background is stopped by this until it is in the foreground.
func (t *terminal) makeRaw() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	raw := t.saved // termios(3), cfmakeraw
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	// TCSETS, not TCSETSW: that waits for output to drain, and nobody may be reading.
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, &raw); err != nil {
		return os.NewSyscallError("set terminal", err)
	}
	t.raw = true
	return nil
}

// restore sets the terminal as it was found. It is called on every way out, more than once if need be.
func (t *terminal) restore() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.raw {
		_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, &t.saved)
		t.raw = false
	}
}

// isRaw tells whether restore has something to do.
func (t *terminal) isRaw() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.raw
}

// size is the terminal's at the moment; one that knows none is taken for the usual.
func (t *terminal) size() sandbox.WindowSize {
	w, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	if err != nil || w.Row == 0 || w.Col == 0 {
		return sandbox.WindowSize{Rows: 24, Cols: 80}
	}
	return sandbox.WindowSize{Rows: w.Row, Cols: w.Col, X: w.Xpixel, Y: w.Ypixel}
}
