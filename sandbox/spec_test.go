package sandbox

import (
	"io/fs"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
)

func TestSpecClone(t *testing.T) {
	s, err := newSpec(everyOption())
	require.NoError(t, err)
	s.layers = []string{"/srv/layer"} // which does not go with the WithRootfs that is among them
	c := s.clone()
	require.Equal(t, s, c)

	// Nothing that can be changed in place is shared, in whatever field.
	a, b := reflect.ValueOf(s).Elem(), reflect.ValueOf(c).Elem()
	for i := range a.NumField() {
		f := a.Type().Field(i)
		switch f.Name {
		case "fresh", "handlers":
			continue // there only while a clone's options are folded; functions, which equal nothing
		case "image":
			continue // clones are of the same image
		}
		switch f.Type.Kind() {
		case reflect.Slice, reflect.Map, reflect.Pointer:
			require.False(t, a.Field(i).IsNil(), "everyOption leaves %s out", f.Name)
			if f.Name == "bestEffort" {
				continue // empty here
			}
			assert.NotEqual(t, a.Field(i).Pointer(), b.Field(i).Pointer(), f.Name)
		}
	}
	for i, op := range c.ops {
		if f, ok := op.(rootfs.File); ok {
			f.Data[0] = 'X'
			assert.NotEqual(t, f.Data[0], s.ops[i].(rootfs.File).Data[0])
		}
	}
}

func paths(ops []rootfs.Op) []string {
	var list []string
	for _, op := range ops {
		list = append(list, op.Path())
	}
	return list
}

func TestRootOps(t *testing.T) {
	facts := rootfs.NewFacts(map[string]rootfs.Entry{"/usr": {Type: fs.ModeDir}, "/bin": {Type: fs.ModeSymlink, Link: "usr/bin"}})
	root := func(opts ...Option) []rootfs.Op {
		t.Helper()
		s, err := newSpec(opts)
		require.NoError(t, err)
		ops, err := s.rootOps(facts)
		require.NoError(t, err)
		return ops
	}
	text := func(ops []rootfs.Op, path string) string {
		t.Helper()
		i := slices.IndexFunc(ops, func(op rootfs.Op) bool { return op.Path() == path })
		require.GreaterOrEqual(t, i, 0, path)
		f, ok := ops[i].(rootfs.File)
		require.True(t, ok, "%v", ops[i])
		return string(f.Data)
	}

	t.Run("default", func(t *testing.T) {
		assert.Equal(t, rootfs.Default(facts, rootfs.DefaultEtc()), root())
	})
	t.Run("default with more", func(t *testing.T) {
		ops := root(WithTmpfs("/box", "1m"), WithBind("/srv", "/srv", ReadOnly), WithHostname("glass"), WithCredential(7, 8),
			WithHosts(map[string]string{"db": "10.0.0.2"}), WithResolvConf("1.1.1.1"), WithFile("/etc/passwd", []byte("own"), 0))
		assert.Contains(t, text(ops, "/etc/hosts"), "10.0.0.2\tdb\n")
		assert.Contains(t, text(ops, "/etc/hosts"), "\tglass\n")
		assert.Equal(t, "glass\n", text(ops, "/etc/hostname"))
		assert.Equal(t, "nameserver 1.1.1.1\n", text(ops, "/etc/resolv.conf"))
		assert.Equal(t, "own", text(ops, "/etc/passwd"))
		assert.Contains(t, text(ops, "/etc/group"), "job:x:8:")
		assert.Equal(t, 1, len(slices.DeleteFunc(paths(ops), func(p string) bool { return p != "/box" })), "the caller's takes the place of the default's")
		assert.Equal(t, rootfs.ReadOnly{Target: "/"}, ops[len(ops)-1])
	})
	t.Run("directory", func(t *testing.T) {
		ops := root(WithRootfs("/srv/root"))
		assert.Equal(t, rootfs.On("/srv/root"), ops)
	})
	t.Run("directory with more", func(t *testing.T) {
		ops := root(WithRootfs("/srv/root"), WithTmpfs("/tmp", "1m"), WithResolvConf("1.1.1.1"))
		assert.Equal(t, []string{"/tmp", "/etc/resolv.conf"}, paths(ops)[len(ops)-2:])
		assert.NotContains(t, paths(ops), "/etc/hosts", "what was not asked for is the directory's own")
	})
	t.Run("host", func(t *testing.T) {
		assert.Nil(t, root(WithHost(namespace.Mount)))
	})
	t.Run("link in the way", func(t *testing.T) {
		assert.Contains(t, paths(root(WithBind("/srv", "/bin/x"))), "/bin/x")
	})
	t.Run("all options", func(t *testing.T) {
		root(everyOption()...)
	})
}

func TestComparePaths(t *testing.T) {
	list := []string{"/a-b", "/b", "/a/b/c", "/a", "/a/b", "/a.b"}
	slices.SortFunc(list, comparePaths)
	assert.Equal(t, []string{"/a", "/a/b", "/a/b/c", "/a-b", "/a.b", "/b"}, list)
}
