package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a job writes into a scratch layer is seen by it, is gone with the sandbox, and changes nothing below. The control is the same
// without the layer, where nothing can be written.
func TestScratch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := layerIn(t, dir, "l", [2]string{"data/file", "low"}, [2]string{"data/gone", "low"}, [2]string{"data/fifo.d/x", "low"})
	require.NoError(t, os.Chmod(filepath.Join(l, "data"), 0o777))
	for _, f := range []string{"file", "gone"} {
		require.NoError(t, os.Chmod(filepath.Join(l, "data", f), 0o666))
	}
	opts := layersOn(t, l)
	const change = "cd /data && echo high > file && rm gone && echo new > gone && mkfifo p && ln file hard && cat file gone hard"
	out, res := try(t, standing(t, opts...), change)
	assert.NotEqual(t, 0, res.ExitCode, "the control: %s", out)

	opts = append(opts, WithScratch("4m"))
	for range 2 { // the second finds nothing of the first
		sb := standing(t, opts...)
		assert.Equal(t, "low", sh(t, sb, "cat /data/file"))
		assert.Equal(t, "high\nnew\nhigh", sh(t, sb, change))
	}
	b, err := os.ReadFile(filepath.Join(l, "data", "file"))
	require.NoError(t, err)
	assert.Equal(t, "low", string(b))
	names, err := os.ReadDir(filepath.Join(l, "data"))
	require.NoError(t, err)
	assert.Len(t, names, 3)
}

// A scratch layer is bounded in bytes and in files (case 71).
func TestScratchIsBounded(t *testing.T) {
	t.Parallel()
	l := layerIn(t, t.TempDir(), "l", [2]string{"data/file", "low"})
	require.NoError(t, os.Chmod(filepath.Join(l, "data"), 0o777))
	const size = 256 << 10
	sb := standing(t, append(layersOn(t, l), WithScratch(FormatSize(size)))...)
	sh(t, sb, "head -c 128000 /dev/zero > /data/fits; rm /data/fits")
	out, res := try(t, sb, "head -c 1000000 /dev/zero > /data/large")
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Contains(t, out, "No space left")
	// The kernel's own figure says what the number of files is bounded by; a full run has the job try.
	assert.Equal(t, strconv.FormatInt(scratchInodes(size), 10), sh(t, sb, "rm -f /data/large; stat -f -c %c /data"))
	if testing.Short() {
		return
	}
	out, res = try(t, sb, "cd /data && seq 20000 | xargs touch")
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Contains(t, out, "No space left")
}

func TestScratchIsChecked(t *testing.T) {
	for _, opts := range [][]Option{
		{WithScratch("1m")},
		{WithRootfs("/"), WithScratch("0")},
		{WithRootfs("/"), WithScratch("max")},
		{WithRootfs("/"), WithScratch("many")},
		{WithRootfs("/"), WithScratch("1m"), WithScratch("2m")},
	} {
		_, err := newSpec(opts)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := newSpec([]Option{WithRootfs("/"), WithScratch("1m"), WithScratch("1m")})
	require.NoError(t, err)
}

// A directory of the host's layers that is removed and made again is empty, where tmpfs can keep the mark of that.
func TestScratchReplacesDirectory(t *testing.T) {
	t.Parallel()
	if !tmpfsKeepsAttrs() {
		needKernel(t, 6, 6)
	}
	l := layerIn(t, t.TempDir(), "l", [2]string{"data/d/low", "x"})
	require.NoError(t, os.Chmod(filepath.Join(l, "data"), 0o777))
	require.NoError(t, os.Chmod(filepath.Join(l, "data", "d"), 0o777))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(filepath.Join(l, "data", "d"), 1000, 1000))
	}
	sb := standing(t, append(layersOn(t, l), WithScratch("2m"))...)
	assert.Equal(t, "new", sh(t, sb, "cd /data && rm -r d && mkdir d && echo > d/new && mv d e && mv e d && ls d"))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(l, "data", "d", "low"), &st), "below nothing changed")
}
