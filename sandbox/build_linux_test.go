package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/seccomp"
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

func TestBuilds(t *testing.T) {
	ways := map[string]built{
		"cgo":      {"1", nil},
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

// TestBuildWithoutCgo: there is no filter in such a program, so a sandbox is refused unless the filter may be given up.
func TestBuildWithoutCgo(t *testing.T) {
	for name, flags := range map[string][]string{"static": nil, "pie": {"-buildmode=pie"}} {
		t.Run(name, func(t *testing.T) {
			exe := buildHost(t, built{"0", flags})
			out, err := runHost(exe, "-soft")
			if !strings.Contains(out, "given up: 1\n") {
				works(t, out, err, "0") // a filter without cgo has been built in
				return
			}
			works(t, out, err, "1")
			out, err = runHost(exe)
			require.Error(t, err, out)
			assert.Contains(t, out, "error: seccomp: ")
			assert.Contains(t, out, "unsupported\n")
		})
	}
}

// TestBuildGone deletes or replaces the program's file while it runs.
func TestBuildGone(t *testing.T) {
	build := func(t *testing.T) string { return buildHost(t, built{"1", nil}) }
	t.Run("deleted", func(t *testing.T) {
		exe := build(t)
		out, err := runHost(exe, "-delete")
		works(t, out, err, "0")
		assert.NoFileExists(t, exe)
	})
	t.Run("replaced", func(t *testing.T) {
		exe := build(t)
		other := filepath.Join(t.TempDir(), "other")
		require.NoError(t, os.WriteFile(other, []byte("#!/bin/sh\necho I am another program\nsleep 100\n"), 0o755))
		out, err := runHost(exe, "-replace", other)
		works(t, out, err, "0")
		assert.NotContains(t, out, "another")
	})
}

// TestThisBinary is the control of the others: what runs here is a go test binary, with cgo or without.
func TestThisBinary(t *testing.T) {
	_, err := seccomp.Default().Compile()
	sb, newErr := New()
	if err != nil {
		require.ErrorIs(t, newErr, ErrUnsupported)
		return
	}
	require.NoError(t, newErr)
	require.NoError(t, sb.Close())
}
