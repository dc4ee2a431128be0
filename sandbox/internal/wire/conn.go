//go:build linux

package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	version   = 2
	headSize  = 20
	maxPacket = 64 << 10
	maxLong   = 128 << 20
	// MaxFiles is how many descriptors fit a message: SCM_MAX_FD of <net/scm.h>, less one for a long message's memfd.
	MaxFiles = 252

	flagLong = 1 << 0
)

// Message is one packet as it arrives. The receiver owns Files.
type Message struct {
	Kind  Kind
	ID    uint64
	Body  []byte // the encoded struct, see Decode
	Raw   []byte // what goes along with it: an encoded plan
	Files []int
}

// Decode reads the body into the struct that v points to, which must be of the type that was sent. v shares no memory with the message.
func (m *Message) Decode(v any) error { return decode(m.Body, v) }

// CloseFiles closes what came along.
func (m *Message) CloseFiles() {
	for _, fd := range m.Files {
		_ = unix.Close(fd)
	}
	m.Files = nil
}

// Conn is one end of the socket. Its methods may be called from many goroutines.
type Conn struct {
	file  *os.File
	raw   syscall.RawConn
	block int // the socket, where calls block a thread instead of leaving the wait to the runtime; otherwise -1
	once  sync.Once
}

// input is room for a packet and what comes along.
type input struct{ buf, oob []byte }

var inputs = sync.Pool{New: func() any {
	return &input{make([]byte, maxPacket+headSize), make([]byte, unix.CmsgSpace((MaxFiles+1)*4))}
}}

// NewConn takes over fd, a SOCK_SEQPACKET socket.
func NewConn(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	// More than the default, so that a burst of requests does not wait for the reader; bounded by net.core.wmem_max.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	f := os.NewFile(uintptr(fd), "belljar-wire")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{file: f, raw: raw, block: -1}, nil
}

// NewBlockingConn is NewConn for who waits for nothing else: a message wakes the very thread that has called Receive, one of them if there are
// many. It may be closed only when nobody uses it any more.
func NewBlockingConn(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	return &Conn{file: os.NewFile(uintptr(fd), "belljar-wire"), block: fd}, nil
}

// Pair returns two connected ends.
func Pair() (a, b int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return p[0], p[1], nil
}

// Shut has a Receive that blocks in this process, or will, answer io.EOF.
func (c *Conn) Shut() {
	if c.block >= 0 {
		_ = unix.Shutdown(c.block, unix.SHUT_RD)
	}
}

// Close ends the connection; the other side sees end of file.
func (c *Conn) Close() error {
	err := error(nil)
	c.once.Do(func() { err = c.file.Close() })
	return err
}

// packets are buffers for what is sent.
var packets = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// Send sends one message: a struct or a pointer to one (nil: no body), and raw. files stay the caller's. It blocks while the other side does not read.
func (c *Conn) Send(kind Kind, id uint64, v any, raw []byte, files []int) error {
	if len(files) > MaxFiles {
		return fmt.Errorf("%d descriptors in one message, at most %d: %w", len(files), MaxFiles, unix.E2BIG)
	}
	buf := packets.Get().(*[]byte)
	defer packets.Put(buf)
	p, err := encode(append((*buf)[:0], make([]byte, headSize)...), v)
	*buf = p[:0]
	if err != nil {
		return err
	}
	body := len(p) - headSize
	if len(raw) > maxLong || body+len(raw) > maxLong {
		return fmt.Errorf("message of %d bytes: %w", body+len(raw), unix.E2BIG)
	}
	putHead(p, kind, id, body, len(raw))
	if body+len(raw) > maxPacket {
		p[2] = flagLong
		fd, err := longBody(p[headSize:], raw)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return c.send(p[:headSize], append([]int{fd}, files...))
	}
	p = append(p, raw...)
	*buf = p[:0]
	return c.send(p, files)
}

func (c *Conn) send(packet []byte, files []int) error {
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	var err error
	send := func(fd uintptr) bool {
		for {
			_, err = unix.SendmsgN(int(fd), packet, oob, nil, unix.MSG_NOSIGNAL)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	}
	if c.block >= 0 {
		send(uintptr(c.block))
		return os.NewSyscallError("sendmsg", err)
	}
	werr := c.raw.Write(send)
	if werr != nil {
		return os.ErrClosed // what the file says, internal/poll.ErrFileClosing, is not that
	}
	return os.NewSyscallError("sendmsg", err)
}

// ErrFiles says that this process has no room for the descriptors that came with a message (EMFILE), of which nothing is left but its kind and its number.
var ErrFiles = fmt.Errorf("wire: descriptors of a message: %w", unix.EMFILE)

// Receive returns the next message; io.EOF when the other side is gone. With ErrFiles there is a message too, and more can be received; with other errors not.
func (c *Conn) Receive() (*Message, error) {
	in := inputs.Get().(*input)
	defer inputs.Put(in)
	var n, oobn, flags int
	var err error
	receive := func(fd uintptr) bool {
		for {
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), in.buf, in.oob, unix.MSG_CMSG_CLOEXEC)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	}
	var rerr error
	if c.block >= 0 {
		receive(uintptr(c.block))
	} else {
		rerr = c.raw.Read(receive)
	}
	switch {
	case rerr != nil:
		return nil, os.ErrClosed
	case err == unix.ECONNRESET:
		return nil, io.EOF
	case err != nil:
		return nil, os.NewSyscallError("recvmsg", err)
	case n == 0:
		return nil, io.EOF
	}
	m := &Message{Files: rights(in.oob[:oobn])}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		m.CloseFiles()
		if _, _, ok := m.head(in.buf[:n]); ok && flags&unix.MSG_TRUNC == 0 {
			return m, ErrFiles
		}
		return nil, ErrProtocol
	}
	if err := m.parse(in.buf[:n]); err != nil {
		m.CloseFiles()
		return nil, err
	}
	return m, nil
}

func putHead(b []byte, kind Kind, id uint64, body, raw int) {
	b[0], b[1] = version, byte(kind)
	binary.LittleEndian.PutUint32(b[4:], uint32(body))
	binary.LittleEndian.PutUint32(b[8:], uint32(raw))
	binary.LittleEndian.PutUint64(b[12:], id)
}

// head takes what putHead has written, and tells how long the parts are. The flags, p[2], are left to the caller.
func (m *Message) head(p []byte) (body, raw int, ok bool) {
	if len(p) < headSize || p[0] != version || p[3] != 0 {
		return 0, 0, false
	}
	m.Kind, m.ID = Kind(p[1]), binary.LittleEndian.Uint64(p[12:])
	body, raw = int(binary.LittleEndian.Uint32(p[4:])), int(binary.LittleEndian.Uint32(p[8:]))
	return body, raw, body <= maxLong && raw <= maxLong
}

func (m *Message) parse(p []byte) error {
	nb, nr, ok := m.head(p)
	if !ok || p[2]&^flagLong != 0 {
		return ErrProtocol
	}
	body := append([]byte(nil), p[headSize:]...)
	if p[2]&flagLong != 0 {
		if len(m.Files) == 0 || len(body) != 0 {
			return ErrProtocol
		}
		long, err := readLong(m.Files[0], nb+nr)
		_ = unix.Close(m.Files[0])
		m.Files = m.Files[1:]
		if err != nil {
			return err
		}
		body = long
	}
	if len(body) != nb+nr {
		return ErrProtocol
	}
	m.Body, m.Raw = body[:nb:nb], body[nb:]
	return nil
}

func rights(oob []byte) []int {
	var fds []int
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range list {
		if got, err := unix.ParseUnixRights(&list[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

func longBody(parts ...[]byte) (int, error) {
	fd, err := unix.MemfdCreate("belljar-message", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	for _, p := range parts {
		for len(p) > 0 {
			n, err := unix.Write(fd, p)
			if err != nil && err != unix.EINTR {
				_ = unix.Close(fd)
				return -1, os.NewSyscallError("write", err)
			}
			p = p[max(n, 0):]
		}
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	if err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

func readLong(fd, n int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Size != int64(n) { // before so much is allocated
		return nil, ErrProtocol
	}
	b := make([]byte, n)
	for done := 0; done < n; {
		k, err := unix.Pread(fd, b[done:], int64(done))
		if err != nil && err != unix.EINTR {
			return nil, os.NewSyscallError("pread", err)
		}
		if k == 0 && err == nil {
			return nil, ErrProtocol
		}
		done += max(k, 0)
	}
	return b, nil
}
