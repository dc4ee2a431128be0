package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const prompt = "glass> "

// shell starts an interactive shell on a terminal and waits for its prompt.
func shell(t *testing.T, more ...string) (*pty, func() int) {
	t.Helper()
	need(t)
	p := newPTY(t, 31, 97)
	args := append([]string{"-it", "--hostname", "glass", "-e", "PS1=" + prompt}, more...)
	cmd := p.start(append(args, "--", "/bin/sh")...)
	p.expect(prompt)
	return p, func() int { return p.wait(cmd) }
}

func TestInteractiveShell(t *testing.T) {
	p, wait := shell(t)
	assert.True(t, isRaw(p.modes()), "while the program has the terminal, keys are for its own")

	// What is typed is echoed once, and the program answers.
	p.keys("echo $((6*7)) $(hostname) $TERM\r")
	assert.Equal(t, "echo $((6*7)) $(hostname) $TERM\r\n", p.expect("42 glass vt100\r\n"))
	p.expect(prompt)

	// The program's streams are a terminal of its own, and the session's.
	p.keys("tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && : >/dev/tty && echo all\r")
	p.expect("/dev/pts/0\r\nall\r\n" + prompt)

	p.keys("stty size\r")
	p.expect("31 97\r\n" + prompt)
	p.resize(50, 132)
	eventually(t, "the new size inside", func() bool { // the signal that tells of it takes its time
		p.keys("stty size\r")
		p.expect("stty size\r\n")
		return p.expect(prompt) == "50 132\r\n"
	})

	// Ctrl-D at the beginning of a line is the end of input, and exit the status of the last command.
	p.keys("(exit 3)\r")
	p.expect(prompt)
	p.keys("\x04")
	assert.Equal(t, 3, wait())
}

func TestInteractiveInterrupt(t *testing.T) {
	p, wait := shell(t)
	p.keys("echo $$; sleep 1000; echo no\r")
	p.expect("\r\n")
	shellPID := p.expect("\r\n")
	eventually(t, "the sleep", func() bool { return len(named(unix.Getpid(), "sleep")) == 1 })
	p.keys("\x03")
	assert.NotContains(t, p.expect(prompt), "no")
	p.keys("echo status $? of $$\r")
	p.expect("status 130 of " + shellPID + "\r\n") // the same shell is still there
	p.expect(prompt)

	// Job control: Ctrl-Z is the inner shell's.
	p.keys("sleep 1000\r")
	eventually(t, "the sleep", func() bool { return len(named(unix.Getpid(), "sleep")) == 1 })
	p.keys("\x1a")
	p.expect("Stopped")
	p.expect(prompt)
	p.keys("kill -9 %1; exit 4\r")
	// A shell may refuse to exit once while there are stopped jobs.
	p.keys("exit 4\r")
	assert.Equal(t, 4, wait())
}

// TestTerminalIsRestored goes through the ways out of run; in each the terminal must be raw before and as it was after.
func TestTerminalIsRestored(t *testing.T) {
	need(t)
	for _, c := range []struct {
		name string
		args []string
		end  func(p *pty, run int)
		want int
	}{
		{"exit", []string{"sh", "-c", "echo ready; read x; exit 7"}, func(p *pty, _ int) { p.keys("\r") }, 7},
		{"signal to the program", []string{"sh", "-c", "echo ready; exec sleep 1000"}, func(_ *pty, run int) { _ = unix.Kill(run, unix.SIGTERM) }, 128 + 15},
		{"limit", []string{"--time-limit", "3s", "sh", "-c", "echo ready; exec sleep 1000"}, func(*pty, int) {}, exitWallTime},
		{"zygote killed", []string{"sh", "-c", "echo ready; exec sleep 1000"}, func(_ *pty, run int) {
			for _, p := range descendants(run) {
				if p.parent == run {
					_ = unix.Kill(p.pid, unix.SIGKILL)
				}
			}
		}, exitRun},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPTY(t, 24, 80)
			before := p.modes()
			require.False(t, isRaw(before))
			cmd := p.start(append([]string{"-it"}, c.args...)...)
			p.expect("ready\r\n")
			require.True(t, isRaw(p.modes()))
			c.end(p, cmd.Process.Pid)
			assert.Equal(t, c.want, p.wait(cmd))
			assert.Equal(t, before, p.modes())
		})
	}
	t.Run("program not found", func(t *testing.T) {
		p := newPTY(t, 24, 80)
		before := p.modes()
		assert.Equal(t, exitNotFound, p.wait(p.start("-it", "--", "/nosuch")))
		assert.Equal(t, before, p.modes())
		p.expect("run: exec: execve /nosuch: no such file or directory\r\n")
	})
	t.Run("panic", func(t *testing.T) {
		p := newPTY(t, 24, 80)
		before := p.modes()
		assert.Panics(t, func() {
			term, err := openTerminal(p.end)
			require.NoError(t, err)
			defer term.restore()
			require.NoError(t, term.makeRaw())
			require.True(t, isRaw(p.modes()))
			panic("for the test")
		})
		assert.Equal(t, before, p.modes())
	})
}

// TestTerminalWithoutInput: with -t alone the program has a terminal, but nobody types.
func TestTerminalWithoutInput(t *testing.T) {
	need(t)
	p := newPTY(t, 24, 80)
	before := p.modes()
	cmd := p.start("-t", "sh", "-c", "stty size; echo ready; exec sleep 1000")
	p.expect("24 80\r")
	p.expect("ready\r")
	assert.Equal(t, before, p.modes(), "not raw: the keys are still those of the user's shell")
	p.keys("\x03") // which makes a signal of this, and run passes it on
	assert.Equal(t, 128+2, p.wait(cmd))
}

// TestSuspend: on a terminal without -t, Ctrl-Z stops run and what it runs, and fg has both go on.
func TestSuspend(t *testing.T) {
	need(t)
	p := newPTY(t, 24, 80)
	cmd := p.start("sh", "-c", "while :; do echo tick; sleep 0.05; done")
	state := func() string { s, _ := readProc(cmd.Process.Pid); return s.state }
	p.expect("tick")
	p.keys("\x1a")
	eventually(t, "run stopped", func() bool { return state() == "T" })
	if do(t, "--pids", "100", "true").code == 0 { // there are cgroups, so it is frozen too
		eventually(t, "the screen stands still", func() bool { // after what is on its way
			before := len(p.screen())
			time.Sleep(300 * time.Millisecond)
			return len(p.screen()) == before
		})
	}
	require.NoError(t, cmd.Process.Signal(unix.SIGCONT))
	p.seen = len(p.screen())
	p.expect("tick")
	p.keys("\x03")
	assert.Equal(t, 128+2, p.wait(cmd))
}

// TestSuspendTerminal: with -t Ctrl-Z is the program's, but somebody may still stop run by a signal.
func TestSuspendTerminal(t *testing.T) {
	need(t)
	p := newPTY(t, 24, 80)
	before := p.modes()
	cmd := p.start("-it", "sh", "-c", "echo ready; read x; echo got $x")
	state := func() string { s, _ := readProc(cmd.Process.Pid); return s.state }
	p.expect("ready\r\n")
	require.NoError(t, cmd.Process.Signal(unix.SIGTSTP))
	eventually(t, "run stopped", func() bool { return state() == "T" })
	assert.Equal(t, before, p.modes(), "whoever gets the terminal now finds it as it was")
	require.NoError(t, cmd.Process.Signal(unix.SIGCONT))
	eventually(t, "raw again", func() bool { return isRaw(p.modes()) })
	p.keys("it\r")
	p.expect("got it\r\n")
	assert.Equal(t, 0, p.wait(cmd))
	assert.Equal(t, before, p.modes())
}

func TestNoTerminal(t *testing.T) {
	for _, flags := range [][]string{{"-it"}, {"-t"}, {"-i", "--tty=true"}} {
		r := do(t, append(flags, "true")...)
		assert.Equal(t, ran{exitRun, "", "run: -t: the input device is not a TTY\n"}, r)
	}
}
