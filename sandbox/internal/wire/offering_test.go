//go:build linux

package wire

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOffering(t *testing.T) {
	want := Offering{ID: 1<<63 | 5, Like: 4, PID: 3, Rest: 1 << 47, Data: 1<<47 + 8, Room: 120000, Sheet: []byte("sheet")}
	b := want.Append(nil)
	got, ok := ParseOffering(b)
	require.True(t, ok)
	assert.Equal(t, want, got)
	for n := range offeringHead + 1 {
		_, ok := ParseOffering(b[:n])
		assert.False(t, ok, n)
	}
}

// Who looks at a packet leaves it to who takes it, once, whichever copy of the end that is done with.
func TestLineTakes(t *testing.T) {
	fa, fb, err := Pair()
	require.NoError(t, err)
	defer unix.Close(fa)
	l := NewLine(fb)
	defer l.Close()
	other, err := unix.FcntlInt(uintptr(fb), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	m := NewLine(other)
	defer m.Close()
	b := make([]byte, 10)
	nothing := func() {
		t.Helper()
		for _, f := range []func([]byte) (int, error){l.Peek, l.Take} {
			n, err := f(b)
			require.NoError(t, err)
			require.Zero(t, n)
		}
	}
	send := func(text string) { require.NoError(t, unix.Send(fa, []byte(text), 0)) }
	nothing()
	send("first")
	send("second")
	for range 2 {
		n, err := l.Peek(b)
		require.NoError(t, err)
		assert.Equal(t, "first", string(b[:n]))
	}
	n, err := m.Take(b)
	require.NoError(t, err)
	assert.Equal(t, "first", string(b[:n]))
	n, err = l.Take(b)
	require.NoError(t, err)
	assert.Equal(t, "second", string(b[:n]))
	nothing()

	send("0123456789")
	n, err = l.Take(b)
	require.NoError(t, err)
	assert.Equal(t, 10, n)
	send("longer than there is room")
	_, err = l.Peek(b)
	require.ErrorIs(t, err, ErrProtocol)
	_, err = l.Take(b)
	require.ErrorIs(t, err, ErrProtocol)
	before := openFiles(t)
	require.NoError(t, unix.Sendmsg(fa, bytes.Repeat([]byte{1}, 3), unix.UnixRights(0, 1), nil, 0))
	n, err = l.Take(b)
	require.NoError(t, err)
	assert.Equal(t, 3, n)
	assert.Equal(t, before, openFiles(t), "descriptors are nobody's")

	send("last")
	require.NoError(t, unix.Shutdown(fa, unix.SHUT_RDWR))
	n, err = l.Take(b)
	require.NoError(t, err)
	assert.Equal(t, 4, n)
	for _, f := range []func([]byte) (int, error){l.Peek, l.Take} {
		_, err = f(b)
		require.ErrorIs(t, err, io.EOF)
	}
}
