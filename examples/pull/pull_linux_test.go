package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/belljar-go/belljar/sandbox"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const busybox = "/bin/busybox"

// skip says what is missing. Where everything must work it fails.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("BELLJAR_MUST_WORK") == "1" {
		t.Fatal("must work here: " + why)
	}
	t.Skip(why)
}

// must takes a result that cannot fail.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// layer is a layer of files; content that begins with "->" is a link.
func layer(t *testing.T, files map[string]string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for path, content := range files {
		h := &tar.Header{Name: path, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if to, ok := strings.CutPrefix(content, "->"); ok {
			h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, to, 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return must(tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }))(t)
}

// greeting is an image for a platform whose command says a word.
func greeting(t *testing.T, arch, word string) v1.Image {
	t.Helper()
	data, err := os.ReadFile(busybox)
	if err != nil {
		skip(t, "needs "+busybox)
	}
	base := layer(t, map[string]string{"bin/busybox": string(data), "bin/echo": "->busybox", "bin/id": "->busybox", "bin/false": "->busybox", "bin/sh": "->busybox", "old": "x"})
	top := layer(t, map[string]string{".wh.old": "", "word": word})
	img, err := mutate.AppendLayers(empty.Image, base, top)
	if err != nil {
		t.Fatal(err)
	}
	config := must(img.ConfigFile())(t).DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config = v1.Config{Entrypoint: []string{"/bin/sh", "-c", `echo "$(/bin/echo */word) $0 $@ $(/bin/id -u)" | /bin/busybox tr -s " "; ! [ -e /old ]`}, Cmd: []string{word}, User: "1234", Env: []string{"PATH=/bin"}}
	return must(mutate.ConfigFile(img, config))(t)
}

// serve runs a registry on the loopback that has an index for two platforms under the tag both and an image under the tag one. It counts the
// blobs that are fetched.
func serve(t *testing.T) (host string, blobs *atomic.Int32) {
	t.Helper()
	blobs = &atomic.Int32{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			blobs.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	mine := greeting(t, runtime.GOARCH, "mine")
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: greeting(t, "s390x", "other"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: mine, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	if err := remote.WriteIndex(must(name.ParseReference(host+"/test/greeting:both"))(t), index); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(must(name.ParseReference(host+"/test/greeting:one"))(t), mine); err != nil {
		t.Fatal(err)
	}
	blobs.Store(0)
	return host, blobs
}

func TestPullAndRun(t *testing.T) {
	host, blobs := serve(t)
	cache := filepath.Join(t.TempDir(), "cache")
	for i, tt := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{host + "/test/greeting:both"}, "mine", 0},
		{[]string{host + "/test/greeting:one", "a", "b"}, "a b", 0},
	} {
		var out, log bytes.Buffer
		code, err := run(t.Context(), append([]string{"-cache", cache}, tt.args...), nil, &out, &log)
		if needs(t, err); err != nil || code != tt.code {
			t.Fatalf("%v: status %d, %v\n%s%s", tt.args, code, err, &out, &log)
		}
		if got := strings.TrimSpace(out.String()); got != "*/word "+tt.want+" 1234" {
			t.Errorf("%v: printed %q", tt.args, got)
		}
		fetched := blobs.Swap(0)
		if first := i == 0; first != (fetched > 0) || first != strings.Contains(log.String(), "unpacked layer 2 of 2") {
			t.Errorf("%v: fetched %d blobs\n%s", tt.args, fetched, &log)
		}
	}
}

// needs skips where a sandbox cannot be had for lack of what this host does not give to a user.
func needs(t *testing.T, err error) {
	t.Helper()
	if os.Geteuid() != 0 && errors.Is(err, sandbox.ErrPermission) {
		skip(t, "needs user namespaces")
	}
}

func TestPullFails(t *testing.T) {
	host, _ := serve(t)
	for _, args := range [][]string{{}, {"-m", "x"}, {"not a reference"}, {host + "/test/none:at"}, {host + "/test/greeting:none"}, {"-nonsense"}} {
		code, err := run(t.Context(), append([]string{"-cache", t.TempDir()}, args...), nil, io.Discard, io.Discard)
		if err == nil || code != 125 {
			t.Errorf("%v: status %d, %v", args, code, err)
		}
	}
}
