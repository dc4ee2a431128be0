//go:build amd64 || arm64

package seccomp

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestProgramsRun has what people run do its work under the presets that claim it.
func TestProgramsRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range programSources {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte(text), 0o644))
	}
	var compiled sync.Once // an empty cache is filled once, not by three at a time
	for _, p := range programsRun {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(p.needs); err != nil {
				t.Skipf("%s is not installed", p.needs)
			}
			if (testing.Short() || raceDetector) && p.slow {
				t.Skip("slow")
			}
			if p.needs == "go" {
				compiled.Do(func() {
					build := exec.Command("/bin/sh", "-ec", "go build -o /dev/null net.go; go build -o /dev/null compute.go")
					build.Dir = dir
					out, err := build.CombinedOutput()
					require.NoError(t, err, "%s", out)
				})
			}
			if p.before != "" {
				build := exec.Command("/bin/sh", "-ec", p.before)
				build.Dir = dir
				out, err := build.CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			for _, policy := range p.under {
				out, err := p.run(dir, policy)
				require.NoError(t, err, "%s: %s", policy, out)
				assert.Equal(t, p.want, string(out), policy)
			}
		})
	}
}

func (p programRun) run(dir, policy string) ([]byte, error) {
	argv := []string{"/bin/sh", "-ec", p.script}
	if p.direct {
		argv = strings.Fields(p.script)
	}
	cmd := victimCommand(policy, argv...)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader([]byte("7\n"))
	return cmd.CombinedOutput()
}

// TestStrictPrograms: what strict refuses its programs is possible without it.
func TestStrictPrograms(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/compute.py", []byte(programSources["compute.py"]), 0o644))
	i := slices.IndexFunc(programsRun, func(p programRun) bool { return p.name == "strict-python" })
	out, err := programsRun[i].run(dir, "none")
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "7 91 alarm made\n", string(out))
	require.NoError(t, os.Remove(dir+"/out"))
}
