package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs/image"
)

const oci = "application/vnd.oci.image."

type object = map[string]any

// layout is a layout that a test builds, file by file.
type layout struct {
	t     *testing.T
	files map[string][]byte
}

func newLayout(t *testing.T) *layout {
	return &layout{t, map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
}

func sum(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func encoded(t *testing.T, v any) []byte {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return data
}

// blob stores data and returns its descriptor.
func (l *layout) blob(mediaType string, data []byte) object {
	l.files["blobs/sha256/"+sum(data)[7:]] = data
	return object{"mediaType": mediaType, "digest": sum(data), "size": len(data)}
}

func tarOf(t *testing.T, files map[string][]byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}))
		_, err := w.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func packed(t *testing.T, data []byte, suffix string) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch suffix {
	case "":
		return data
	case "+gzip":
		w = gzip.NewWriter(&b)
	default:
		var err error
		w, err = zstd.NewWriter(&b)
		require.NoError(t, err)
	}
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func config(arch string, diffIDs ...string) object {
	return object{
		"os": "linux", "architecture": arch, "rootfs": object{"type": "layers", "diff_ids": diffIDs},
		"config": object{"Entrypoint": []string{"/bin/sh"}, "Env": []string{"A=b"}, "WorkingDir": "srv/../x", "User": "job"},
	}
}

// manifest stores an image of three layers and returns its descriptor.
func (l *layout) manifest(arch, text string) object {
	var layers []object
	var ids []string
	for _, suffix := range []string{"", "+gzip", "+zstd"} {
		raw := tarOf(l.t, map[string][]byte{"f" + suffix: []byte(text)})
		ids = append(ids, sum(raw))
		layers = append(layers, l.blob(oci+"layer.v1.tar"+suffix, packed(l.t, raw, suffix)))
	}
	c := l.blob(oci+"config.v1+json", encoded(l.t, config(arch, ids...)))
	d := l.blob(oci+"manifest.v1+json", encoded(l.t, object{"schemaVersion": 2, "config": c, "layers": layers}))
	d["platform"] = object{"os": "linux", "architecture": arch}
	return d
}

func (l *layout) index(manifests ...object) []byte {
	return encoded(l.t, object{"schemaVersion": 2, "manifests": manifests})
}

// write writes the layout to a folder.
func (l *layout) write() string {
	dir := l.t.TempDir()
	for name, data := range l.files {
		p := filepath.Join(dir, name)
		require.NoError(l.t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(l.t, os.WriteFile(p, data, 0o644))
	}
	return dir
}

func (l *layout) archive() string {
	p := filepath.Join(l.t.TempDir(), "image.tar")
	require.NoError(l.t, os.WriteFile(p, tarOf(l.t, l.files), 0o644))
	return p
}

func readLayers(t *testing.T, img *image.Image) {
	t.Helper()
	for i := range img.Layers() {
		r, err := img.OpenLayer(i)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
}

func TestOpenLayout(t *testing.T) {
	l := newLayout(t)
	attest := l.blob(oci+"manifest.v1+json", []byte(`{}`))
	attest["platform"] = object{"os": "unknown", "architecture": "unknown"}
	attest["annotations"] = object{"vnd.docker.reference.type": "attestation-manifest"}
	nested := l.blob(oci+"index.v1+json", l.index(attest, l.manifest("s390x", "other"), l.manifest(runtime.GOARCH, "mine")))
	l.files["index.json"] = l.index(nested)
	for _, path := range []string{l.write(), l.archive()} {
		img, err := image.Open(path)
		require.NoError(t, err)
		assert.Equal(t, runtime.GOARCH, img.Config().Platform.Architecture)
		assert.Equal(t, "/x", img.Config().WorkingDir)
		require.Len(t, img.Layers(), 3)
		readLayers(t, img)
		require.NoError(t, img.Close())

		img, err = image.Open(path, image.WithPlatform(image.Platform{OS: "linux", Architecture: "s390x"}))
		require.NoError(t, err)
		assert.Equal(t, "s390x", img.Config().Platform.Architecture)
		require.NoError(t, img.Close())

		_, err = image.Open(path, image.WithPlatform(image.Platform{OS: "linux", Architecture: "mips"}))
		assert.ErrorIs(t, err, image.ErrNotFound)
	}
}

func TestRefs(t *testing.T) {
	l := newLayout(t)
	a, b := l.manifest(runtime.GOARCH, "a"), l.manifest(runtime.GOARCH, "b")
	a["annotations"] = object{"org.opencontainers.image.ref.name": "v1"}
	a["artifactType"] = oci + "config.v1+json"
	b["annotations"] = object{"io.containerd.image.name": "docker.io/library/b:latest"}
	l.files["index.json"] = l.index(a, b)
	dir := l.write()
	for ref, want := range map[string]any{"v1": a["digest"], "b": b["digest"], b["digest"].(string): b["digest"]} {
		img, err := image.Open(dir, image.WithRef(ref))
		require.NoError(t, err, ref)
		assert.Equal(t, want, img.Digest())
		require.NoError(t, img.Close())
	}
	_, err := image.Open(dir)
	assert.ErrorIs(t, err, image.ErrInvalid)
	_, err = image.Open(dir, image.WithRef("v2"))
	assert.ErrorIs(t, err, image.ErrNotFound)
}

func TestDockerSave(t *testing.T) {
	raw := tarOf(t, map[string][]byte{"f": []byte("x")})
	c := encoded(t, config(runtime.GOARCH, sum(raw)))
	name := sum(c)[7:] + ".json"
	l := &layout{t, map[string][]byte{
		"1/layer.tar": raw, name: c,
		"manifest.json": encoded(t, []object{{"Config": name, "RepoTags": []string{"x:latest"}, "Layers": []string{"1/layer.tar"}}}),
	}}
	img, err := image.Open(l.archive(), image.WithRef("x"))
	require.NoError(t, err)
	readLayers(t, img)
	require.NoError(t, img.Close())

	l.files[name] = append(c, ' ')
	_, err = image.Open(l.archive())
	assert.ErrorIs(t, err, image.ErrInvalid, "a configuration that is not what its name says")
}

// Each fault makes an image refused that is good without it (case 96, CVE-2021-41190).
func TestRefused(t *testing.T) {
	good := func() (*layout, object) {
		l := newLayout(t)
		return l, l.manifest(runtime.GOARCH, "x")
	}
	raw := func(l *layout, d object) []byte { return l.files["blobs/sha256/"+d["digest"].(string)[7:]] }
	again := func(l *layout, d object, from, to string) object {
		data := bytes.Replace(raw(l, d), []byte(from), []byte(to), 1)
		require.NotEqual(t, raw(l, d), data)
		return l.blob(d["mediaType"].(string), data)
	}
	tests := map[string]func(*layout, object) object{
		"none":       func(_ *layout, d object) object { return d },
		"size":       func(_ *layout, d object) object { d["size"] = d["size"].(int) + 1; return d },
		"digest":     func(l *layout, d object) object { raw(l, d)[1]++; return d },
		"path":       func(_ *layout, d object) object { d["digest"] = "sha256:../../x"; return d },
		"also index": func(l *layout, d object) object { return again(l, d, `{`, `{"manifests":[],`) },
		"twice":      func(l *layout, d object) object { return again(l, d, `{`, `{"layers":[],`) },
		"by case":    func(l *layout, d object) object { return again(l, d, `{`, `{"Layers":[],`) },
		"media type": func(l *layout, d object) object {
			return again(l, d, `{`, `{"mediaType":"`+oci+`index.v1+json",`)
		},
		"compression": func(l *layout, d object) object { return again(l, d, "tar+gzip", "tar") },
		"diffID": func(l *layout, d object) object {
			var doc struct{ Config object }
			require.NoError(t, json.Unmarshal(raw(l, d), &doc))
			c := again(l, object{"digest": doc.Config["digest"], "mediaType": doc.Config["mediaType"]}, "sha256:", "sha256:0000")
			return again(l, d, doc.Config["digest"].(string), c["digest"].(string))
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			l, d := good()
			d = spoil(l, d)
			l.files["index.json"] = l.index(d)
			err := readAll(l.write())
			if name == "none" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, image.ErrInvalid)
		})
	}
}

func readAll(dir string) error {
	img, err := image.Open(dir)
	if err != nil {
		return err
	}
	defer img.Close()
	for i := range img.Layers() {
		r, err := img.OpenLayer(i)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		_ = r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// A layer of nothing but zeros is cut off (case 93); with the limit lifted it is read.
func TestBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: many MiB to hash")
	}
	l := newLayout(t)
	zeros := tarOf(t, map[string][]byte{"z": make([]byte, 80<<20)})
	layer := l.blob(oci+"layer.v1.tar+gzip", packed(t, zeros, "+gzip"))
	c := l.blob(oci+"config.v1+json", encoded(t, config(runtime.GOARCH, sum(zeros))))
	l.files["index.json"] = l.index(l.blob(oci+"manifest.v1+json", encoded(t, object{"schemaVersion": 2, "config": c, "layers": []object{layer}})))
	dir := l.write()
	for _, tt := range []struct {
		limits image.Limits
		err    error
	}{{image.Limits{}, image.ErrLimit}, {image.Limits{Ratio: -1}, nil}, {image.Limits{Ratio: -1, Bytes: 1 << 20}, image.ErrLimit}} {
		img, err := image.Open(dir, image.WithLimits(tt.limits))
		require.NoError(t, err)
		r, err := img.OpenLayer(0)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, r)
		require.ErrorIs(t, err, tt.err)
		require.NoError(t, r.Close())
		require.NoError(t, img.Close())
	}
}

// A link out of a layout's folder is not followed.
func TestLinkOut(t *testing.T) {
	l := newLayout(t)
	l.files["index.json"] = l.index(l.manifest(runtime.GOARCH, "x"))
	dir := l.write()
	require.NoError(t, readAll(dir))
	out := filepath.Join(t.TempDir(), "index.json")
	require.NoError(t, os.Rename(filepath.Join(dir, "index.json"), out))
	require.NoError(t, os.Symlink(out, filepath.Join(dir, "index.json")))
	_, err := os.ReadFile(filepath.Join(dir, "index.json"))
	require.NoError(t, err, "control: a naive reader follows it")
	require.Error(t, readAll(dir))
}
