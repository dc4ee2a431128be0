package leaktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(Main(m, nil)) }

// found tells whether a leak of that description is reported.
func found(left []string, what string) bool {
	for _, l := range left {
		if strings.HasPrefix(l, what) {
			return true
		}
	}
	return false
}

// Each kind of leak is seen while it is there, and not afterwards.
func TestSees(t *testing.T) {
	cases := map[string]func(t *testing.T) (stop func()){
		"process": func(t *testing.T) func() {
			c := exec.Command("sleep", "60")
			require.NoError(t, c.Start())
			return func() { _ = c.Process.Kill(); _ = c.Wait() }
		},
		"descriptor": func(t *testing.T) func() {
			f, err := os.Open("/etc/passwd")
			require.NoError(t, err)
			return func() { _ = f.Close() }
		},
		"goroutine": func(*testing.T) func() {
			stop := make(chan struct{})
			go func() { <-stop }()
			return func() { close(stop) }
		},
		"file": func(t *testing.T) func() {
			path := filepath.Join(os.TempDir(), "left")
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			return func() { _ = os.Remove(path) }
		},
	}
	for name, make := range cases {
		t.Run(name, func(t *testing.T) {
			before := Take()
			stop := make(t)
			left := before.Left()
			stop()
			assert.True(t, found(left, name), "%q", left)
			assert.Empty(t, before.Await(patience))
		})
	}
}

// An orphan is found though its parent is gone.
func TestSeesOrphans(t *testing.T) {
	before := Take()
	out, err := exec.Command("/bin/sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!").Output()
	require.NoError(t, err)
	pid := strings.TrimSpace(string(out))
	assert.True(t, found(before.Left(), "process "+pid))
	p, err := os.FindProcess(toNumber(t, pid))
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	_, _ = p.Wait() // the orphan may be ours now
	assert.Empty(t, before.Await(patience))
}

func TestProcessNames(t *testing.T) {
	p, ok := Lookup("self")
	require.True(t, ok)
	assert.Equal(t, os.Getpid(), p.PID)
	assert.Equal(t, os.Getppid(), p.Parent)
	assert.False(t, p.Zombie())
	_, ok = Lookup("nobody")
	assert.False(t, ok)
}

func toNumber(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}
