package main

import (
	"bufio"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSignalsAreForwarded(t *testing.T) {
	need(t)
	names := map[string]unix.Signal{
		"HUP": unix.SIGHUP, "INT": unix.SIGINT, "QUIT": unix.SIGQUIT, "ABRT": unix.SIGABRT, "ALRM": unix.SIGALRM,
		"USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2, "TERM": unix.SIGTERM,
	}
	var script strings.Builder
	for name := range names {
		script.WriteString("trap 'echo got " + name + "' " + name + "; ")
	}
	script.WriteString("trap 'exit 42' TERM; echo ready; while :; do sleep 0.02; done")
	cmd := program(t, "sh", "-c", script.String())
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	next := func() string { lines.Scan(); return lines.Text() }
	require.Equal(t, "ready", next())
	for name, sig := range names {
		if name != "TERM" {
			require.NoError(t, cmd.Process.Signal(sig))
			assert.Equal(t, "got "+name, next())
		}
	}
	require.NoError(t, cmd.Process.Signal(unix.SIGTERM))
	_ = cmd.Wait()
	assert.Equal(t, 42, exitCode(cmd.ProcessState), "the program says how it ends")
}

func TestSignalsEndThePlainProgram(t *testing.T) {
	need(t)
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1} {
		cmd := program(t, "sh", "-c", "echo ready; exec sleep 1000")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = out.Read(make([]byte, 6))
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Signal(sig))
		_ = cmd.Wait()
		assert.Equal(t, 128+int(sig), exitCode(cmd.ProcessState))
	}
}

// TestKilled: not even SIGKILL of run leaves anything running, whatever the job has done to stay.
func TestKilled(t *testing.T) {
	need(t)
	cmd := program(t, "sh", "-c", "trap '' HUP INT TERM; (setsid sleep 1000 &) ; setsid sh -c 'sleep 1000 & wait' & echo ready; sleep 1000")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 6))
	require.NoError(t, err)
	eventually(t, "three sleeps", func() bool { return len(named(cmd.Process.Pid, "sleep")) == 3 })
	all := descendants(cmd.Process.Pid)
	require.GreaterOrEqual(t, len(all), 6, "zygote, PID 1, shell, sleeps: %v", all)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	eventually(t, "all gone", func() bool {
		reap()
		for _, p := range all {
			if !p.gone() {
				return false
			}
		}
		return true
	})
	eventually(t, "no other process left", func() bool { reap(); return len(descendants(unix.Getpid())) == 0 })
}
