//go:build linux

package launch

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// desk is all that a report needs, and what comes of it.
type desk struct {
	t          *testing.T
	alone      *os.File // "0\n" if nobody is left
	other      *os.File
	ours, line int
	told       [2]int
	stop       int
	timer      int
	report     *Report
	port       *Port
	rooms      []int
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, rooms: []int{20, 256}}
	file := func(name, text string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		_, err = f.WriteString(text)
		require.NoError(t, err)
		return f
	}
	d.alone, d.other = file("alone", "0\n"), file("other", "usage 17\n")
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	d.ours, d.line = pair[0], pair[1]
	require.NoError(t, unix.Pipe2(d.told[:], unix.O_CLOEXEC))
	d.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(t, err)
	d.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	require.NoError(t, err)
	d.port, err = NewPort()
	require.NoError(t, err)
	t.Cleanup(func() {
		d.port.Close()
		assert.Negative(t, d.port.near, "nobody has it")
		for _, fd := range []int{d.ours, d.line, d.told[0], d.told[1], d.stop, d.timer} {
			_ = unix.Close(fd)
		}
	})
	d.report = NewReport(5, []ReportFile{{20}, {256}}, Alone{File: 0, At: 0, Word: binary.NativeEndian.Uint32([]byte("0\n\x00\x00"))})
	return d
}

func (d *desk) start(rd *Ready) *Reporter {
	d.t.Helper()
	require.True(d.t, rd.Has(d.port), "the one before has left it")
	require.True(d.t, rd.Arm(&Handle{}))
	require.NoError(d.t, rd.Offer([]byte("offer")))
	p, err := d.report.Start(rd, []byte("HEAD!"), 42, d.line, d.told[1], d.stop, d.timer, []int{int(d.alone.Fd()), int(d.other.Fd())})
	require.NoError(d.t, err)
	return p
}

// toldOf returns when a reporter says that it is done.
func (d *desk) toldOf(p *Reporter) {
	d.t.Helper()
	var b [8]byte
	n, err := unix.Read(d.told[0], b[:])
	require.NoError(d.t, err)
	require.Equal(d.t, 8, n)
	assert.EqualValues(d.t, 42, binary.NativeEndian.Uint64(b[:]))
	p.Await()
}

// claims is what the other process does with an offer.
func claims(t *testing.T, rd *Ready) {
	t.Helper()
	b := make([]byte, 10)
	n, _, err := unix.Recvfrom(rd.port.Near(), b, unix.MSG_DONTWAIT)
	require.NoError(t, err)
	require.Equal(t, "offer", string(b[:n]))
}

// use is what it does with the process.
func use(t *testing.T, rd *Ready, p *plan.Plan, file int) {
	t.Helper()
	packet, ok := rd.Place().Packet(p)
	require.True(t, ok)
	claims(t, rd)
	require.NoError(t, unix.Sendmsg(rd.port.Near(), packet, unix.UnixRights(file), nil, unix.MSG_NOSIGNAL))
}

func (d *desk) null() int {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = null.Close() })
	return int(null.Fd())
}

func (d *desk) receive() (Reported, bool) {
	d.t.Helper()
	b := make([]byte, 4096)
	n, _, err := unix.Recvfrom(d.ours, b, unix.MSG_DONTWAIT)
	if err != nil {
		return Reported{}, false
	}
	require.Equal(d.t, "HEAD!", string(b[:5]))
	r, ok := ParseReport(b[5:n], d.rooms)
	require.True(d.t, ok)
	return r, true
}

func exit(base *plan.Plan, path string, args ...string) *plan.Plan {
	b := plan.After(base)
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", path, b.Str(path), b.Strings(append([]string{path}, args...)), b.Strings(nil))
	return b.Plan()
}

func TestReport(t *testing.T) {
	base := aheadBase(nil)
	j := joiner(t, base)
	d := newDesk(t)
	null := d.null()
	for range 5 {
		rd := readyAt(t, j, d.port)
		p := d.start(rd)
		var from unix.Timespec
		require.NoError(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &from))
		use(t, rd, exit(base, "/bin/sh", "-c", "exit 7"), null)
		d.toldOf(p)
		r, ok := d.receive()
		require.True(t, ok)
		assert.True(t, p.Sent())
		assert.Equal(t, 7, r.Status.ExitStatus())
		assert.Greater(t, r.Now, time.Duration(from.Nano()))
		assert.Positive(t, r.Usage.Maxrss)
		assert.Greater(t, r.Progress, Receives(base))
		assert.Zero(t, r.Errno)
		assert.Equal(t, [][]byte{[]byte("0\n"), []byte("usage 17\n")}, r.Texts)
		ws, _, ok := p.Waited()
		require.True(t, ok)
		assert.Equal(t, r.Status, ws)
		received, failed := rd.Over()
		assert.True(t, received)
		assert.False(t, failed)
		p.Close()
	}

	rd := readyAt(t, j, d.port)
	p := d.start(rd)
	use(t, rd, exit(base, "/no/such/program"), null)
	d.toldOf(p)
	r, ok := d.receive()
	require.True(t, ok)
	assert.Equal(t, unix.ENOENT, r.Errno)
	received, failed := rd.Over()
	assert.True(t, received)
	assert.True(t, failed, "nothing has run")
	p.Close()
}

// Where somebody is left it is for others to see to it; that it was waited for they know.
func TestReportLeftovers(t *testing.T) {
	base := aheadBase(nil)
	j := joiner(t, base)
	d := newDesk(t)
	_, err := d.alone.WriteAt([]byte("3\n"), 0)
	require.NoError(t, err)
	rd := readyAt(t, j, d.port)
	p := d.start(rd)
	use(t, rd, exit(base, "/bin/true"), d.null())
	d.toldOf(p)
	assert.False(t, p.Sent())
	_, ok := d.receive()
	assert.False(t, ok)
	ws, _, ok := p.Waited()
	assert.True(t, ok)
	assert.Equal(t, 0, ws.ExitStatus())
	rd.Over()
	p.Close()
}

// A process that is killed before it has anything to do is not taken for one that did it.
func TestReportOfNothing(t *testing.T) {
	base := aheadBase(nil)
	j := joiner(t, base)
	d := newDesk(t)
	rd := readyAt(t, j, d.port)
	p := d.start(rd)
	require.NoError(t, unix.PidfdSendSignal(rd.l.descriptor(), unix.SIGKILL, nil, 0))
	d.toldOf(p)
	r, ok := d.receive()
	require.True(t, ok)
	assert.LessOrEqual(t, r.Progress, Receives(base))
	received, _ := rd.Over()
	assert.False(t, received)
	p.Close()
}

// One whose timer runs out leaves the process to others and says so.
func TestReportTimer(t *testing.T) {
	base := aheadBase(nil)
	j := joiner(t, base)
	d := newDesk(t)
	null := d.null()
	for _, late := range []bool{true, false} {
		rd := readyAt(t, j, d.port)
		p := d.start(rd)
		left := time.Hour
		if late {
			left = time.Millisecond
		}
		require.NoError(t, unix.TimerfdSettime(d.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}, nil))
		argv := []string{"/bin/sh", "-c", "exit 3"}
		if late {
			argv = []string{"/bin/sleep", "1000"} // no shell, whose child would be left
		}
		use(t, rd, exit(base, argv[0], argv[1:]...), null)
		d.toldOf(p)
		_, sent := d.receive()
		assert.Equal(t, late, !sent)
		assert.Equal(t, late, p.Early())
		ws, _, waited := p.Waited()
		assert.Equal(t, late, !waited)
		p.Close()
		require.NoError(t, unix.TimerfdSettime(d.timer, 0, &unix.ItimerSpec{}, nil))
		if !late {
			assert.Equal(t, 3, ws.ExitStatus())
			rd.Over()
			continue
		}
		proc, received, err := rd.Follow(time.Now().Add(patience))
		require.NoError(t, err)
		assert.True(t, received)
		require.NoError(t, unix.PidfdSendSignal(proc.PIDFD, unix.SIGKILL, nil, 0))
		assert.Equal(t, unix.SIGKILL, wait(t, proc).Signal())
	}
}

// The stop of a process that has this one trace it is no end, also for who looks at it because its time is up.
func TestReportOfTraced(t *testing.T) {
	base := aheadBase(nil)
	j := joiner(t, base)
	d := newDesk(t)
	b := plan.After(base)
	b.Call(unix.SYS_PTRACE, "ptrace", "process", plan.Int(unix.PTRACE_TRACEME), plan.Zero, plan.Zero, plan.Zero)
	b.Call(unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", "process", plan.Int(unix.SIG_SETMASK), b.Words("[]", 0), plan.Null, plan.Int(8)) // the exec's SIGTRAP
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", "/bin/sleep", b.Str("/bin/sleep"), b.Strings([]string{"sleep", "1000"}), b.Strings(nil))
	rd := readyAt(t, j, d.port)
	p := d.start(rd)
	use(t, rd, b.Plan(), d.null())
	require.Greater(t, tells(t, rd.PID()), int32(cldDumped), "the control: wait4 would tell of it")
	require.NoError(t, unix.TimerfdSettime(d.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(1)}, nil))
	d.toldOf(p)
	ws, _, waited := p.Waited()
	assert.False(t, waited, ws)
	assert.True(t, p.Early())
	_, sent := d.receive()
	assert.False(t, sent)
	p.Close()
	proc, received, err := rd.Follow(time.Now().Add(patience))
	require.NoError(t, err)
	assert.True(t, received)
	require.NoError(t, unix.PidfdSendSignal(proc.PIDFD, unix.SIGKILL, nil, 0))
	assert.Equal(t, unix.SIGKILL, wait(t, proc).Signal())
}

// One that is told to stop leaves the process alone, whoever has it then.
func TestReportStopped(t *testing.T) {
	base := aheadBase(nil)
	j := joiner(t, base)
	d := newDesk(t)
	null := d.null()
	halt := func(p *Reporter) {
		t.Helper()
		_, err := unix.Write(d.stop, binary.NativeEndian.AppendUint64(nil, 1))
		require.NoError(t, err)
		p.Await()
		var b [8]byte
		_, err = unix.Read(d.stop, b[:])
		require.NoError(t, err)
		assert.False(t, p.Sent())
		_, _, ok := p.Waited()
		assert.False(t, ok)
		p.Close()
	}
	rd := readyAt(t, j, d.port)
	p := d.start(rd)
	halt(p)
	require.True(t, rd.Disarm(), "nobody has used it")
	assert.True(t, rd.Serves(base), "it is what it was before")
	proc, err := Launch(&Request{Plan: exit(base, "/bin/sh", "-c", "exit 5"), Files: []int{null}, Mode: Join, Cgroup: -1, Program: 1, Ready: rd})
	require.NoError(t, err)
	assert.Equal(t, 5, wait(t, proc).ExitStatus())

	rd = readyAt(t, j, d.port)
	p = d.start(rd)
	use(t, rd, exit(base, "/bin/sleep", "1000"), null)
	assert.False(t, rd.Disarm(), "it is somebody's")
	halt(p)
	proc, received, err := rd.Follow(time.Now().Add(patience))
	require.NoError(t, err)
	assert.True(t, received)
	require.NoError(t, unix.PidfdSendSignal(proc.PIDFD, unix.SIGKILL, nil, 0))
	assert.Equal(t, unix.SIGKILL, wait(t, proc).Signal())

	rd = readyAt(t, j, d.port)
	p = d.start(rd)
	claims(t, rd)
	assert.False(t, rd.Disarm(), "somebody is about to use it")
	halt(p)
	rd.Abandon()
	assert.True(t, rd.dead())
}
