package image_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/image"
)

// The cases of layers that attack whoever unpacks them. Each is first unpacked by naive, which does what a program without precautions does,
// into a folder beside a victim: where the victim comes to harm there, the attack is a real one.

// naive unpacks by joined paths.
func naive(t *testing.T, dir string, raw []byte) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		p := filepath.Join(dir, h.Name)
		if hidden, ok := strings.CutPrefix(filepath.Base(p), ".wh."); ok {
			_ = os.RemoveAll(filepath.Dir(p) + "/" + hidden)
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
			_ = os.MkdirAll(p, 0o755)
			_ = os.Chmod(p, h.FileInfo().Mode())
		case tar.TypeSymlink:
			_ = os.Symlink(h.Linkname, p)
			_ = os.RemoveAll(filepath.Clean(dir) + ".gone")
			if h.Name == "/." || h.Name == "." { // a root that was removed first, as for any other name
				_ = os.Remove(dir)
				_ = os.Symlink(h.Linkname, dir)
			}
		case tar.TypeLink:
			_ = os.Link(filepath.Join(dir, h.Linkname), p)
		case tar.TypeReg:
			_ = os.MkdirAll(filepath.Dir(p), 0o755)
			data, err := io.ReadAll(r)
			require.NoError(t, err)
			_ = os.WriteFile(p, data, 0o644)
		}
	}
}

// victims make a folder to unpack into, a victim beside it, and a function that tells whether it is unharmed.
func victims(t *testing.T) (into, victim string, unharmed func() bool) {
	t.Helper()
	top := t.TempDir()
	into, victim = filepath.Join(top, "a", "into"), filepath.Join(top, "victim")
	require.NoError(t, os.MkdirAll(into, 0o755))
	require.NoError(t, os.Mkdir(victim, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(victim, "file"), []byte("safe"), 0o644))
	return into, victim, func() bool {
		data, err := os.ReadFile(filepath.Join(victim, "file"))
		names, _ := os.ReadDir(victim)
		above, _ := os.ReadDir(top)
		return err == nil && string(data) == "safe" && len(names) == 1 && len(above) == 2
	}
}

// attack unpacks layers that get at a victim if they are unpacked naively. They are refused with kind, or harmless if it is nil.
func attack(t *testing.T, kind error, layers func(victim string) [][]item) {
	t.Helper()
	into, victim, unharmed := victims(t)
	for _, l := range layers(victim) {
		naive(t, into, layerOf(t, l...))
	}
	require.False(t, unharmed(), "the control: nothing happens")

	_, victim, unharmed = victims(t)
	var raws [][]byte
	for _, l := range layers(victim) {
		raws = append(raws, layerOf(t, l...))
	}
	if kind != nil {
		refused(t, kind, raws...)
	} else {
		must(t, raws...)
	}
	assert.True(t, unharmed())
}

func TestNamesThatLeadOut(t *testing.T) { // case 88
	t.Parallel()
	for _, name := range []string{"../../victim/file", "x/../../../victim/file", "/../../victim/file", "./../../victim/file", "../../victim/new", "../../new"} {
		attack(t, image.ErrInvalid, func(string) [][]item { return [][]item{{{name: name, content: "harm"}}} })
	}
	// An absolute name counts from the root of the layer; the control is a program that takes it as it is.
	_, victim, unharmed := victims(t)
	u := must(t, layerOf(t, item{name: filepath.Join(victim, "file"), content: "harm"}))
	assert.True(t, unharmed())
	data, err := os.ReadFile(filepath.Join(u.Dirs[0], victim, "file"))
	require.NoError(t, err)
	assert.Equal(t, "harm", string(data))
	require.NoError(t, os.WriteFile(filepath.Join(victim, "file"), data, 0o644))
	assert.False(t, unharmed(), "the control")
}

func TestWriteThroughLink(t *testing.T) { // case 89
	t.Parallel()
	for _, to := range []string{"", "../../victim"} {
		target := func(victim string) string {
			if to != "" {
				return to
			}
			return victim
		}
		attack(t, image.ErrInvalid, func(victim string) [][]item {
			return [][]item{{{name: "out", link: target(victim)}, {name: "out/file", content: "harm"}}}
		})
		attack(t, image.ErrInvalid, func(victim string) [][]item {
			return [][]item{{{name: "out", link: target(victim)}, {name: "out/new/deep/", mode: 0o777}}}
		})
		// The link itself is replaced, as by any program that unpacks carefully.
		attack(t, nil, func(victim string) [][]item {
			return [][]item{{{name: "out", link: filepath.Join(target(victim), "file")}, {name: "out", content: "harm"}}}
		})
		attack(t, image.ErrUnsupported, func(victim string) [][]item {
			return [][]item{{{name: "out", link: target(victim)}}, {{name: "out/file", content: "harm"}}}
		})
	}
}

func TestHardLinkOut(t *testing.T) { // case 90
	t.Parallel()
	attack(t, image.ErrInvalid, func(string) [][]item {
		return [][]item{{{name: "alias", hard: "../../victim/file"}, {name: "alias", content: "harm"}}}
	})
	attack(t, image.ErrInvalid, func(victim string) [][]item {
		return [][]item{{{name: "dir", link: victim}, {name: "alias", hard: "dir/file"}, {name: "alias", content: "harm"}}}
	})
	// To a link, it is the link that gets a second name, and a file put there takes the place of that.
	attack(t, nil, func(victim string) [][]item {
		return [][]item{{{name: "link", link: filepath.Join(victim, "file")}, {name: "alias", hard: "link"}, {name: "alias", content: "harm"}}}
	})
	// Nor does what is written to one name of a file change it under its other names.
	u := must(t, layerOf(t, item{name: "a", content: "a"}, item{name: "b", hard: "a"}, item{name: "b", content: "b"}))
	assert.Equal(t, map[string]string{"a": "a", "b": "b"}, shown(t, u.Dirs...))
	for _, hard := range []string{"", "b", "d", ".", ".wh.x", "never", "f/x"} {
		refused(t, image.ErrInvalid, layerOf(t, item{name: "f"}, item{name: "d/"}, item{name: "b", hard: "f"}, item{name: "x", kind: tar.TypeLink}, item{name: "b", hard: hard, kind: tar.TypeLink}))
	}
}

func TestWhiteoutsThatLeadOut(t *testing.T) { // case 91
	t.Parallel()
	attack(t, image.ErrInvalid, func(string) [][]item { return [][]item{{{name: "x/"}}, {{name: "x/../../.wh..."}}} })
	attack(t, image.ErrInvalid, func(string) [][]item { return [][]item{{{name: "../../.wh.victim"}}} })
	attack(t, nil, func(victim string) [][]item { return [][]item{{{name: "out", link: victim}}, {{name: "out/.wh.file"}}} })
	attack(t, nil, func(victim string) [][]item { return [][]item{{{name: "out", link: victim}, {name: "out/.wh.file"}}} })
	low := layerOf(t, item{name: "d/f", content: "low"})
	for _, bad := range []item{{name: ".wh."}, {name: ".wh.."}, {name: ".wh..."}, {name: "d/.wh.."}, {name: "d/.wh..."}, {name: "d/.wh.f/"}, {name: "d/.wh.f/x"}, {name: ".wh.d/.wh.f"}} {
		into := t.TempDir()
		naive(t, into, low)
		refused(t, image.ErrInvalid, low, layerOf(t, bad))
	}
	// A whiteout below a link of a lower layer hides nothing of what the link leads to.
	u := must(t, layerOf(t, item{name: "d/f", content: "low"}, item{name: "l", link: "d"}), layerOf(t, item{name: "l/.wh.f"}))
	assert.Equal(t, "low", shown(t, u.Dirs...)["d/f"])
}

func TestRootIsADirectory(t *testing.T) { // case 92, CVE-2021-29136
	t.Parallel()
	for _, name := range []string{"/.", ".", "./", "//"} {
		into, victim, unharmed := victims(t)
		naive(t, into, layerOf(t, item{name: "/.", link: victim}, item{name: "file", content: "harm"}))
		require.False(t, unharmed(), "the control")
		_, victim, unharmed = victims(t)
		refused(t, image.ErrInvalid, layerOf(t, item{name: name, link: victim, kind: tar.TypeSymlink}, item{name: "file", content: "harm"}))
		assert.True(t, unharmed())
	}
	refused(t, image.ErrInvalid, layerOf(t, item{name: "f"}, item{name: "/.", hard: "f"}))
	refused(t, image.ErrInvalid, layerOf(t, item{name: "/.", kind: tar.TypeFifo}))
}

// What an image may cost is bounded in bytes, entries and by its compression; the control is the same with higher limits (case 93).
func TestUnpackBombs(t *testing.T) {
	t.Parallel()
	many := make([]item, 0, 40)
	for range 20 {
		many = append(many, item{name: strings.Repeat("d/", 20) + "f"}, item{name: "g", content: "0123456789"})
	}
	deep := layerOf(t, item{name: strings.Repeat("d/", 60) + "f"})
	var deeper []item // a thousand whiteouts, each in a place as deep as can be
	for i := range 1000 {
		deeper = append(deeper, item{name: fmt.Sprint(strings.Repeat("d/", 40), ".wh.", i)})
	}
	tests := map[string]struct {
		raws      [][]byte
		low, high image.Limits
	}{
		"names":          {[][]byte{deep, deep, layerOf(t, deeper...)}, image.Limits{Entries: 200}, image.Limits{Entries: 5000}},
		"bytes":          {[][]byte{layerOf(t, item{name: "a", content: strings.Repeat("a", 3000)}), layerOf(t, item{name: "b", content: strings.Repeat("b", 3000)})}, image.Limits{Bytes: 5000}, image.Limits{Bytes: 10_000}},
		"same name":      {[][]byte{layerOf(t, many...)}, image.Limits{Entries: 59}, image.Limits{Entries: 60}},
		"implied":        {[][]byte{deep}, image.Limits{Entries: 60}, image.Limits{Entries: 61}},
		"sparse":         {[][]byte{sparse(1 << 26)}, image.Limits{Bytes: 1 << 25}, image.Limits{Bytes: 1 << 26}},
		"uncompressed":   {[][]byte{layerOf(t), layerOf(t, item{name: "z", size: 80 << 20})}, image.Limits{}, image.Limits{Ratio: -1}},
		"files of links": {[][]byte{layerOf(t, item{name: "a"}, item{name: "b", hard: "a"}, item{name: "c", hard: "a"})}, image.Limits{Entries: 2}, image.Limits{Entries: 3}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && (name == "sparse" || name == "uncompressed") {
				t.Skip("slow: many MiB to hash")
			}
			dir := imageOf(t, tt.raws...)
			s := storeIn(t)
			_, err := unpack(t, s, dir, image.WithLimits(tt.low))
			require.ErrorIs(t, err, image.ErrLimit)
			u, err := unpack(t, s, dir, image.WithLimits(tt.high))
			require.NoError(t, err, "the control")
			u.Release()
			if name == "uncompressed" || name == "names" {
				return // what it cost to make a layer says nothing about what it costs in a store
			}
			_, err = unpack(t, s, dir, image.WithLimits(tt.low))
			require.ErrorIs(t, err, image.ErrLimit, "also if the store has it already")
		})
	}
}

// sparse is a layer with one file in GNU's old sparse form that claims a size of n bytes and has 512.
func sparse(n int64) []byte {
	block := make([]byte, 512)
	copy(block, "holes")
	put := func(at, width int, v int64) {
		s := strings.Repeat("0", width) + octal(v)
		if len(octal(v)) > width-1 { // base 256
			block[at] = 0x80
			for i := range 8 {
				block[at+width-1-i] = byte(v >> (8 * i))
			}
			return
		}
		copy(block[at:at+width-1], s[len(s)-(width-1):])
	}
	put(100, 8, 0o644)
	put(108, 8, 0)
	put(116, 8, 0)
	put(124, 12, 512)
	put(136, 12, 0)
	block[156] = tar.TypeGNUSparse
	copy(block[257:], "ustar  \x00")
	put(386, 12, n-512) // where the one piece of data lies, and its size
	put(398, 12, 512)
	put(483, 12, n)
	copy(block[148:], "        ")
	total := int64(0)
	for _, b := range block {
		total += int64(b)
	}
	put(148, 7, total)
	block[154], block[155] = 0, ' '
	data := bytes.Repeat([]byte("x"), 512)
	return append(append(block, data...), make([]byte, 1024)...)
}

func octal(v int64) string {
	if v == 0 {
		return "0"
	}
	var b []byte
	for ; v > 0; v /= 8 {
		b = append([]byte{byte('0' + v%8)}, b...)
	}
	return string(b)
}

// Nothing of an image is executed while it is unpacked, whatever it calls itself (case 95, CVE-2026-41567): programs that others
// use for it are scripts here which leave a trace. The control runs one.
func TestNothingIsExecuted(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	script := "#!/bin/sh\n: > " + trace + "\n"
	var items []item
	for _, dir := range []string{"bin/", "usr/bin/", "sbin/", "lib/"} {
		for _, name := range []string{"tar", "gzip", "unpigz", "zstd", "xz", "sh", "ldconfig", "newuidmap"} {
			items = append(items, item{name: dir + name, content: script, mode: 0o4755})
		}
	}
	items = append(items, item{name: "etc/ld.so.preload", content: "/lib/tar\n"})
	raw := layerOf(t, items...)
	s := storeIn(t)
	first, err := unpack(t, s, imageOf(t, raw))
	require.NoError(t, err)
	t.Setenv("PATH", filepath.Join(first.Dirs[0], "usr/bin")+":"+filepath.Join(first.Dirs[0], "bin"))
	t.Chdir(filepath.Join(first.Dirs[0], "usr/bin"))
	u, err := unpack(t, s, imageOf(t, raw, raw, raw)) // uncompressed, gzip and zstd
	require.NoError(t, err)
	require.Len(t, u.Dirs, 3)
	require.NoFileExists(t, trace)
	path, err := exec.LookPath("unpigz")
	require.NoError(t, err)
	require.NoError(t, (&exec.Cmd{Path: path, Args: []string{path}}).Run())
	require.FileExists(t, trace, "the control")
}

// A layer that is not what its digests say is not there afterwards, though all of its files were good (case 96). The control is the
// same layer, as it was promised.
func TestLiesAreNotStored(t *testing.T) {
	t.Parallel()
	good := layerOf(t, item{name: "f", content: "good"})
	lie := bytes.Replace(good, []byte("good"), []byte("evil"), 1)
	tail := append(bytes.Clone(good), "more"...)
	for _, other := range [][]byte{good, lie, tail} {
		l := newLayout(t)
		layer := l.blob(oci+"layer.v1.tar", other)
		c := l.blob(oci+"config.v1+json", encoded(t, config(runtime.GOARCH, sum(good))))
		l.files["index.json"] = l.index(l.blob(oci+"manifest.v1+json", encoded(t, object{"schemaVersion": 2, "config": c, "layers": []object{layer}})))
		s := storeIn(t)
		u, err := unpack(t, s, l.write())
		if bytes.Equal(other, good) {
			require.NoError(t, err)
			u.Release()
			continue
		}
		require.ErrorIs(t, err, image.ErrInvalid)
		list, err := s.Layers()
		require.NoError(t, err)
		assert.Empty(t, list)
	}
}

// Overlayfs' own marks cannot be smuggled in: neither as attributes nor as devices 0/0 (case 97). The control sets them on what was
// unpacked, and then they do hide and show.
func TestSmuggledMarks(t *testing.T) {
	t.Parallel()
	low := layerOf(t, item{name: "d/f", content: "low"}, item{name: "g", content: "low"}, item{name: "h", content: "low"})
	marks := map[string]string{
		"user.overlay.opaque": "y", "user.overlay.redirect": "/g", "user.overlay.metacopy": "", "user.overlay.origin": "x", "user.overlay.whiteout": "y", "user.overlay.overlay.opaque": "y",
		"trusted.overlay.opaque": "y", "trusted.overlay.redirect": "/g", "security.capability": "x", "system.posix_acl_access": "x", "user.fine": "y",
	}
	u := must(t, low, layerOf(t, item{name: "d/", xattrs: marks}, item{name: "g", kind: tar.TypeChar, mode: 0o666}, item{name: "h", xattrs: marks}, item{name: "mem", kind: tar.TypeBlock}))
	v := shown(t, u.Dirs...)
	assert.Equal(t, "low", v["d/f"])
	assert.Contains(t, v, "g")
	assert.Equal(t, "", v["g"], "a file, and no hole in the layer")
	assert.NotEmpty(t, u.Notes)
	for _, name := range []string{"d", "g", "h", "mem"} {
		p := filepath.Join(u.Dirs[1], name)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(p, &st))
		assert.Contains(t, []uint32{unix.S_IFREG, unix.S_IFDIR}, st.Mode&unix.S_IFMT, name)
		buf := make([]byte, 1024)
		n, err := unix.Llistxattr(p, buf)
		require.NoError(t, err)
		for attr := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
			assert.Contains(t, []string{"", "user.fine"}, attr, name)
		}
	}
	require.NoError(t, unix.Setxattr(filepath.Join(u.Dirs[1], "d"), "user.overlay.opaque", []byte("y"), 0))
	require.NoError(t, os.Remove(filepath.Join(u.Dirs[1], "g")))
	require.NoError(t, unix.Mknod(filepath.Join(u.Dirs[1], "g"), unix.S_IFCHR, 0))
	v = shown(t, u.Dirs...)
	assert.NotContains(t, v, "d/f", "the control")
	assert.NotContains(t, v, "g", "the control")
}
