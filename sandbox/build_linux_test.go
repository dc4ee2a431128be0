package sandbox

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// built is a way to build a host program.
type built struct {
	cgo   string
	flags []string
}

// buildHost builds testdata/hostprog.
func buildHost(t *testing.T, b built) string {
	t.Helper()
	needRoot(t) // others have no modules to build with
	if testing.Short() {
		t.Skip("builds programs, which is slow")
	}
	if _, err := exec.LookPath("go"); err != nil {
		skip(t, "needs the go command")
	}
	if b.cgo == "1" {
		if _, err := exec.LookPath("gcc"); err != nil {
			skip(t, "needs a C compiler")
		}
	}
	exe := filepath.Join(t.TempDir(), "hostprog")
	args := append([]string{"build", "-buildvcs=false", "-o", exe}, b.flags...)
	cmd := exec.Command("go", append(args, "./testdata/hostprog")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+b.cgo)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return exe
}

func runHost(exe string, args ...string) (string, error) {
	out, err := exec.Command(exe, args...).CombinedOutput()
	return string(out), err
}

// works checks what the host program says of a sandbox that works.
func works(t *testing.T, out string, err error, givenUp string) {
	t.Helper()
	require.NoError(t, err, out)
	assert.Regexp(t, `^pid [2-9] of 1000\n`, out)
	assert.Contains(t, out, "given up: "+givenUp+"\n")
}

// TestBuilds: as it is built by itself, see TestBuildWithoutLibseccomp.
func TestBuilds(t *testing.T) {
	ways := map[string]built{
		"pie":      {"1", []string{"-buildmode=pie"}},
		"stripped": {"1", []string{"-ldflags=-s -w"}},
	}
	if raceEnabled {
		ways["race"] = built{"1", []string{"-race"}} // the rest of the time it would be built for this alone
	}
	for name, b := range ways {
		t.Run(name, func(t *testing.T) {
			out, err := runHost(buildHost(t, b))
			works(t, out, err, "0")
		})
	}
}

// TestBuildWithoutLibseccomp: such a program compiles its filters itself. That the library is there in the others is the
// control.
func TestBuildWithoutLibseccomp(t *testing.T) {
	for name, c := range map[string]struct {
		built
		linked bool
	}{
		"with":   {built{"1", nil}, true},
		"static": {built{"0", nil}, false},
		"tag":    {built{"1", []string{"-tags=belljar_noseccomplib"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			exe := buildHost(t, c.built)
			file, err := elf.Open(exe)
			require.NoError(t, err)
			defer file.Close()
			libraries, err := file.ImportedLibraries()
			require.NoError(t, err)
			linked := slices.ContainsFunc(libraries, func(name string) bool { return strings.HasPrefix(name, "libseccomp") })
			assert.Equal(t, c.linked, linked, "%s", libraries)
			out, err := runHost(exe)
			works(t, out, err, "0")
		})
	}
}

// TestBuildGone deletes or replaces the program's file while it runs.
func TestBuildGone(t *testing.T) {
	exe := buildHost(t, built{"1", nil})
	copied := filepath.Join(t.TempDir(), "copied")
	data, err := os.ReadFile(exe)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, data, 0o755))
	t.Run("deleted", func(t *testing.T) {
		out, err := runHost(exe, "-delete")
		works(t, out, err, "0")
		assert.NoFileExists(t, exe)
	})
	t.Run("replaced", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "other")
		require.NoError(t, os.WriteFile(other, []byte("#!/bin/sh\necho I am another program\nsleep 100\n"), 0o755))
		out, err := runHost(copied, "-replace", other)
		works(t, out, err, "0")
		assert.NotContains(t, out, "another")
	})
}

// TestThisBinary is the control of the others: what runs here is a go test binary, with cgo or without.
func TestThisBinary(t *testing.T) {
	sb, err := New()
	require.NoError(t, err)
	require.NoError(t, sb.Close())
}
