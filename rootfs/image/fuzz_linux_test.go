package image_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs/image"
)

// FuzzOpen opens archives of images, hostile ones among them, and reads their layers: whatever they are, that ends, with an error of a
// known kind or without one.
func FuzzOpen(f *testing.F) {
	t := &testing.T{}
	raw := layerOf(f, item{name: "f", content: "x"})
	c := encoded(t, config(runtime.GOARCH, sum(raw)))
	name := sum(c)[7:] + ".json"
	save := tarOf(t, map[string][]byte{
		"1/layer.tar": raw, name: c,
		"manifest.json": encoded(t, []object{{"Config": name, "RepoTags": []string{"x:latest"}, "Layers": []string{"1/layer.tar"}}}),
	})
	f.Add(save)
	l := newLayout(t)
	l.files["index.json"] = l.index(l.manifest(runtime.GOARCH, "text"))
	f.Add(tarOf(t, l.files))
	path := filepath.Join(f.TempDir(), "image.tar")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		img, err := image.Open(path, image.WithLimits(image.Limits{Bytes: 1 << 20}))
		if err != nil {
			knownError(t, err)
			return
		}
		defer img.Close()
		for i := range img.Layers() {
			r, err := img.OpenLayer(i)
			if err != nil {
				knownError(t, err)
				continue
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				knownError(t, err)
			}
			require.NoError(t, r.Close())
		}
	})
}

func knownError(t *testing.T, err error) {
	t.Helper()
	var e *image.Error
	require.ErrorAs(t, err, &e)
	_ = err.Error()
	for _, kind := range []error{image.ErrInvalid, image.ErrNotFound, image.ErrLimit, image.ErrUnsupported, tar.ErrHeader} {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Errorf("an error of no known kind: %v", err)
}
