package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func diffOf(t testing.TB, sb *Sandbox) (lines []string) {
	t.Helper()
	for c, err := range sb.Diff() {
		require.NoError(t, err)
		lines = append(lines, c.String())
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	return lines
}

const changing = "cd /data && echo high > file && rm gone && rm -r d && mkdir d && echo new > d/new && mkfifo p && ln -s /etc l && ln file hard && chmod 700 . && chmod 777 ."

var changed = []string{"C /data/d (mode)", "D /data/d/low", "A /data/d/new", "C /data/file (content,times)", "D /data/gone", "A /data/hard", "A /data/l", "A /data/p"}

// Diff lists what a job did, and nothing that the library did, also of a sandbox that has ended. What is committed then is a layer that makes the same root.
func TestDiffAndCommitOfUpper(t *testing.T) {
	t.Parallel()
	upper, opts := upperOn(t, WithTmpfs("/made/tmp", "1m"), WithFile("/data/given", []byte("given"), 0o666))
	sb := standing(t, opts...)
	assert.Empty(t, diffOf(t, sb))
	sh(t, sb, changing+"; echo x > given; echo x > /made/tmp/x; echo x > /dev/shm/x")
	assert.Equal(t, changed, diffOf(t, sb))
	require.NoError(t, sb.Close())
	assert.Equal(t, changed, diffOf(t, sb), "after its end")

	layer := filepath.Join(t.TempDir(), "layer")
	require.NoError(t, sb.Commit(layer))
	assert.NoFileExists(t, filepath.Join(layer, "etc"))
	assert.NoFileExists(t, filepath.Join(layer, "data", "given"))
	low := filepath.Join(filepath.Dir(upper), "l")
	again := standing(t, layersOn(t, low, layer)...)
	assert.Equal(t, "high\nnew\nhigh", sh(t, again, "cd /data && cat file d/* hard"))
	assert.Equal(t, "d file hard l p", sh(t, again, "echo $(ls /data)"))
	assert.Equal(t, "low", sh(t, standing(t, layersOn(t, low)...), "cat /data/gone"), "the control")
	require.ErrorIs(t, sb.Commit(layer), os.ErrExist)
}

// The same of a layer in memory, as long as it lives.
func TestDiffAndCommitOfScratch(t *testing.T) {
	t.Parallel()
	if !tmpfsKeepsAttrs() {
		needKernel(t, 6, 6)
	}
	upper, opts := upperOn(t)
	opts[len(opts)-1] = WithScratch("4m")
	sb := standing(t, opts...)
	assert.Empty(t, diffOf(t, sb))
	sh(t, sb, changing)
	assert.Equal(t, changed, diffOf(t, sb))
	layer := filepath.Join(t.TempDir(), "layer")
	require.NoError(t, sb.Commit(layer))
	require.NoError(t, sb.Restart(inTime(t)))
	assert.Empty(t, diffOf(t, sb), "a new layer")
	require.NoError(t, sb.Close())
	for _, err := range sb.Diff() {
		require.ErrorIs(t, err, ErrClosed)
	}
	again := standing(t, layersOn(t, filepath.Join(filepath.Dir(upper), "l"), layer)...)
	assert.Equal(t, "high\nnew\nhigh", sh(t, again, "cd /data && cat file d/* hard"))
	assert.Equal(t, "1000:1000", sh(t, again, "stat -c %u:%g /data/d/new"))
}

func TestDiffNeedsALayer(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for _, err := range sb.Diff() {
		require.ErrorIs(t, err, ErrInvalid)
	}
	require.ErrorIs(t, sb.Commit("/tmp/x"), ErrInvalid)
}
