package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// layerIn makes a layer of this name from path=content lines; a path that ends with a slash is a directory, content "-" a whiteout, content
// "opaque" an opaque directory.
func layerIn(t testing.TB, parent, name string, entries ...[2]string) string {
	t.Helper()
	dir := filepath.Join(parent, name)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, e := range entries {
		p := filepath.Join(dir, e[0])
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch e[1] {
		case "-":
			require.NoError(t, unix.Mknod(p, unix.S_IFCHR, 0))
		case "opaque":
			require.NoError(t, os.MkdirAll(p, 0o755))
			err := unix.Setxattr(p, "user.overlay.opaque", []byte("y"), 0)
			if err != nil {
				notExercised(t, "no user attributes on %s: %v", p, err)
			}
		default:
			require.NoError(t, os.WriteFile(p, []byte(e[1]), 0o644))
		}
	}
	return dir
}

// layersOn is the options of a root with the host's programs and layers over it.
func layersOn(t testing.TB, dirs ...string) []Option {
	t.Helper()
	base, opts := tinyRoot(t)
	opts = opts[:len(opts)-2] // WithRootfs, and the bind of /usr
	return append(opts, WithLayers(append([]string{base}, dirs...)...), WithBind("/usr", "/usr", ReadOnly))
}

// What is in a later layer comes in the place of what is below; whiteouts and opaque directories are honoured. The control is each stack without its
// uppermost layer.
func TestLayers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	low := layerIn(t, dir, "low", [2]string{"d/a", "low"}, [2]string{"d/b", "low"}, [2]string{"o/hidden", "low"}, [2]string{"kept", "low"})
	high := layerIn(t, dir, "high", [2]string{"d/a", "high"}, [2]string{"d/b", "-"}, [2]string{"o", "opaque"}, [2]string{"o/own", "high"})
	again := layerIn(t, dir, "again", [2]string{"d/b", "again"})
	const look = "cd / && cat d/a d/b o/hidden o/own kept 2>&1; ls o"
	out, _ := try(t, standing(t, layersOn(t, low)...), look)
	assert.Contains(t, out, "lowlowlow", "the control")
	assert.Contains(t, out, "hidden")

	sb := standing(t, layersOn(t, low, high)...)
	assert.Equal(t, "high", sh(t, sb, "cat /d/a"))
	assert.Equal(t, "a", sh(t, sb, "ls /d"))
	assert.Equal(t, "own", sh(t, sb, "ls /o"))
	assert.Equal(t, "low", sh(t, sb, "cat /kept"))
	out, res := try(t, sb, "echo x > /kept")
	assert.NotEqual(t, 0, res.ExitCode, out)

	assert.Equal(t, "again", sh(t, standing(t, layersOn(t, low, high, again)...), "cat /d/b"), "made again after a whiteout")
	assert.Equal(t, "low", sh(t, standing(t, layersOn(t, high, low)...), "cat /d/b"), "the other way round")
}

// A path of a layer is never parsed: what means something in mount options means nothing (case 17).
func TestLayersWithOddPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var dirs []string
	for i, name := range []string{"a:b", "c,d", `e\f`, "g\nh", "i:upperdir=j", " ", `\:k`} {
		dirs = append(dirs, layerIn(t, dir, name, [2]string{fmt.Sprint("f", i), name}))
	}
	sb := standing(t, layersOn(t, dirs...)...)
	assert.Equal(t, "f0 f1 f2 f3 f4 f5 f6", sh(t, sb, "cd /; echo f?"))
	assert.NotContains(t, sh(t, sb, "cat /proc/self/mountinfo"), dir, "the host's paths do not show")
}

// A hundred layers, the last of which wins.
func TestHundredLayers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var dirs []string
	for i := range 100 {
		dirs = append(dirs, layerIn(t, dir, fmt.Sprint(i), [2]string{"top", fmt.Sprint(i)}, [2]string{fmt.Sprint("l/", i), ""}))
	}
	sb := standing(t, layersOn(t, dirs...)...)
	assert.Equal(t, "99", sh(t, sb, "cat /top"))
	assert.Equal(t, "100", sh(t, sb, "ls /l | wc -l"))
}

// As root files have the owners in layers that they have on disk.
func TestLayersKeepOwners(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	l := layerIn(t, dir, "l", [2]string{"mine", "x"})
	require.NoError(t, os.Chown(filepath.Join(l, "mine"), 1000, 1001))
	require.NoError(t, os.Chmod(filepath.Join(l, "mine"), 0o600))
	sb := standing(t, layersOn(t, l)...)
	assert.Equal(t, "1000:1001", sh(t, sb, "stat -c %u:%g /mine"))
	assert.Equal(t, "x", sh(t, sb, "cat /mine"))
	assert.Equal(t, "0", sh(t, sb, "stat -c %u /etc"))
}

func TestLayersAreChecked(t *testing.T) {
	dir := t.TempDir()
	for _, opts := range [][]Option{
		{WithLayers()},
		{WithLayers("")},
		{WithLayers(make([]string, 129)...)},
		{WithLayers(dir), WithRootfs(dir)},
		{WithLayers(dir), WithLayers(dir, dir)},
	} {
		_, err := newSpec(opts)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := New(WithLayers(dir, filepath.Join(dir, "missing")))
	require.ErrorIs(t, err, unix.ENOENT)
	assert.ErrorContains(t, err, "WithLayers")
}
