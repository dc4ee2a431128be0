//go:build linux

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/stretchr/testify/require"
)

// The test binary plays other programs: with this in the environment it runs the part of that name instead of tests.
const partEnv = "BELLJAR_TEST_PART"

// parts are filled by init functions. A part's arguments are what follows its name in the environment.
var parts = map[string]func(args []string){}

func TestMain(m *testing.M) {
	if f := strings.Fields(os.Getenv(partEnv)); len(f) > 0 {
		play, ok := parts[f[0]]
		if !ok {
			fmt.Fprintln(os.Stderr, "no such part:", f[0])
			os.Exit(2)
		}
		play(f[1:])
		os.Exit(0)
	}
	raced := false
	code := leaktest.Main(m, func() {
		raced = zygoteRaces()
		stopZygote()
	})
	if raced {
		code = 1
	}
	os.Exit(code)
}

// zygoteRaces tells whether the race detector of the zygote, which is this same binary, has complained. Its words end up where
// nobody reads them while it lives.
func zygoteRaces() bool {
	theZygote.Lock()
	defer theZygote.Unlock()
	if theZygote.client == nil {
		return false
	}
	words := lastWordsOf(theZygote.client)
	if !strings.Contains(words, "DATA RACE") {
		return false
	}
	fmt.Printf("zygote: %s\n", words)
	return true
}

func lastWordsOf(c *zygoteClient) string {
	b := make([]byte, 1<<16)
	n, _ := c.stderr.ReadAt(b, 0)
	return string(b[:n])
}

// skip says which feature is missing. Where everything must work it fails.
func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("BELLJAR_MUST_WORK") == "1" {
		t.Fatal("must work here: " + why)
	}
	t.Skip(why)
}

// needKernel skips what an older kernel than Linux major.minor cannot do. That is no fault of where the tests run, so it is not for skip to decide
// but for the list of skips of continuous integration.
func needKernel(t testing.TB, major, minor int) {
	t.Helper()
	if !kernelAtLeast(major, minor) {
		t.Skipf("needs Linux %d.%d", major, minor)
	}
}

// needRoot skips what an ordinary user cannot do.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "needs root")
	}
}

// newBox makes a sandbox that is closed with the test.
func newBox(t testing.TB, opts ...Option) *Sandbox {
	t.Helper()
	sb, err := New(opts...)
	if errors.Is(err, errTimeExec) {
		needKernel(t, 6, 2)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close()) })
	return sb
}
