//go:build linux

package launch

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// slow is somebody who has been told of a process, and takes his time to use it.
type slow struct {
	t      *testing.T
	port   *Port
	near   int // his copy
	packet []byte
	w      *os.File // goes along with the packet
	r      *os.File
}

func newSlow(t *testing.T, rd *Ready, p *plan.Plan) *slow {
	s := &slow{t: t, port: rd.port}
	var err error
	s.near, err = unix.FcntlInt(uintptr(rd.port.Near()), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	var ok bool
	s.packet, ok = rd.Place().Packet(p)
	require.True(t, ok)
	s.r, s.w, err = os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _, _ = unix.Close(s.near), s.r.Close(), s.w.Close() })
	return s
}

func (s *slow) send() error {
	return unix.Sendmsg(s.near, s.packet, unix.UnixRights(int(s.w.Fd())), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
}

// printed is what has come out of the pipe that went along, when nobody has that any more.
func (s *slow) printed() string {
	require.NoError(s.t, s.w.Close())
	require.NoError(s.t, s.r.SetReadDeadline(time.Now().Add(time.Minute)))
	b := make([]byte, 100)
	n, err := s.r.Read(b)
	if err != nil {
		assert.EqualError(s.t, err, "EOF")
	}
	return string(b[:max(n, 0)])
}

func kill(rd *Ready) { _ = unix.PidfdSendSignal(rd.l.descriptor(), unix.SIGKILL, nil, 0) }

func awaitDead(t *testing.T, rd *Ready) {
	t.Helper()
	require.Eventually(t, rd.dead, time.Minute, time.Millisecond)
}

// What was meant for a process that is gone comes to no other, whenever it was sent and whatever became of the process.
func TestPortStale(t *testing.T) {
	base := aheadBase(nil)
	null := newDesk(t).null()
	for name, c := range map[string]struct {
		ends  func(rd *Ready, s *slow) // the process that was offered, which has received nothing
		clean bool
	}{
		"killed, and then it is sent": {func(rd *Ready, s *slow) { kill(rd); awaitDead(t, rd); require.NoError(t, s.send()); rd.Over() }, false},
		"killed, never sent":          {func(rd *Ready, _ *slow) { kill(rd); rd.Over() }, false},
		"sent, but not looked at": {func(rd *Ready, s *slow) {
			_ = unix.PidfdSendSignal(rd.l.descriptor(), unix.SIGSTOP, nil, 0)
			require.Eventually(t, func() bool { return isStopped(rd.PID()) }, time.Minute, time.Millisecond)
			require.NoError(t, s.send())
			kill(rd)
			rd.Over()
		}, false},
		"gone with, and killed": {func(rd *Ready, s *slow) {
			kill(rd)
			p, received, err := rd.Follow(time.Now().Add(time.Minute))
			require.NoError(t, err)
			assert.False(t, received)
			assert.Equal(t, unix.SIGKILL, wait(t, p).Signal())
		}, false},
		"gone with, and given up": {func(rd *Ready, s *slow) {
			_, received, err := rd.Follow(time.Now().Add(20 * time.Millisecond))
			assert.False(t, received)
			require.ErrorIs(t, err, unix.ETIMEDOUT)
		}, false},
		"he says that he has not": {func(rd *Ready, _ *slow) { rd.Abandon() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			j := joiner(t, base)
			port, err := NewPort()
			require.NoError(t, err)
			defer port.Close()
			rd := readyAt(t, j, port)
			require.True(t, rd.Arm(&Handle{}))
			require.NoError(t, rd.Offer([]byte("offer")))
			s := newSlow(t, rd, echo(base))
			claims(t, rd)
			assert.False(t, rd.Disarm(), "it is his")
			assert.False(t, port.Usable())
			c.ends(rd, s)

			assert.Equal(t, c.clean, port.Usable())
			if !c.clean {
				require.ErrorIs(t, s.send(), unix.EPIPE, "too late")
			}
			j = joiner(t, base) // the other may have been ended too
			next := readyAt(t, j, port)
			assert.Equal(t, c.clean, next.Has(port))
			if c.clean {
				next.Discard()
			} else { // it waits for a packet of its own
				p, err := Launch(&Request{Plan: exit(base, "/bin/sh", "-c", "exit 5"), Files: []int{null}, Mode: Join, Cgroup: -1, Program: 1, Ready: next, Joiner: j})
				require.NoError(t, err)
				assert.Equal(t, 5, wait(t, p).ExitStatus())
			}
			assert.Empty(t, s.printed(), "it has not been executed, and nobody holds its file")
		})
	}
	childless(t)
}

// A process that this one launches itself, and that dies before it looks at what it is sent, leaves nothing to the next either.
func TestPortStaleLaunch(t *testing.T) {
	base := aheadBase(nil)
	null := newDesk(t).null()
	j := joiner(t, base)
	port, err := NewPort()
	require.NoError(t, err)
	defer port.Close()
	rd := readyAt(t, j, port)
	_ = unix.PidfdSendSignal(rd.l.descriptor(), unix.SIGSTOP, nil, 0)
	require.Eventually(t, func() bool { return isStopped(rd.PID()) }, time.Minute, time.Millisecond)
	r := &Request{Plan: echo(base), Files: []int{null}, Mode: Join, Cgroup: -1, Program: 1, Ready: rd, Joiner: j, Until: time.Now().Add(20 * time.Millisecond)}
	_, err = Launch(r)
	require.ErrorIs(t, err, unix.ETIMEDOUT)
	assert.False(t, port.Usable())
	j.Close()
	childless(t)
}

// One port serves process after process, whoever uses them, and those that nobody has used or been told of.
func TestPortAgain(t *testing.T) {
	base := aheadBase(nil)
	j := joiner(t, base)
	null := newDesk(t).null()
	port, err := NewPort()
	require.NoError(t, err)
	launch := func(rd *Ready) {
		p, err := Launch(&Request{Plan: exit(base, "/bin/sh", "-c", "exit 5"), Files: []int{null}, Mode: Join, Cgroup: -1, Program: 1, Ready: rd, Joiner: j})
		require.NoError(t, err)
		assert.Equal(t, 5, wait(t, p).ExitStatus())
	}
	for range 3 {
		for name, f := range map[string]func(rd *Ready){
			"discarded": func(rd *Ready) { rd.Discard() },
			"launched":  launch,
			"no longer offered": func(rd *Ready) {
				require.True(t, rd.Arm(&Handle{}))
				require.NoError(t, rd.Offer([]byte("offer")))
				require.True(t, rd.Disarm())
				launch(rd)
			},
			"never offered": func(rd *Ready) {
				require.True(t, rd.Arm(&Handle{}))
				require.True(t, rd.Disarm())
				rd.Discard()
			},
			"used": func(rd *Ready) {
				require.True(t, rd.Arm(&Handle{}))
				require.NoError(t, rd.Offer([]byte("offer")))
				use(t, rd, exit(base, "/bin/sh", "-c", "exit 6"), null)
				p, received, err := rd.Follow(time.Now().Add(time.Minute))
				require.NoError(t, err)
				assert.True(t, received)
				assert.Equal(t, 6, wait(t, p).ExitStatus())
			},
		} {
			rd := readyAt(t, j, port)
			require.True(t, rd.Has(port), name)
			beside := readyAt(t, joiner(t, base), port)
			require.False(t, beside.Has(port), "another has it")
			beside.Discard()
			f(rd)
			require.True(t, port.Usable(), name)
		}
	}
	// In what is there already nobody can believe.
	require.NoError(t, unix.Send(port.near, []byte("whose?"), 0))
	rd := readyAt(t, j, port)
	assert.False(t, rd.Has(port))
	assert.False(t, port.Usable())
	rd.Discard()
}

func isStopped(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return bytes.HasPrefix(rest, []byte("T"))
}
