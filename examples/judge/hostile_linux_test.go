package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostileMarks begin the lines that hostile submissions print when they got what they were after.
var hostileMarks = []string{"LEAK", "KILLED", "DONE"}

// outside is what the hostile submissions of this test reach for: a server on the host's loopback and one on an abstract
// socket, a process that belongs to the same user, and names to find them by. Placeholders in the submissions, such as
// @PORT@, become the real thing, as a well-informed enemy would have it.
type outside struct {
	values map[string]string
	calls  atomic.Int32
	victim *exec.Cmd
	dir    string // of the filled-in sources
	filled atomic.Int32
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	problems, err := filepath.Abs("problems/edits")
	require.NoError(t, err)
	o := &outside{dir: t.TempDir(), victim: exec.Command("sleep", "900")}
	require.NoError(t, o.victim.Start())
	t.Cleanup(func() {
		// The control of hostile_killjudge.c: the very signal it sends ends the victim, sent from outside.
		assert.NoError(t, o.victim.Process.Signal(syscall.SIGTERM))
		assert.ErrorContains(t, o.victim.Wait(), "terminated")
	})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o.serve(t, tcp)
	name := "bj" + strconv.Itoa(os.Getpid())
	unix, err := net.Listen("unix", "@"+name)
	require.NoError(t, err)
	o.serve(t, unix)
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	require.NoError(t, err)
	o.values = map[string]string{
		"@PROBLEM@": problems, "@PORT@": port, "@ABSTRACT@": name, "@NAME@": name,
		"@JUDGE@": strconv.Itoa(os.Getpid()), "@VICTIM@": strconv.Itoa(o.victim.Process.Pid),
	}
	return o
}

func (o *outside) serve(t *testing.T, l net.Listener) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			o.calls.Add(1)
			conn.Close()
		}
	}()
}

// fill writes a copy of a submission with its placeholders filled in.
func (o *outside) fill(t *testing.T, path string) string {
	t.Helper()
	source, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, value := range o.values {
		source = bytes.ReplaceAll(source, []byte(name), []byte(value))
	}
	dir := filepath.Join(o.dir, strconv.Itoa(int(o.filled.Add(1))))
	require.NoError(t, os.Mkdir(dir, 0o755))
	filled := filepath.Join(dir, filepath.Base(path))
	require.NoError(t, os.WriteFile(filled, source, 0o644))
	return filled
}

// unharmed checks that nobody called, that the victim lives and runs, and that nothing was left behind.
func (o *outside) unharmed(t *testing.T) {
	t.Helper()
	assert.Zero(t, o.calls.Load(), "calls from inside")
	status, err := os.ReadFile("/proc/" + o.values["@VICTIM@"] + "/stat")
	require.NoError(t, err, "the victim is gone")
	state := status[bytes.LastIndexByte(status, ')')+2]
	assert.Contains(t, []byte("SDR"), state, "the victim's state is %c", state)
	assert.Empty(t, o.survivors(t), "processes left behind")
}

// survivors finds processes of the name that hostile_daemon.c takes.
func (o *outside) survivors(t *testing.T) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	require.NoError(t, err)
	for _, file := range names {
		comm, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(comm)) != o.values["@NAME@"] {
			continue // ended meanwhile, or another
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	return pids
}

// unseen checks that a report shows nothing of the files that compilers are made to quote, and nothing a terminal obeys.
func (o *outside) unseen(t *testing.T, r Report) {
	t.Helper()
	text := r.Detail
	if r.Compile != nil {
		text += r.Compile.Stderr
	}
	assert.NotContains(t, text, "\x1b")
	assert.NotContains(t, text, "kitten", "the first sample case")
	if line := firstOf("/etc/shadow"); line != "" {
		assert.NotContains(t, text, line)
	}
}

func firstOf(file string) string {
	data, _ := os.ReadFile(file)
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

// TestHostileSubmissionsWorkOutside is the control: without a sandbox the same submissions get what they are after. Those
// that would harm the machine (bombs, kill(-1), hogs) are not run; that they do work shows in the limits they reach.
func TestHostileSubmissionsWorkOutside(t *testing.T) {
	needSandbox(t) // a control of nothing otherwise
	o := newOutside(t)
	for _, c := range []struct{ file, mark string }{
		{"edits/submissions/hostile_reader.c", "LEAK " + o.values["@PROBLEM@"] + "/cases/01.out"},
		{"edits/submissions/hostile_network.py", "LEAK ('127.0.0.1'"},
		{"circle/submissions/hostile_network.go", "LEAK 127.0.0.1"},
		{"circle/submissions/hostile_ptrace.c", "DONE ptrace"},
		{"circle/submissions/hostile_unshare.py", "DONE unshare"},
		{"circle/submissions/hostile_keyring.go", "DONE add_key"},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			if testing.Short() && filepath.Ext(c.file) == ".go" {
				t.Skip("the small run does without the go command, which would compile the standard library")
			}
			text := o.native(t, filepath.Join("problems", c.file))
			if !strings.Contains(text, "\n"+c.mark) && strings.HasPrefix(c.mark, "DONE") {
				skip(t, "this host refuses it by itself: "+text)
			}
			assert.Contains(t, text, "\n"+c.mark)
		})
	}
	t.Run("network", func(t *testing.T) {
		assert.Positive(t, o.calls.Load(), "calls that were answered")
	})
	t.Run("hostile_keep.py", func(t *testing.T) {
		t.Cleanup(func() {
			for _, dir := range []string{"/box", "/tmp", "/dev/shm", "/var/tmp"} {
				os.Remove(filepath.Join(dir, "note-"+o.values["@NAME@"]))
			}
		})
		assert.Contains(t, o.native(t, "problems/circle/submissions/hostile_keep.py"), "\nno note")
		assert.Contains(t, o.native(t, "problems/circle/submissions/hostile_keep.py"), "\nLEAK /tmp/note-")
	})
	t.Run("hostile_daemon.c", func(t *testing.T) {
		assert.Contains(t, o.native(t, "problems/roads/submissions/hostile_daemon.c"), "\nleft behind")
		var pids []int
		require.Eventually(t, func() bool { pids = o.survivors(t); return len(pids) == 1 }, time.Minute, 10*time.Millisecond)
		assert.NoError(t, syscall.Kill(pids[0], syscall.SIGKILL))
		assert.Eventually(t, func() bool { return len(o.survivors(t)) == 0 }, time.Minute, 10*time.Millisecond)
	})
	t.Run("hostile_include.c", func(t *testing.T) {
		assert.Contains(t, o.native(t, "problems/edits/submissions/hostile_include.c"), "kitten")
	})
}

// native runs a submission without any sandbox and returns what it and its compiler printed, after a newline.
func (o *outside) native(t *testing.T, path string) string {
	t.Helper()
	source := o.fill(t, path)
	program := filepath.Join(filepath.Dir(source), "main")
	var commands [][]string
	switch filepath.Ext(path) {
	case ".c":
		commands = [][]string{{"gcc", "-o", program, source}, {program}}
	case ".py":
		commands = [][]string{{"/usr/bin/python3", source}}
	case ".go":
		commands = [][]string{{"go", "build", "-o", program, source}, {program}}
	}
	var all bytes.Buffer
	all.WriteByte('\n')
	for _, argv := range commands {
		if _, err := exec.LookPath(argv[0]); err != nil {
			skip(t, err.Error())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(source), &all, &all
		cmd.WaitDelay = time.Second // for what stays behind and holds the pipe
		if err := cmd.Run(); err != nil {
			break // the output tells
		}
	}
	return all.String()
}
