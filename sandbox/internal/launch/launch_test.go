//go:build linux

package launch

import (
	"os"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func forkStep(b *plan.Builder) {
	s := b.Call(unix.SYS_CLONE3, "clone3", "process", plan.Cell(plan.CellInner), plan.Int(88))
	s.Fork = true
}

func execTrue(b *plan.Builder, path string) {
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", path, b.Str(path), b.Strings([]string{path}), b.Strings(nil))
}

func wait(t *testing.T, p *Process) unix.WaitStatus {
	t.Helper()
	var ws unix.WaitStatus
	_, err := unix.Wait4(p.PID, &ws, unix.WALL, nil)
	require.NoError(t, err)
	require.NoError(t, unix.Close(p.PIDFD))
	return ws
}

var modes = map[string]Mode{"direct": Direct, "join": Join, "copy": Copy}

func builder(m Mode) *plan.Builder {
	b := plan.NewBuilder()
	b.Stage("test")
	if m != Direct {
		forkStep(b)
	}
	return b
}

func TestLaunchExec(t *testing.T) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			b := builder(m)
			execTrue(b, "/bin/true")
			p, err := Launch(&Request{Plan: b.Plan(), Mode: m, Cgroup: -1})
			require.NoError(t, err)
			assert.Equal(t, 0, wait(t, p).ExitStatus())
		})
	}
}

func TestStepFails(t *testing.T) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			b := builder(m)
			b.Call(unix.SYS_GETPID, "getpid", "", []plan.Arg{}...)
			bad := b.Len()
			b.Call(unix.SYS_CHDIR, "chdir", "/nonexistent", b.Str("/nonexistent"))
			execTrue(b, "/bin/true")
			_, err := Launch(&Request{Plan: b.Plan(), Mode: m, Cgroup: -1})
			var se *StepError
			require.ErrorAs(t, err, &se)
			assert.Equal(t, bad, se.Step)
			assert.ErrorIs(t, err, unix.ENOENT)
		})
	}
}

func TestSoftSkipAndRegisters(t *testing.T) {
	b := plan.NewBuilder()
	fd := b.Reg("fd")
	b.Call(unix.SYS_CHDIR, "chdir", "/nonexistent", b.Str("/nonexistent")).Tolerate(unix.ENOENT).Skipping(1)
	b.Call(unix.SYS_CHDIR, "chdir", "/nonexistent", b.Str("/nonexistent"))
	b.Call(unix.SYS_OPENAT, "openat", "/etc", plan.CWD, b.Str("/etc"), plan.Int(unix.O_RDONLY), plan.Zero).To(fd)
	b.Call(unix.SYS_FCHDIR, "fchdir", "/etc", plan.R(fd))
	b.Call(unix.SYS_WRITE, "write", "", plan.Int(-1), b.Str("x"), plan.Int(1)).Tolerate(unix.EBADF)
	execTrue(b, "/bin/true")
	p, err := Launch(&Request{Plan: b.Plan(), Cgroup: -1})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, p.Regs[fd], int64(0))
	cwd, _ := os.Readlink("/proc/self/cwd")
	assert.NotEqual(t, "/etc", cwd, "the child's directory is its own")
	assert.Equal(t, 0, wait(t, p).ExitStatus())
}

func TestHangEndsAtDeadline(t *testing.T) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			b := builder(m)
			b.Call(unix.SYS_PPOLL, "ppoll", "", plan.Null, plan.Zero, plan.Null, plan.Null)
			execTrue(b, "/bin/true")
			start := time.Now()
			_, err := Launch(&Request{Plan: b.Plan(), Mode: m, Cgroup: -1, Until: start.Add(50 * time.Millisecond)})
			require.ErrorIs(t, err, unix.ETIMEDOUT)
		})
	}
}

func BenchmarkLaunch(bm *testing.B) {
	for name, m := range modes {
		bm.Run(name, func(bm *testing.B) {
			for bm.Loop() {
				b := builder(m)
				execTrue(b, "/bin/true")
				p, err := Launch(&Request{Plan: b.Plan(), Mode: m, Cgroup: -1})
				if err != nil {
					bm.Fatal(err)
				}
				_, _ = unix.Wait4(p.PID, nil, unix.WALL, nil)
				_ = unix.Close(p.PIDFD)
			}
		})
	}
	bm.Run("forkexec", func(bm *testing.B) {
		for bm.Loop() {
			p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
			if err != nil {
				bm.Fatal(err)
			}
			_, _ = p.Wait()
		}
	})
}

// The result of a step can be an argument in a struct of a later one, and a plan runs the same after a base.
func TestStoreAndBase(t *testing.T) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			b := builder(m)
			out := b.Input("out")
			b.Call(unix.SYS_FCNTL, "fcntl", "", plan.R(out), plan.Int(unix.F_DUPFD_CLOEXEC), plan.Int(400)).To(b.Reg("copy"))
			b = plan.After(b.Plan())
			number := b.Bytes([]byte{0xee, 0xee, 0xee, 0xee, 'x', 'y', 0, 0}, "number")
			b.Call(unix.SYS_FCNTL, "fcntl", "", plan.R(out), plan.Int(unix.F_DUPFD_CLOEXEC), plan.Int(500)).Into(number, "number")
			b.Call(unix.SYS_WRITE, "write", "", plan.R(out), number, plan.Int(6)).Wanting(6)
			execTrue(b, "/bin/true")
			var pipe [2]int
			require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
			defer unix.Close(pipe[0])
			p, err := Launch(&Request{Plan: b.Plan(), Files: pipe[1:], Mode: m, Cgroup: -1})
			_ = unix.Close(pipe[1])
			require.NoError(t, err)
			assert.Equal(t, 0, wait(t, p).ExitStatus())
			got := make([]byte, 16)
			n, err := unix.Read(pipe[0], got)
			require.NoError(t, err)
			assert.Equal(t, []byte{0xf4, 1, 0, 0, 'x', 'y'}, got[:n], "500, little endian, and nothing beyond")
			assert.EqualValues(t, 400, p.Regs[1])
		})
	}
}
