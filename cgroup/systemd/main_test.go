package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test binary plays the programs that get a scope: a test must not move the whole of the others.
const partEnv = "BELLJAR_SYSTEMD_PART"

var parts = map[string]func() error{}

func TestMain(m *testing.M) {
	if play, ok := parts[os.Getenv(partEnv)]; ok {
		if err := play(); err != nil {
			fmt.Printf("error: %v\n", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > 2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	// The runtime's signal watcher of package testing may live on.
	if n := runtime.NumGoroutine(); n > 2 && code == 0 {
		buf := make([]byte, 1<<16)
		fmt.Printf("leak: %d goroutines\n%s\n", n, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// needSystemd skips where there is none. That is no fault of where the tests run, so it is not for BELLJAR_MUST_WORK to
// decide but for the list of skips of continuous integration.
func needSystemd(t *testing.T) {
	t.Helper()
	if !booted() {
		t.Skip("needs a machine booted with systemd")
	}
}

// part runs one as a program of its own and returns what it prints, by the word before "=".
func part(t *testing.T, name string, change ...func(*exec.Cmd)) map[string]string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), partEnv+"="+name)
	for _, f := range change {
		f(cmd)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err, string(out))
	return values(string(out))
}

func values(out string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			all[k] = v
		}
	}
	return all
}

// eventually waits for a state that is reached without help.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}
