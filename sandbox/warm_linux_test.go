package sandbox

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// readyIn are the processes that are to be commands of this sandbox: another one's may be made at the same time.
func readyIn(t *testing.T, sb *Sandbox) (pids []int) {
	t.Helper()
	inside := func(pid int) string {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		return to
	}
	for _, p := range readyOf(t) {
		if in := inside(p.PID); in != "" && in == inside(sb.PID()) {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// The first command of a sandbox that was made ahead finds ready what otherwise a command leaves to the next.
func TestPoolMembersAreWarm(t *testing.T) {
	grouped(t, newBox(t))
	assert.Empty(t, readyOf(t), "control: in one that is made when it is asked for there is nothing")
	p := newPool(t, 1, WithMemory("256m"), WithPids(20))
	next := func() (sb *Sandbox, pid int) {
		t.Helper()
		eventually(t, "one stands", func() bool { return p.Stats().Ready == 1 }) // one that is waited for is handed out as it is
		sb = get(t, p)
		eventually(t, "a process waits in it", func() bool {
			list := readyIn(t, sb)
			if len(list) == 1 {
				pid = list[0]
			}
			return len(list) == 1
		})
		return sb, pid
	}
	sb, pid := next()
	cmd, finish := started(t, sb, "set -- /proc/[0-9]*; echo $#; read line; exit 4", Limits{})
	assert.Equal(t, pid, cmd.PID())
	res := finish()
	assert.Equal(t, 4, res.ExitCode)
	assert.Equal(t, 1, res.Usage.PeakPids)
	_, res = try(t, sb, "exit 3")
	assert.Equal(t, 3, res.ExitCode)
	require.NoError(t, sb.Close())

	// Whatever comes first, the process is taken or ended.
	for name, first := range map[string]func(sb *Sandbox){
		"stats": func(sb *Sandbox) {
			s, err := sb.Stats()
			require.NoError(t, err)
			assert.Zero(t, s.Pids.Current)
		},
		"pause": func(sb *Sandbox) {
			require.NoError(t, sb.Pause())
			require.NoError(t, sb.Resume())
		},
		"limits": func(sb *Sandbox) {
			require.NoError(t, sb.Update(WithMemory("32m")))
			_, res := try(t, sb, hog(40)+"; exit 3")
			assert.Equal(t, MemoryExceeded, res.Verdict)
		},
		"its end": func(sb *Sandbox) { require.NoError(t, unix.Kill(readyIn(t, sb)[0], unix.SIGKILL)) },
	} {
		t.Run(name, func(t *testing.T) {
			sb, _ := next()
			first(sb)
			eventually(t, "gone", func() bool { return len(readyIn(t, sb)) == 0 })
			_, res := try(t, sb, "exit 3")
			assert.Equal(t, 3, res.ExitCode)
			require.NoError(t, sb.Close())
		})
	}

	// It is of the kind that was used last.
	handed := func(sb *Sandbox) *Cmd {
		t.Helper()
		r, w, err := os.Pipe()
		require.NoError(t, err)
		defer r.Close()
		cmd := sb.Command("/bin/sh", "-c", "echo heard >&3")
		cmd.ExtraFiles = []*os.File{w}
		_, err = cmd.Run(inTime(t))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		b := make([]byte, 16)
		n, err := r.Read(b)
		require.NoError(t, err)
		require.Equal(t, "heard\n", string(b[:n]))
		return cmd
	}
	sb, pid = next()
	assert.NotEqual(t, pid, handed(sb).PID())
	require.NoError(t, sb.Close())
	sb, pid = next()
	assert.Equal(t, pid, handed(sb).PID())
	require.NoError(t, p.Close())
	require.NoError(t, sb.Close())
	assert.Empty(t, readyOf(t))
	assert.Empty(t, joinersOf(t))
}
