package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tarball packs files; those in bin are busybox under other names.
func tarball(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

// savedImage is an archive as docker save writes them.
func savedImage(t *testing.T) string {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		skip(t, "needs /bin/busybox")
	}
	layer := tarball(t, map[string]string{"bin/echo": string(busybox), "bin/sh": string(busybox), "etc/motd": "of the image\n"})
	config := fmt.Sprintf(`{"os": "linux", "architecture": %q, "rootfs": {"type": "layers", "diff_ids": ["sha256:%x"]},
		"config": {"Entrypoint": ["/bin/echo"], "Cmd": ["hello"], "Env": ["PATH=/bin", "HOME=/x"]}}`, runtime.GOARCH, sha256.Sum256([]byte(layer)))
	name := fmt.Sprintf("%x.json", sha256.Sum256([]byte(config)))
	path := filepath.Join(t.TempDir(), "saved.tar")
	archive := tarball(t, map[string]string{
		name: config, "1/layer.tar": layer, "manifest.json": fmt.Sprintf(`[{"Config": %q, "RepoTags": ["greeting:v1"], "Layers": ["1/layer.tar"]}]`, name),
	})
	require.NoError(t, os.WriteFile(path, []byte(archive), 0o600))
	return path
}

func TestImage(t *testing.T) {
	path, store := savedImage(t), filepath.Join(t.TempDir(), "store")
	r := do(t, "--store", store, "--image", path)
	assert.Equal(t, "hello\n", r.stdout, r.stderr)
	assert.Zero(t, r.code)
	r = do(t, "--store", store, "--image", path+":greeting:v1", "--", "sh", "-c", "read line < /etc/motd; echo $line $HOME")
	assert.Equal(t, "of the image /x\n", r.stdout, r.stderr)
	r = do(t, "--store", store, "--image", path+":other")
	assert.Equal(t, exitRun, r.code)
	assert.Contains(t, r.stderr, "--image")
}
