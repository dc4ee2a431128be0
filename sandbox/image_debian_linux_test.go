package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs/image"
)

// sumOfFile is the digest of a file as it is, or of what a program makes of it.
func sumOfFile(t testing.TB, path string, through ...string) (digest string, size int64) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	if len(through) > 0 {
		c := exec.CommandContext(inTime(t), through[0], through[1:]...)
		c.Stdin, c.Stdout = f, h
		require.NoError(t, c.Run())
	} else {
		size, err = io.Copy(h, f)
		require.NoError(t, err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), size
}

// debianImage packs a Debian root into an image of two layers, of which the second has Java.
func debianImage(t testing.TB, root string) string {
	t.Helper()
	type object = map[string]any
	dir := t.TempDir()
	blobs := filepath.Join(dir, "blobs", "sha256")
	require.NoError(t, os.MkdirAll(blobs, 0o755))
	var layers []object
	var ids []string
	store := func(path, mediaType string) object {
		digest, size := sumOfFile(t, path)
		require.NoError(t, os.Rename(path, filepath.Join(blobs, digest[7:])))
		return object{"mediaType": "application/vnd.oci.image." + mediaType, "digest": digest, "size": size}
	}
	tar := []string{"-C", root, "-I", "zstd -1 -T0", "--numeric-owner", "-cf"}
	for _, what := range [][]string{{"--exclude=./usr/lib/jvm", "."}, {"./usr/lib/jvm"}} {
		path := filepath.Join(dir, "layer")
		tool(t, "tar", append(append(tar[:len(tar):len(tar)], path), what...)...)
		id, _ := sumOfFile(t, path, "zstd", "-dc")
		ids = append(ids, id)
		layers = append(layers, store(path, "layer.v1.tar+zstd"))
	}
	document := func(name string, v any) string {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o644))
		return path
	}
	config := store(document("config", object{
		"os": "linux", "architecture": runtime.GOARCH, "rootfs": object{"type": "layers", "diff_ids": ids},
		"config": object{"User": "nobody", "WorkingDir": "/tmp", "Env": []string{"HOME=/tmp"}, "Entrypoint": []string{"python3", "-c"}, "Cmd": []string{"print(6*7)"}},
	}), "config.v1+json")
	manifest := store(document("manifest", object{"schemaVersion": 2, "config": config, "layers": layers}), "manifest.v1+json")
	document("index.json", object{"schemaVersion": 2, "manifests": []object{manifest}})
	document("oci-layout", object{"imageLayoutVersion": "1.0.0"})
	return dir
}

// A compiler, Python and Java run from an image.
func TestImageOfDebian(t *testing.T) {
	t.Parallel()
	root := debianRoot(t)
	if os.Getenv("BELLJAR_PROOFS") == "" {
		t.Skip("slow: packs and unpacks half a gigabyte; BELLJAR_PROOFS=1 runs it")
	}
	dir := debianImage(t, root)
	sb := standing(t, WithImage(dir, image.WithStore(privateStore(t))), WithScratch("64m"), WithMemory("512m"), WithPids(64))
	out, err := sb.Entrypoint().Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "42\n", string(out))
	assert.Equal(t, "65534", sh(t, sb, "id -u"))
	assert.Equal(t, "7", sh(t, sb, `echo 'int main(void) { return 7; }' > a.c && gcc -O2 -o a a.c; ./a; echo $?`))
	assert.Contains(t, sh(t, sb, "java -Xmx32m -version 2>&1"), "OpenJDK Runtime")
	assert.Equal(t, "install ok installed", sh(t, sb, `dpkg-query -W -f '${Status}\n' libc6`))
}
