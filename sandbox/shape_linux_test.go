package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Sandboxes asked for in the same words share what is compiled; in other words, or where functions are among them, they do not.
func TestShapesAreShared(t *testing.T) {
	t.Parallel()
	data := []byte("one")
	opts := func() []Option {
		return []Option{WithFile("/box/f", data, 0o644), WithEnv("SHAPE=shared")}
	}
	first := newBox(t, opts()...)
	again := newBox(t, opts()...)
	assert.Same(t, first.engine.shape, again.engine.shape)
	assert.Same(t, first.engine.shape, cloneBox(t, again).engine.shape)
	assert.NotEqual(t, first.PID(), again.PID())

	copy(data, "two") // the option has a copy of what it was given
	other := newBox(t, opts()...)
	assert.NotSame(t, first.engine.shape, other.engine.shape)
	assert.Equal(t, "one", sh(t, again, "cat /box/f"))
	assert.Equal(t, "two", sh(t, other, "cat /box/f"))

	killing := seccomp.Default()
	killing.Default = seccomp.KillProcess // somebody has to answer for each sandbox
	one, two := newBox(t, WithSeccomp(killing)), newBox(t, WithSeccomp(killing))
	assert.NotSame(t, one.engine.shape, two.engine.shape)
}

// What is bound is looked for each time.
func TestShapesFollowTheHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "thing")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o644)) }
	look := func() string {
		return sh(t, newBox(t, WithBind(path, "/mnt/thing", ReadOnly), BestEffort(WithBind(path+"-maybe", "/mnt/maybe", ReadOnly))), "cat /mnt/thing; ls /mnt")
	}
	write("one")
	assert.Equal(t, "onething", look())
	assert.Equal(t, "onething", look())
	require.NoError(t, os.Rename(path, path+"-old"))
	write("two")
	assert.Equal(t, "twothing", look(), "another file of the name")
	require.NoError(t, os.Mkdir(path+"-maybe", 0o755))
	assert.Equal(t, "twomaybe\nthing", look(), "what was missing is there")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o755))
	require.NoError(t, os.WriteFile(path+"/inner", nil, 0o644))
	assert.Equal(t, "inner\nmaybe\nthing", sh(t, newBox(t, WithBind(path, "/mnt/thing", ReadOnly), BestEffort(WithBind(path+"-maybe", "/mnt/maybe", ReadOnly))), "ls /mnt/thing; ls /mnt"))
	require.NoError(t, os.RemoveAll(path))
	_, err := New(WithBind(path, "/mnt/thing", ReadOnly), BestEffort(WithBind(path+"-maybe", "/mnt/maybe", ReadOnly)))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// The zygote keeps a few plans only. One that it has no more is sent again.
func TestShapesComeBack(t *testing.T) {
	first := newBox(t, WithHostname("first"))
	for i := range maxShapes + 2 {
		require.NoError(t, newBox(t, WithHostname(fmt.Sprintf("other-%d", i))).Close())
	}
	// The handle still has its shape; the host program's list and the zygote may not.
	assert.Equal(t, "first", sh(t, cloneBox(t, first), "hostname"))
	assert.Equal(t, "first", sh(t, cloneBox(t, first), "hostname"))

	lost := newBox(t, WithHostname("lost"))
	lost.engine.shape.setup.id += 1 << 40 // the zygote has none of that number
	require.True(t, lost.engine.shape.setup.known.Load())
	assert.Equal(t, "lost", sh(t, cloneBox(t, lost), "hostname"))
	assert.True(t, lost.engine.shape.setup.known.Load())
}
