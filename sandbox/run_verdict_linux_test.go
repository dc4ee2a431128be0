package sandbox

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every verdict as it comes about, and what goes with it.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want   Verdict
		script string
		opts   []Option
		act    func(*Cmd, *Sandbox, context.CancelFunc)
		code   int
		signal syscall.Signal
	}{
		{want: OK, script: "exit 0"},
		{want: OK, script: "(exit 9); sh -c 'kill -9 $$'; true"},
		{want: NonZeroExit, script: "exit 9", code: 9},
		{want: NonZeroExit, script: "exit 255", code: 255},
		{want: Signaled, script: "kill -SEGV $$", code: -1, signal: syscall.SIGSEGV},
		{want: Signaled, script: "kill -USR1 $$", code: -1, signal: syscall.SIGUSR1},
		{want: CPUTimeExceeded, script: "while :; do :; done", opts: []Option{WithCPUTime(50 * time.Millisecond)}, code: -1, signal: syscall.SIGKILL},
		{want: CPUTimeExceeded, script: "i=0; while [ $i -lt 100000000 ]; do i=$((i+1)); done", opts: []Option{WithCPUTime(50 * time.Millisecond)}, code: -1, signal: syscall.SIGKILL},
		{want: WallTimeExceeded, script: "sleep 1000", opts: []Option{WithWallTime(50 * time.Millisecond)}, code: -1, signal: syscall.SIGKILL},
		{want: MemoryExceeded, script: "exec " + hog(60), opts: []Option{WithMemory("24m")}, code: -1, signal: syscall.SIGKILL},
		// The same signal and the same status without the limit's doing, and a limit hit that the program lives with.
		{want: Signaled, script: "kill -KILL $$", opts: []Option{WithMemory("24m")}, code: -1, signal: syscall.SIGKILL},
		{want: Signaled, script: "kill -KILL $$", opts: []Option{WithCPUTime(time.Minute)}, code: -1, signal: syscall.SIGKILL},
		{want: NonZeroExit, script: "exit 137", opts: []Option{WithMemory("24m")}, code: 137},
		{want: NonZeroExit, script: "sh -c 'kill -KILL $$'; exit $?", opts: []Option{WithMemory("24m")}, code: 137},
		{want: MemoryExceeded, script: hog(60) + "; sleep 1000", opts: []Option{WithMemory("24m")}, code: -1, signal: syscall.SIGKILL},
		{want: OK, script: "ulimit -v 40000; " + hog(60) + " || exit 0; exit 7", opts: []Option{WithMemory("24m")}},
		{want: NonZeroExit, script: "ulimit -v 40000; exec " + hog(60), opts: []Option{WithMemory("24m")}, code: 12}, // perl exits with ENOMEM
		{want: OK, script: "(sleep 1 & sleep 1 & sleep 1 & exit 7) && exit 8; exit 0", opts: []Option{WithPids(3)}},
		{want: OutputExceeded, script: "yes", opts: []Option{WithOutput("1k")}, code: -1, signal: syscall.SIGKILL},
		{want: PidsExceeded, script: "sleep 1 & sleep 1 & sleep 1 & exit 2", opts: []Option{WithPids(2)}, code: 2},
		{want: SyscallDenied, script: "exec perl -e 'chroot \"/\"; sleep 9'", opts: []Option{WithSeccomp(seccomp.Default().WithDenied(seccomp.KillProcess))}, code: -1, signal: syscall.SIGSYS},
		{want: Canceled, script: "sleep 1000", act: func(_ *Cmd, _ *Sandbox, cancel context.CancelFunc) { cancel() }, code: -1, signal: syscall.SIGKILL},
		{want: Killed, script: "sleep 1000", act: func(c *Cmd, _ *Sandbox, _ context.CancelFunc) { _ = c.Kill() }, code: -1, signal: syscall.SIGKILL},
		{want: Killed, script: "sleep 1000", act: func(_ *Cmd, sb *Sandbox, _ context.CancelFunc) { _ = sb.Kill() }, code: -1, signal: syscall.SIGKILL},
		{want: Signaled, script: "sleep 1000", act: func(c *Cmd, _ *Sandbox, _ context.CancelFunc) { _ = c.Signal(syscall.SIGTERM) }, code: -1, signal: syscall.SIGTERM},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			t.Parallel()
			sb, err := New(c.opts...)
			needsHost(t, err)
			require.NoError(t, err)
			defer sb.Close()
			ctx, cancel := context.WithCancel(inTime(t))
			defer cancel()
			cmd := sb.Command("/bin/sh", "-c", "exec 2>/dev/null; "+c.script)
			require.NoError(t, cmd.Start(ctx))
			if c.act != nil {
				c.act(cmd, sb, cancel)
			}
			res, err := cmd.Wait()
			require.NoError(t, err)
			assert.Equal(t, c.want.String(), res.Verdict.String(), c.script)
			if c.want != PidsExceeded && c.want != OutputExceeded { // dash's own status, or SIGPIPE
				assert.Equal(t, []any{c.code, c.signal}, []any{res.ExitCode, res.Signal}, c.script)
			}
			assert.Equal(t, c.want == OK, res.Err() == nil)
			assert.Equal(t, c.want == OutputExceeded, res.Truncated)
			assert.Positive(t, res.Usage.Wall)
		})
	}
}

// A program cannot talk its way into another result: it has nothing to write one to.
func TestResultsCannotBeForged(t *testing.T) {
	t.Parallel()
	sb := standing(t, asVictim(t))
	// The name of the zygote makes no zygote of a process inside, and holds no socket.
	c := sb.Command(victimPath)
	c.Args, c.Env = []string{"belljar-zygote"}, []string{partEnv + "=reveal"}
	out, err := c.Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "the host program\n", string(out))
	for _, code := range []int{126, 127, 128, 137} {
		res, err := sb.Run(inTime(t), "/bin/sh", "-c", fmt.Sprint("exit ", code))
		require.NoError(t, err, "an exit code is never an error of execution")
		assert.Equal(t, code, res.ExitCode)
	}
}
