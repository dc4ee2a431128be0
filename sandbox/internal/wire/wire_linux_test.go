package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func pair(t testing.TB) (*Conn, *Conn) {
	t.Helper()
	fa, fb, err := Pair()
	require.NoError(t, err)
	a, err := NewConn(fa)
	require.NoError(t, err)
	b, err := NewConn(fb)
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

// raw is one end as a bare socket, for packets that Send would never make.
func raw(t testing.TB) (int, *Conn) {
	t.Helper()
	fa, fb, err := Pair()
	require.NoError(t, err)
	b, err := NewConn(fb)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fa); _ = b.Close() })
	return fa, b
}

func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

func TestRoundTrip(t *testing.T) {
	a, b := pair(t)
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	for _, size := range []int{0, 1, maxPacket - 100, maxPacket, maxPacket + 1, 3 << 20} {
		body := bytes.Repeat([]byte{byte(size)}, size)
		sent := make(chan error, 1)
		go func() { sent <- a.Send(Start, 7, BoxRequest{Box: 9}, body, []int{int(null.Fd()), int(null.Fd())}) }()
		m, err := b.Receive()
		require.NoError(t, err)
		require.NoError(t, <-sent)
		var req BoxRequest
		require.NoError(t, m.Decode(&req))
		assert.Equal(t, []any{Start, uint64(7), uint64(9), 2}, []any{m.Kind, m.ID, req.Box, len(m.Files)}, size)
		assert.True(t, bytes.Equal(body, m.Raw), size)
		for _, fd := range m.Files {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			require.NoError(t, err)
			assert.Equal(t, unix.FD_CLOEXEC, flags&unix.FD_CLOEXEC)
		}
		m.CloseFiles()
	}
}

func TestManyDescriptors(t *testing.T) {
	a, b := pair(t)
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	fds := make([]int, MaxFiles)
	for i := range fds {
		fds[i] = int(null.Fd())
	}
	for _, body := range [][]byte{nil, make([]byte, maxPacket+1)} {
		require.NoError(t, a.Send(Start, 1, nil, body, fds))
		m, err := b.Receive()
		require.NoError(t, err)
		assert.Len(t, m.Files, MaxFiles)
		m.CloseFiles()
	}
	assert.ErrorIs(t, a.Send(Start, 1, nil, nil, append(fds, fds[0])), unix.E2BIG)
	assert.ErrorIs(t, a.Send(Start, 1, nil, make([]byte, maxLong+1), nil), unix.E2BIG)
	require.NoError(t, a.Send(Start, 2, nil, nil, nil), "the connection is still good")
	m, err := b.Receive()
	require.NoError(t, err)
	assert.EqualValues(t, 2, m.ID)
}

func TestConcurrentSends(t *testing.T) {
	a, b := pair(t)
	const senders, each = 8, 50
	var wg sync.WaitGroup
	for s := range senders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				assert.NoError(t, a.Send(Reply, uint64(s*each+i), Answer{PID: s}, bytes.Repeat([]byte{byte(s)}, 5000), nil))
			}
		}()
	}
	seen := map[uint64]bool{}
	for range senders * each {
		m, err := b.Receive()
		require.NoError(t, err)
		assert.False(t, seen[m.ID])
		seen[m.ID] = true
		assert.Equal(t, bytes.Repeat([]byte{byte(m.ID / each)}, 5000), m.Raw)
	}
	wg.Wait()
}

// head makes the fixed part of a packet.
func head(ver, kind, flags byte, nj, nr uint32, id uint64) []byte {
	p := make([]byte, headSize)
	p[0], p[1], p[2] = ver, kind, flags
	binary.LittleEndian.PutUint32(p[4:], nj)
	binary.LittleEndian.PutUint32(p[8:], nr)
	binary.LittleEndian.PutUint64(p[12:], id)
	return p
}

func memfd(t testing.TB, size int) int {
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	require.NoError(t, unix.Ftruncate(fd, int64(size)))
	return fd
}

// What is no message is refused; descriptors that came with it are closed.
func TestMalformed(t *testing.T) {
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	pipe := make([]int, 2)
	require.NoError(t, unix.Pipe(pipe))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	short := memfd(t, 10)
	defer unix.Close(short)
	for name, c := range map[string]struct {
		packet []byte
		files  []int
	}{
		"one byte":                {[]byte{1}, nil},
		"short head":              {head(version, 1, 0, 0, 0, 0)[:headSize-1], []int{int(null.Fd())}},
		"other version":           {head(version+1, 1, 0, 0, 0, 0), nil},
		"unknown flag":            {head(version, 1, 2, 0, 0, 0), nil},
		"missing body":            {head(version, 1, 0, 5, 5, 0), []int{int(null.Fd())}},
		"body too long":           {append(head(version, 1, 0, 1, 1, 0), "abc"...), nil},
		"sizes overflow":          {append(head(version, 1, 0, 1<<31, 1<<31, 0), "abc"...), nil},
		"sizes wrap":              {head(version, 1, 0, 1<<32-1, 1, 0), nil},
		"long without descriptor": {head(version, 1, flagLong, 1, 1, 0), nil},
		"long with body":          {append(head(version, 1, flagLong, 1, 1, 0), 1, 2), []int{int(null.Fd())}},
		"long of an empty file":   {head(version, 1, flagLong, 100, 100, 0), []int{int(null.Fd()), int(null.Fd())}},
		"long of a short file":    {head(version, 1, flagLong, 100, 100, 0), []int{short}},
		"long of a pipe":          {head(version, 1, flagLong, 100, 100, 0), []int{pipe[0]}},
		"long and huge":           {head(version, 1, flagLong, maxLong+1, 0, 0), []int{short}},
		"too long for a packet":   {append(head(version, 1, 0, maxPacket, 0, 0), make([]byte, maxPacket+1)...), nil},
	} {
		t.Run(name, func(t *testing.T) {
			fd, conn := raw(t)
			before := openFiles(t)
			var oob []byte
			if c.files != nil {
				oob = unix.UnixRights(c.files...)
			}
			require.NoError(t, unix.Sendmsg(fd, c.packet, oob, nil, 0))
			m, err := conn.Receive()
			assert.Error(t, err)
			assert.NotErrorIs(t, err, io.EOF, "not taken for the end")
			assert.Nil(t, m)
			assert.LessOrEqual(t, openFiles(t), before)
			require.NoError(t, unix.Sendmsg(fd, head(version, 9, 0, 0, 0, 1), nil, nil, 0))
			m, err = conn.Receive()
			require.NoError(t, err, "the next one is read")
			assert.EqualValues(t, 9, m.Kind)
		})
	}
}

func TestTooManyDescriptorsAreClosed(t *testing.T) {
	fd, conn := raw(t)
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	fds := make([]int, 253)
	for i := range fds {
		fds[i] = int(null.Fd())
	}
	before := openFiles(t)
	require.NoError(t, unix.Sendmsg(fd, head(version, 1, 0, 0, 0, 0), unix.UnixRights(fds...), nil, 0))
	m, err := conn.Receive()
	if err == nil {
		m.CloseFiles()
	}
	assert.LessOrEqual(t, openFiles(t), before)
}

func TestEndOfTheOtherSide(t *testing.T) {
	a, b := pair(t)
	require.NoError(t, a.Send(Ready, 0, Hello{PID: 1}, nil, nil))
	require.NoError(t, a.Close())
	require.NoError(t, a.Close(), "again")
	_, err := b.Receive()
	require.NoError(t, err, "what was sent before is delivered")
	_, err = b.Receive()
	assert.ErrorIs(t, err, io.EOF)
	assert.ErrorIs(t, b.Send(Ready, 0, nil, nil, nil), unix.EPIPE)
	c, d := pair(t)
	ended := make(chan error, 1)
	go func() { _, err := c.Receive(); ended <- err }()
	time.Sleep(time.Millisecond)
	require.NoError(t, d.Close())
	assert.ErrorIs(t, <-ended, io.EOF)
	ended = make(chan error, 1)
	e, _ := pair(t)
	go func() { _, err := e.Receive(); ended <- err }()
	time.Sleep(time.Millisecond)
	require.NoError(t, e.Close())
	assert.Error(t, <-ended, "closing one's own end wakes the reader")
}

func FuzzReceive(f *testing.F) {
	f.Add(head(version, 1, 0, 0, 0, 0))
	f.Add(append(head(version, 1, 0, 2, 1, 5), "abx"...))
	f.Add(head(version, 1, flagLong, 8, 8, 0))
	f.Add(head(version, 1, flagLong, 1<<31, 1<<31, 0))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) == 0 || len(p) > maxPacket+2*headSize {
			return
		}
		fd, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC)
		require.NoError(t, err)
		_, err = unix.Write(fd, p)
		require.NoError(t, err)
		m := &Message{Files: []int{fd}}
		if err := m.parse(p); err == nil {
			if len(m.Body)+len(m.Raw) > len(p) {
				t.Fatalf("%d bytes out of %d", len(m.Body)+len(m.Raw), len(p))
			}
			var v CreateRequest
			_ = m.Decode(&v)
		}
		m.CloseFiles()
	})
}

// Who waits at a line is told apart what has come there and what elsewhere.
func TestLineWaits(t *testing.T) {
	a, b, err := Pair()
	require.NoError(t, err)
	ours, theirs := NewLine(a), NewLine(b)
	defer ours.Close()
	defer theirs.Close()
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	for _, wait := range []func(time.Duration, ...int) bool{ours.Spin, ours.Wait} {
		assert.False(t, wait(time.Millisecond, p[0]), "nothing has come")
		_, err = unix.Write(p[1], []byte("x"))
		require.NoError(t, err)
		assert.False(t, wait(time.Hour, p[0]), "that was not the line")
		require.NoError(t, theirs.Send(Limit, 7, &LimitNotice{Wall: time.Second}, nil))
		assert.True(t, wait(time.Hour, p[0]))
		assert.True(t, wait(time.Hour))
		m, err := ours.Receive()
		require.NoError(t, err)
		var n LimitNotice
		require.NoError(t, m.Decode(&n))
		assert.Equal(t, []any{Limit, uint64(7), time.Second}, []any{m.Kind, m.ID, n.Wall})
		_, err = unix.Read(p[0], make([]byte, 8))
		require.NoError(t, err)
	}
	ours.Rest()
}
