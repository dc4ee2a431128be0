package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sameShape makes two sandboxes until they are of one shape, and returns the second: another test may just have had the host looked at anew, or used up the
// room for shapes.
func sameShape(t *testing.T, one, two func() *Sandbox) *Sandbox {
	t.Helper()
	for range 50 {
		if a, b := one(), two(); a.engine.shape == b.engine.shape {
			return b
		}
	}
	require.FailNow(t, "no two of one shape")
	return nil
}

// Sandboxes asked for in the same words share what is compiled; in other words, or where functions are among them, they do not.
func TestShapesAreShared(t *testing.T) {
	t.Parallel()
	data := []byte("one")
	opts := func() []Option {
		return []Option{WithFile("/box/f", data, 0o644), WithEnv("SHAPE=shared")}
	}
	made := func() *Sandbox { t.Helper(); return newBox(t, opts()...) }
	first := made()
	again := sameShape(t, made, made)
	sameShape(t, made, func() *Sandbox { return cloneBox(t, again) })
	assert.NotEqual(t, first.PID(), again.PID())

	copy(data, "two") // the option has a copy of what it was given
	other := newBox(t, opts()...)
	assert.True(t, first.engine.shape != other.engine.shape)
	assert.Equal(t, "one", sh(t, again, "cat /box/f"))
	assert.Equal(t, "two", sh(t, other, "cat /box/f"))

	killing := seccomp.Default()
	killing.Default = seccomp.KillProcess // somebody has to answer for each sandbox
	one, two := newBox(t, WithSeccomp(killing)), newBox(t, WithSeccomp(killing))
	assert.True(t, one.engine.shape != two.engine.shape)
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

// A root of the caller's is looked into each time: what was there is looked for, and what was missing.
func TestShapesFollowTheRoot(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(top), 0o755))
	require.NoError(t, os.Chmod(top, 0o755))
	root := filepath.Join(top, "root")
	make := func(what string) {
		for _, d := range []string{"", "proc", "dev", "tmp", "mnt"} {
			require.NoError(t, os.Mkdir(filepath.Join(root, d), 0o755))
		}
		require.NoError(t, os.WriteFile(filepath.Join(root, "name"), []byte(what), 0o644))
	}
	make("first")
	opts := []Option{WithRootfs(root), WithTmpfs("/mnt/deep", "1m"), BestEffort(WithMemory("64m"))}
	made := func() *Sandbox { t.Helper(); return newBox(t, opts...) }
	file := func(sb *Sandbox, path string) string {
		b, err := fs.ReadFile(sb.FS(), strings.TrimPrefix(path, "/"))
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	layered := func(sb *Sandbox) bool { return strings.Contains(sb.Plan(), "overlay") }

	// It lacks a mount point, which is made in a layer over it.
	two := sameShape(t, made, made)
	assert.True(t, layered(two))
	assert.Equal(t, "first", file(two, "/name"))

	// With it there is none, also for the next, and again without it.
	require.NoError(t, os.Mkdir(filepath.Join(root, "mnt/deep"), 0o755))
	four := sameShape(t, made, made)
	assert.False(t, layered(four))
	require.NoError(t, os.Remove(filepath.Join(root, "mnt/deep")))
	assert.True(t, layered(made()))

	// A file, or a link to nowhere, is no mount point.
	require.NoError(t, os.Mkdir(filepath.Join(root, "mnt/deep"), 0o755))
	assert.False(t, layered(made()))
	require.NoError(t, os.Remove(filepath.Join(root, "mnt/deep")))
	require.NoError(t, os.Symlink("/nowhere", filepath.Join(root, "mnt/deep")))
	_, err := New(opts...)
	assert.Error(t, err)
	require.NoError(t, os.Remove(filepath.Join(root, "mnt/deep")))
	require.NoError(t, os.Mkdir(filepath.Join(root, "mnt/deep"), 0o755))
	assert.False(t, layered(made()))

	// The library's own places must not be links, however often they were none.
	require.NoError(t, os.Remove(filepath.Join(root, "dev")))
	require.NoError(t, os.Symlink("tmp", filepath.Join(root, "dev")))
	_, err = New(opts...)
	assert.ErrorIs(t, err, unix.ELOOP)
	require.NoError(t, os.Remove(filepath.Join(root, "dev")))
	require.NoError(t, os.Mkdir(filepath.Join(root, "dev"), 0o755))
	assert.Equal(t, "first", file(made(), "/name"))

	// Another directory at the path is another root, and none is an error.
	require.NoError(t, os.Rename(root, root+"-old"))
	make("second")
	require.NoError(t, os.Mkdir(filepath.Join(root, "mnt/deep"), 0o755))
	assert.Equal(t, "second", file(made(), "/name"))
	assert.Equal(t, "first", file(four, "/name"))
	require.NoError(t, os.RemoveAll(root))
	require.NoError(t, os.Symlink("root-old", root))
	assert.Equal(t, "first", file(made(), "/name"), "the path is the caller's, links and all")
	require.NoError(t, os.Remove(root))
	require.NoError(t, os.WriteFile(root, nil, 0o755))
	_, err = New(opts...)
	assert.ErrorIs(t, err, unix.ENOTDIR)
	require.NoError(t, os.Remove(root))
	_, err = New(opts...)
	assert.ErrorIs(t, err, os.ErrNotExist)
}
