//go:build linux

package launch

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// aheadBase is a base that can be walked ahead of time: its one file becomes standard output, whoever brings it.
func aheadBase(before func(b *plan.Builder)) *plan.Plan {
	b := builder(Direct)
	out, sock := b.Input("out"), b.Reg("socket")
	forkStep(b)
	b.Call(unix.SYS_SETSID, "setsid", "process")
	if before != nil {
		before(b)
	}
	b.Call(unix.SYS_DUP3, "dup3", "socket", plan.R(sock), plan.Int(1), plan.Int(unix.O_CLOEXEC)).Tolerate(unix.EBADF).Skipping(4)
	b.Call(unix.SYS_CLOSE_RANGE, "close_range", "descriptors", plan.Int(2), plan.Int(1<<32-1), plan.Zero)
	b.Call(unix.SYS_CLOSE_RANGE, "close_range", "descriptors", plan.Zero, plan.Zero, plan.Zero)
	b.Call(unix.SYS_RECVMSG, "recvmsg", "files", plan.Int(1), b.Room(1), plan.Zero).Wanting(1)
	b.Jump(1)
	b.Call(unix.SYS_DUP3, "dup3", "out", plan.R(out), plan.Zero, plan.Zero)
	b.Call(unix.SYS_DUP3, "dup3", "out", plan.Zero, plan.Int(1), plan.Zero)
	return b.Plan()
}

const aheadSocket = plan.Reg(1)

func echo(base *plan.Plan) *plan.Plan {
	b := plan.After(base)
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", "/bin/echo", b.Str("/bin/echo"), b.Strings([]string{"echo", "hello"}), b.Strings(nil))
	return b.Plan()
}

func ready(t *testing.T, j *Joiner) *Ready {
	t.Helper()
	return readyAt(t, j, nil)
}

func readyAt(t *testing.T, j *Joiner, port *Port) *Ready {
	t.Helper()
	for !waits(j) {
		time.Sleep(time.Millisecond)
	}
	rd, err := j.Prepare(&Request{Cgroup: -1}, aheadSocket, port, nil)
	require.NoError(t, err)
	t.Cleanup(rd.Discard)
	return rd
}

func TestReady(t *testing.T) {
	base := aheadBase(nil)
	j := joiner(t, base)
	for _, late := range []time.Duration{0, 5 * time.Millisecond} {
		for range 10 {
			rd := ready(t, j)
			time.Sleep(late)
			r, w, err := os.Pipe() // a descriptor that it has not been made with
			require.NoError(t, err)
			require.True(t, rd.Serves(base))
			pid := int(rd.l.ctl.pid)
			if late > 0 {
				held, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
				for end := time.Now().Add(patience); err == nil && len(held) != 1 && time.Now().Before(end); time.Sleep(time.Millisecond) {
					held, err = os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
				}
				if os.Geteuid() == 0 || err == nil {
					require.NoError(t, err)
					assert.Len(t, held, 1, "a socket is all it has")
				}
			}
			p, err := Launch(&Request{Plan: echo(base), Files: []int{int(w.Fd())}, Mode: Join, Cgroup: -1, Program: 1, Ready: rd, Joiner: j})
			require.NoError(t, err)
			assert.Equal(t, pid, p.PID)
			assert.Equal(t, 0, wait(t, p).ExitStatus())
			require.NoError(t, w.Close())
			b := make([]byte, 16)
			n, _ := r.Read(b)
			assert.Equal(t, "hello\n", string(b[:n]))
			n, _ = r.Read(b)
			assert.Zero(t, n, "nobody else has the other end")
			require.NoError(t, r.Close())
			assert.False(t, rd.Serves(base))
			rd.Discard()
		}
	}
	_, err := os.Stdout.Stat()
	require.NoError(t, err, "this process has its own still")
}

// Nothing is made ready that lacks something which is needed before its files are: a ruleset that is -1 is none to the kernel.
func TestReadyLacks(t *testing.T) {
	b := builder(Direct)
	rules, out, sock := b.Input("rules"), b.Input("out"), b.Reg("socket")
	forkStep(b)
	b.Call(unix.SYS_FCNTL, "fcntl", "rules", plan.R(rules), plan.Int(unix.F_GETFD), plan.Zero).Tolerate()
	b.Call(unix.SYS_RECVMSG, "recvmsg", "files", plan.R(sock), b.Room(1), plan.Zero)
	b.Call(unix.SYS_DUP3, "dup3", "out", plan.R(out), plan.Int(1), plan.Zero)
	base := b.Plan()
	j := joiner(t, base)
	for _, c := range []struct {
		files []int
		lacks bool
	}{{nil, true}, {[]int{-1}, true}, {[]int{0}, false}} {
		for !waits(j) {
			time.Sleep(time.Millisecond)
		}
		rd, err := j.Prepare(&Request{Cgroup: -1}, sock, nil, c.files)
		if c.lacks {
			require.ErrorIs(t, err, unix.EBADF)
			continue
		}
		require.NoError(t, err, "the control")
		rd.Discard()
	}
}

// Such a base does in a launch that is made at once what others do, whoever makes it.
func TestAheadAtOnce(t *testing.T) {
	base := aheadBase(nil)
	for _, p := range []*plan.Plan{echo(base), echo(base).Whole()} {
		for _, m := range []Mode{Join, Copy} {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			pr, err := Launch(&Request{Plan: p, Files: []int{int(w.Fd())}, Mode: m, Cgroup: -1})
			require.NoError(t, err)
			assert.Equal(t, 0, wait(t, pr).ExitStatus())
			_, _ = w.Close(), r.Close()
		}
	}
}

// Whatever has become of it, the launch is made.
func TestReadyFails(t *testing.T) {
	base := aheadBase(nil)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	require.NoError(t, err)
	defer null.Close()
	files := []int{int(null.Fd())}
	for name, spoil := range map[string]func(j *Joiner, rd *Ready, r *Request){
		"killed": func(_ *Joiner, rd *Ready, _ *Request) {
			_ = unix.PidfdSendSignal(rd.l.descriptor(), unix.SIGKILL, nil, 0)
		},
		"joiner killed": func(j *Joiner, _ *Ready, _ *Request) { j.kill() },
		"discarded":     func(_ *Joiner, rd *Ready, _ *Request) { rd.Discard() },
		"other base":    func(_ *Joiner, _ *Ready, r *Request) { r.Plan = echo(aheadBase(nil)) },
		"too long": func(_ *Joiner, _ *Ready, r *Request) {
			b := plan.After(base)
			for range restSteps + 1 {
				b.Call(unix.SYS_GETPID, "getpid", "", []plan.Arg{}...)
			}
			execTrue(b, "/bin/true")
			r.Plan = b.Plan()
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := joiner(t, base)
			rd := ready(t, j)
			r := &Request{Plan: echo(base), Files: files, Mode: Join, Cgroup: -1, Program: 1, Ready: rd, Joiner: j}
			spoil(j, rd, r)
			p, err := Launch(r)
			require.NoError(t, err)
			_ = wait(t, p)
			rd.Discard()
		})
	}
	t.Run("step", func(t *testing.T) {
		j := joiner(t, base)
		b := plan.After(base)
		b.Call(unix.SYS_CHDIR, "chdir", "/nonexistent", b.Str("/nonexistent"))
		execTrue(b, "/bin/true")
		_, err := Launch(&Request{Plan: b.Plan(), Files: files, Mode: Join, Cgroup: -1, Program: 1, Ready: ready(t, j)})
		var se *StepError
		require.ErrorAs(t, err, &se)
		assert.Equal(t, len(base.Child), se.Step)
		assert.ErrorIs(t, err, unix.ENOENT)
	})
	t.Run("hangs", func(t *testing.T) {
		j := joiner(t, base)
		b := plan.After(base)
		hangForever(b)
		_, err := Launch(&Request{Plan: b.Plan(), Files: files, Mode: Join, Cgroup: -1, Program: 1, Ready: ready(t, j), Until: time.Now().Add(20 * time.Millisecond)})
		require.ErrorIs(t, err, unix.ETIMEDOUT)
	})
	t.Run("killed by its handle", func(t *testing.T) {
		j := joiner(t, base)
		b := plan.After(base)
		hangForever(b)
		h := &Handle{}
		time.AfterFunc(5*time.Millisecond, h.Kill)
		p, err := Launch(&Request{Plan: b.Plan(), Files: files, Mode: Join, Cgroup: -1, Program: 1, Ready: ready(t, j), Handle: h})
		if err == nil {
			assert.Equal(t, unix.SIGKILL, wait(t, p).Signal())
		}
	})
	t.Run("cannot be", func(t *testing.T) {
		bad := aheadBase(func(b *plan.Builder) { b.Call(unix.SYS_CHDIR, "chdir", "/nonexistent", b.Str("/nonexistent")) })
		j := joiner(t, bad)
		rd, err := j.Prepare(&Request{Cgroup: -1}, aheadSocket, nil, nil)
		if err == nil { // it had not come so far
			_, err = Launch(&Request{Plan: echo(bad), Files: files, Mode: Join, Cgroup: -1, Program: 1, Ready: rd})
		}
		require.ErrorIs(t, err, unix.ENOENT)
	})
	childless(t)
}
