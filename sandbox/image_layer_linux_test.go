package sandbox

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs/image"
)

// reshape changes, adds and removes files of the image below.
const reshape = `cd /srv && echo new > kept && rm gone && rm -r d && mkdir d && echo in > d/in && echo x > "odd name" && ln -s kept link && ln kept same && chmod 640 kept && rm -r /opt && echo a file > /opt`

// lookAround describes a tree without what is a sandbox's own: a line for each file.
const lookAround = `find /srv /opt /bin/sh | sort | while read -r p; do
	what=; n=; if [ -h "$p" ]; then what=$(readlink "$p"); elif [ -f "$p" ]; then what=$(md5sum < "$p"); n=$(stat -c %h "$p"); fi
	echo "$p $(stat -c '%f %u:%g' "$p") $n $what"
done`

func changingImage(t testing.TB) (base []byte, layers [][]byte) {
	t.Helper()
	mine := tarLayer(t, tarItem{name: "srv/", mode: 0o777}, tarItem{name: "srv/kept", content: "old", mode: 0o666}, tarItem{name: "srv/gone", content: "old"},
		tarItem{name: "srv/d/", mode: 0o777}, tarItem{name: "srv/d/old", content: "old", mode: 0o666}, tarItem{name: "opt/"}, tarItem{name: "opt/f", content: "old"})
	return mine, [][]byte{busyboxLayer(t), mine}
}

// An image under a layer that is kept: the next sandbox finds what the last has left, the image in the store stays what it was, and what was written is a layer: of directories
// for WithLayers, and of the image, for any program that reads images.
func TestImageUnderUpper(t *testing.T) {
	t.Parallel()
	_, layers := changingImage(t)
	dir, _ := layoutOf(t, map[string]any{"Cmd": []string{"/bin/sh"}}, layers...)
	store := privateStore(t)
	upper := filepath.Join(t.TempDir(), "upper")
	root := []Option{WithCredential(0, 0), WithImage(dir, image.WithStore(store))}
	if os.Geteuid() == 0 {
		root = append(root, WithCapabilities("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"))
	}
	writing := append(slices.Clone(root), WithUpper(upper))
	sb := standing(t, writing...)
	sh(t, sb, reshape)
	want := sh(t, sb, lookAround)
	assert.Contains(t, want, "/srv/d/in")
	assert.NotContains(t, want, "/srv/d/old")
	diff := diffOf(t, sb)
	assert.Contains(t, diff, "D /srv/gone")
	assert.Contains(t, diff, "C /opt (type)")
	var tarred bytes.Buffer
	require.NoError(t, sb.WriteLayer(&tarred))
	committed := filepath.Join(t.TempDir(), "layer")
	require.NoError(t, sb.Commit(committed))
	require.NoError(t, sb.Close())

	assert.Equal(t, want, sh(t, standing(t, writing...), lookAround), "the next one with the layer")
	plain := standing(t, append(slices.Clone(root), WithScratch("1m"))...)
	assert.Equal(t, "old", sh(t, plain, "cat /srv/gone"), "the image is as it was")

	// The committed directory, over the image's own ones.
	var dirs []string
	stored, err := store.Layers()
	require.NoError(t, err)
	for _, l := range stored {
		dirs = append(dirs, l.Dir)
	}
	slices.SortFunc(dirs, func(a, b string) int { // busybox is the lowest
		has := func(d string) int {
			if _, err := os.Stat(filepath.Join(d, "bin", "busybox")); err == nil {
				return 0
			}
			return 1
		}
		return has(a) - has(b)
	})
	stacked := append([]Option{WithLayers(append(dirs, committed)...)}, root[0])
	if os.Geteuid() == 0 {
		stacked = append(stacked, root[2])
	}
	assert.Equal(t, want, sh(t, standing(t, stacked...), lookAround), "as a directory")

	again, _ := layoutOf(t, map[string]any{}, append(layers, tarred.Bytes())...)
	root[1] = WithImage(again, image.WithStore(store))
	assert.Equal(t, want, sh(t, standing(t, root...), lookAround), "as a layer of the image")
	if testing.Short() {
		return
	}
	// Another program makes the same tree of it.
	umoci, err := exec.LookPath("umoci")
	if err != nil {
		skip(t, "needs umoci")
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	args := []string{"unpack", "--image", again + ":v1", bundle}
	if os.Geteuid() != 0 {
		args = slices.Insert(args, 1, "--rootless")
	}
	tool(t, umoci, args...)
	theirs := standing(t, append(slices.Clone(stacked[1:]), WithRootfs(filepath.Join(bundle, "rootfs")))...)
	assert.Equal(t, want, sh(t, theirs, lookAround), "by umoci")
}

// The layer of a scratch has the ids inside, too, and the names of the sandbox's own files are not in it.
func TestImageLayerOfScratch(t *testing.T) {
	t.Parallel()
	if !tmpfsKeepsAttrs() {
		needKernel(t, 6, 6)
	}
	_, layers := changingImage(t)
	dir, _ := layoutOf(t, map[string]any{}, layers...)
	store := image.WithStore(privateStore(t))
	sb := standing(t, WithImage(dir, store), WithScratch("1m"), WithFile("/srv/ours", []byte("ours"), 0o644))
	sh(t, sb, "echo new > /srv/kept; rm -r /srv/d; echo mine > /srv/mine")
	want := sh(t, sb, strings.ReplaceAll(lookAround, "find /srv", "find /srv/kept /srv/mine /srv/gone"))
	var b bytes.Buffer
	require.NoError(t, sb.WriteLayer(&b))
	again, _ := layoutOf(t, map[string]any{}, append(layers, b.Bytes())...)
	next := standing(t, WithImage(again, store))
	assert.Equal(t, want, sh(t, next, strings.ReplaceAll(lookAround, "find /srv", "find /srv/kept /srv/mine /srv/gone")))
	_, res := try(t, next, "ls /srv/ours /srv/d 2>/dev/null")
	assert.NotZero(t, res.ExitCode)
	if os.Geteuid() == 0 {
		assert.Equal(t, "1000:1000", sh(t, next, "stat -c %u:%g /srv/mine"))
	}
	require.ErrorIs(t, standing(t).WriteLayer(&b), ErrInvalid)
}

// Files of an image have the owners that it says; an ordinary user's job has them all, and the report says so.
func TestImageOwners(t *testing.T) {
	t.Parallel()
	mine := tarLayer(t, tarItem{name: "srv/"}, tarItem{name: "srv/a", content: "a", uid: 1234, mode: 0o600}, tarItem{name: "srv/b", content: "b", uid: 77, mode: 0o600})
	dir, _ := layoutOf(t, map[string]any{"User": "1234:1234"}, busyboxLayer(t), mine)
	sb := standing(t, WithImage(dir, image.WithStore(privateStore(t))))
	owners := sh(t, sb, "stat -c %u:%g /srv/a /srv/b; cat /srv/a")
	_, res := try(t, sb, "cat /srv/b")
	const note = "cannot give files away"
	if os.Geteuid() == 0 {
		assert.Equal(t, "1234:1234\n77:77\na", owners)
		assert.NotZero(t, res.ExitCode, "another's file")
		assert.NotContains(t, sb.Report().String(), note)
		return
	}
	assert.Equal(t, "1234:1234\n1234:1234\na", owners)
	assert.Zero(t, res.ExitCode)
	assert.Contains(t, sb.Report().String(), note)
}
