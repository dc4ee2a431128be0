package image

import (
	"archive/tar"
	"bytes"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// model is a root as the specification describes it, in memory: what is at each path. It knows nothing of overlayfs.
type model map[string]byte

// apply unpacks a layer over a root. What comes later in the layer takes the place of what came before; whiteouts remove what layers
// below have, and nothing of the layer itself.
func (m model) apply(layer []tar.Header) model {
	root, own := model{}, model{}
	for p, kind := range m {
		root[p] = kind
	}
	remove := func(p string, self bool) {
		for q := range root {
			if (strings.HasPrefix(q, p+"/") || self && q == p || p == ".") && own[q] == 0 {
				delete(root, q)
			}
		}
	}
	put := func(p string, kind byte) {
		if kind != tar.TypeDir || root[p] != tar.TypeDir {
			for q := range root {
				if q == p || strings.HasPrefix(q, p+"/") {
					delete(root, q)
					delete(own, q)
				}
			}
		}
		root[p], own[p] = kind, kind
	}
	for _, h := range layer {
		p := path.Clean(h.Name)
		hidden, whiteout := strings.CutPrefix(path.Base(p), ".wh.")
		// A whiteout of nothing needs no directory to stand in, which would only show.
		needed := !whiteout || h.Name == path.Join(path.Dir(p), opaqueMark) || m[path.Join(path.Dir(p), hidden)] != 0
		for i := range p {
			if p[i] == '/' && own[p[:i]] == tar.TypeReg {
				needed, whiteout, hidden = false, true, "nothing" // of what a file of the layer hides already
			}
			if p[i] == '/' && needed && own[p[:i]] == 0 {
				put(p[:i], tar.TypeDir)
			}
		}
		switch {
		case path.Base(p) == opaqueMark:
			remove(path.Dir(p), false)
		case whiteout:
			remove(path.Join(path.Dir(p), hidden), true)
		default:
			put(p, h.Typeflag)
		}
	}
	return root
}

// layerFrom makes a layer of bytes: of few names, so that entries meet.
func layerFrom(data []byte) []tar.Header {
	var layer []tar.Header
	for len(data) >= 2 && len(layer) < 12 {
		name := "."
		for n := data[0] % 4; ; n-- {
			name = path.Join(name, string(rune('a'+data[0]/4%3)))
			if data[0] = data[0]/12 + 3*data[0]; n == 0 {
				break
			}
		}
		h := tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}
		switch data[1] % 6 {
		case 0, 1:
			h.Typeflag = tar.TypeDir
		case 2:
			h.Name = path.Join(path.Dir(name), ".wh."+path.Base(name))
		case 3:
			h.Name = path.Join(name, opaqueMark)
		}
		layer = append(layer, h)
		data = data[2:]
	}
	return layer
}

// FuzzWhiteouts unpacks layers over one another and compares what overlayfs would show with the model.
func FuzzWhiteouts(f *testing.F) {
	f.Add([]byte("\x01\x04\x02\x04\x05\x04"), []byte("\x01\x02\x01\x00"), []byte("\x02\x03"))
	f.Add([]byte("abcdefghijkl"), []byte("mnopqrstuvwx"), []byte("0123456789"))
	f.Add([]byte("\x00\x04"), []byte("\x00\x02\x00\x04\x00\x00"), []byte("\x00\x05"))
	for i := range byte(16) {
		f.Add([]byte{1, 4, 2, 4, 7, 4, 11, 4, 3, 4}, []byte{i, 2, i + 3, i, 7 * i, 3 * i, 5 * i, 4}, []byte{3 * i, i, 2 * i, 3, i, 0, 11 * i, 2})
	}
	top := f.TempDir()
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		dir, err := os.MkdirTemp(top, "")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		root := model{}
		var lower tree.Stack
		defer func() {
			for _, fd := range lower {
				_ = unix.Close(fd)
			}
		}()
		for i, data := range [][]byte{a, b, c} {
			layer := layerFrom(bytes.Clone(data))
			into := filepath.Join(dir, string(rune('0'+i)))
			require.NoError(t, os.Mkdir(into, 0o700))
			fd, err := unix.Open(into, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			var raw bytes.Buffer
			w := tar.NewWriter(&raw)
			for _, h := range layer {
				require.NoError(t, w.WriteHeader(&h))
			}
			require.NoError(t, w.Close())
			limits := Limits{}.orDefault()
			err = newLayerWriter(fd, lower, newBudget(limits)).write(t.Context(), &raw)
			lower = append(lower, fd)
			if err != nil {
				return // something in a file of the same layer
			}
			root = root.apply(layer)
		}
		got := model{}
		shownBy(t, lower, ".", got)
		require.Equal(t, root, got, "%v", [][]tar.Header{layerFrom(a), layerFrom(b), layerFrom(c)})
	})
}

// shownBy lists what a stack shows, by looking for every name there may be.
func shownBy(t *testing.T, s tree.Stack, dir string, into model) {
	t.Helper()
	for _, name := range []string{"a", "b", "c"} {
		p := path.Join(dir, name)
		st, err := s.Stat(p)
		require.NoError(t, err)
		switch {
		case st == nil:
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			into[p] = tar.TypeDir
			shownBy(t, s, p, into)
		default:
			into[p] = tar.TypeReg
		}
	}
}
