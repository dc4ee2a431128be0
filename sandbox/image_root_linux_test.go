package sandbox

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
)

// busybox is all the programs that images have here: the host's, which is static.
const busybox = "/bin/busybox"

type tarItem struct {
	name, content, link string
	mode                int64
	uid                 int
}

func tarLayer(t testing.TB, items ...tarItem) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := &tar.Header{Name: i.name, Mode: i.mode, Uid: i.uid, Gid: i.uid, Size: int64(len(i.content)), Typeflag: tar.TypeReg}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		switch {
		case i.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, i.link
		case strings.HasSuffix(i.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(i.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// busyboxLayer is a root of busybox: a shell and what it takes to look around.
func busyboxLayer(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(busybox)
	if err != nil {
		skip(t, "needs "+busybox)
	}
	items := []tarItem{{name: "bin/"}, {name: "bin/busybox", content: string(data)}, {name: "etc/"}, {name: "tmp/", mode: 0o1777}}
	for _, applet := range []string{"sh", "cat", "ls", "id", "env", "pwd", "echo", "stat", "touch", "find", "sort", "rm", "mkdir", "readlink", "md5sum", "xargs"} {
		items = append(items, tarItem{name: "bin/" + applet, link: "busybox"})
	}
	return tarLayer(t, items...)
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// layoutOf writes an OCI image layout and returns its folder and the digest of its manifest.
func layoutOf(t testing.TB, config map[string]any, layers ...[]byte) (dir, digest string) {
	t.Helper()
	type object = map[string]any
	dir = t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755))
	blob := func(mediaType string, data []byte) object {
		d := digestOf(data)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "blobs", "sha256", d[7:]), data, 0o644))
		return object{"mediaType": "application/vnd.oci.image." + mediaType, "digest": d, "size": len(data)}
	}
	document := func(v any) []byte {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		return data
	}
	var list []object
	var ids []string
	for _, l := range layers {
		list = append(list, blob("layer.v1.tar", l))
		ids = append(ids, digestOf(l))
	}
	c := blob("config.v1+json", document(object{"os": "linux", "architecture": runtime.GOARCH, "config": config, "rootfs": object{"type": "layers", "diff_ids": ids}}))
	m := blob("manifest.v1+json", document(object{"schemaVersion": 2, "config": c, "layers": list}))
	m["annotations"] = object{"org.opencontainers.image.ref.name": "v1"}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.json"), document(object{"schemaVersion": 2, "manifests": []object{m}}), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	return dir, m["digest"].(string)
}

func privateStore(t testing.TB) rootfs.Store {
	return rootfs.Store{Dir: filepath.Join(t.TempDir(), "store")}
}

// What an image says holds where no option says otherwise.
func TestImage(t *testing.T) {
	t.Parallel()
	accounts := tarLayer(t, tarItem{name: "etc/passwd", content: "root:x:0:0::/:\njob:x:1234:77::/home:\n", mode: 0o644}, tarItem{name: "etc/group", content: "jobs:x:77:\nmore:x:88:job,x\n", mode: 0o644},
		tarItem{name: "srv/", mode: 0o750, uid: 1234}, tarItem{name: "srv/f", content: "data", mode: 0o600, uid: 1234})
	dir, digest := layoutOf(t, map[string]any{
		"Entrypoint": []string{"/bin/echo", "entry"}, "Cmd": []string{"cmd"}, "Env": []string{"A=image", "B=image", "PATH=/bin"}, "User": "job", "WorkingDir": "/srv",
	}, busyboxLayer(t), accounts)
	store := privateStore(t)
	with := func(path string) Option { return WithImage(path, image.WithStore(store)) }

	sb := standing(t, with(dir+":v1"), WithEnv("B=mine", "C=mine"))
	assert.Equal(t, digest, sb.Report().Image)
	assert.Contains(t, sb.Report().String(), digest)
	assert.Equal(t, "uid=1234(job) gid=77(jobs)", strings.Join(strings.Fields(sh(t, sb, "id"))[:2], " "))
	assert.Equal(t, "/srv", sh(t, sb, "pwd"))
	assert.Equal(t, "data", sh(t, sb, "cat f"))
	assert.Equal(t, "image mine mine /bin", sh(t, sb, "echo $A $B $C $PATH"))
	if os.Geteuid() == 0 {
		assert.Contains(t, sh(t, sb, "id"), "88(more)")
		assert.Equal(t, "1234 0", sh(t, sb, "echo $(stat -c %u /srv/f) $(stat -c %u /bin/busybox)"))
	}
	out, err := sb.Entrypoint().Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "entry cmd\n", string(out))
	out, err = sb.Entrypoint("a", "b").Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "entry a b\n", string(out))
	_, res := try(t, sb, "echo > /srv/new")
	assert.NotEqual(t, 0, res.ExitCode, "read-only")

	sb = standing(t, with(dir), WithCredential(1001, 1002), WithDir("/tmp"), WithEnv("PATH=/bin:/x"), WithScratch("1m"))
	assert.Equal(t, "/tmp", sh(t, sb, "pwd"))
	assert.Equal(t, "uid=1001 gid=1002", strings.Join(strings.Fields(sh(t, sb, "id"))[:2], " "))
	assert.Equal(t, "/bin:/x", sh(t, sb, "echo $PATH"))
	assert.Equal(t, "new", sh(t, sb, "echo new > /tmp/f; cat /tmp/f"))

	res, err = Run(inTime(t), nil, with(dir))
	require.NoError(t, err)
	assert.Equal(t, OK, res.Verdict)
	list, err := store.Layers()
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.True(t, list[0].InUse && list[1].InUse)
	require.ErrorIs(t, store.Remove(list[0].Key), rootfs.ErrLayerInUse)
}

// A closed sandbox holds nothing; a restarted one and a clone are of the same image, although there is another in its place.
func TestImageStaysTheSame(t *testing.T) {
	t.Parallel()
	base := busyboxLayer(t)
	dir, digest := layoutOf(t, nil, base, tarLayer(t, tarItem{name: "which", content: "one", mode: 0o644}))
	other, _ := layoutOf(t, nil, base, tarLayer(t, tarItem{name: "which", content: "two", mode: 0o644}))
	store := privateStore(t)
	opt := WithImage(dir, image.WithStore(store))
	sb, err := New(opt)
	require.NoError(t, err)
	defer sb.Close()
	require.NoError(t, os.Rename(dir, dir+".old"))
	require.NoError(t, os.Symlink(other, dir))
	require.NoError(t, sb.Restart(inTime(t)))
	assert.Equal(t, "one", sh(t, sb, "cat /which"))
	clone, err := sb.Clone(WithEnv("A=b"))
	require.NoError(t, err)
	assert.Equal(t, "one b", sh(t, clone, "echo $(cat /which) $A"))
	assert.Equal(t, digest, clone.Report().Image)
	require.NoError(t, sb.Close())
	gone, err := store.Prune()
	require.NoError(t, err)
	assert.Empty(t, gone, "the clone has them")
	require.NoError(t, clone.Close())
	gone, err = store.Prune()
	require.NoError(t, err)
	assert.Len(t, gone, 2)

	sb = standing(t, opt)
	assert.Equal(t, "two", sh(t, sb, "cat /which"), "another New finds what there is")
	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.Rename(dir+".old", dir))
	require.NoError(t, sb.Close())
	_, err = store.Prune()
	require.NoError(t, err)
	root := sb.spec.image
	_, err = root.hold(t.Context())
	require.ErrorIs(t, err, errImageChanged, "with the layers gone as well, it is not another image that is taken")
}

// An image is not taken at its word: what it says is held to the rules of options, and root is not given to it.
func TestImageIsChecked(t *testing.T) {
	t.Parallel()
	base := busyboxLayer(t)
	store := privateStore(t)
	etc := func(passwd string) []byte {
		return tarLayer(t, tarItem{name: "etc/passwd", content: passwd, mode: 0o644})
	}
	link := tarLayer(t, tarItem{name: "etc/passwd", link: "/proc/self/environ"})
	tests := map[string]struct {
		config map[string]any
		layer  []byte
		kind   error
	}{
		"good":             {map[string]any{"User": "a"}, etc("a:x:5:5::/:\n"), nil},
		"no user":          {map[string]any{"User": "b"}, etc("a:x:5:5::/:\n"), fs.ErrNotExist},
		"no group":         {map[string]any{"User": "5:b"}, etc("a:x:5:5::/:\n"), fs.ErrNotExist},
		"user too large":   {map[string]any{"User": "4294967295"}, etc(""), ErrInvalid},
		"user not mapped":  {map[string]any{"User": "70000"}, etc(""), ErrInvalid},
		"group not mapped": {map[string]any{"User": "a"}, tarLayer(t, tarItem{name: "etc/passwd", content: "a:x:5:5::/:\n", mode: 0o644}, tarItem{name: "etc/group", content: "b:x:70000:a\n", mode: 0o644}), ErrInvalid},
		"colon":            {map[string]any{"User": "a:"}, etc("a:x:5:5::/:\n"), ErrInvalid},
		"in proc":          {map[string]any{"WorkingDir": "/proc/self/fd/7"}, etc(""), ErrInvalid},
		"passwd leads on":  {map[string]any{"User": "a"}, link, fs.ErrNotExist},
	}
	for name, tt := range tests {
		dir, _ := layoutOf(t, tt.config, base, tt.layer)
		sb, err := New(WithImage(dir, image.WithStore(store)))
		if tt.kind == nil {
			require.NoError(t, err, name)
			require.NoError(t, sb.Close())
			continue
		}
		require.ErrorIs(t, err, tt.kind, name)
		var e *Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "root", e.Stage)
		assert.True(t, strings.HasPrefix(e.Op, "WithImage"), e.Op)
		if name == "no user" {
			sb, err := New(WithImage(dir, image.WithStore(store)), WithCredential(7, 7))
			require.NoError(t, err, "an option takes its place")
			require.NoError(t, sb.Close())
		}
	}
	many := make([][]byte, rootfs.MaxLayers+1)
	for i := range many {
		many[i] = tarLayer(t)
	}
	dir, _ := layoutOf(t, nil, many...)
	_, err := New(WithImage(dir, image.WithStore(store)))
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "129")
	for _, user := range []string{"root", "0", "0:0", ""} {
		dir, _ := layoutOf(t, map[string]any{"User": user}, base, etc("root:x:0:0::/:\n"))
		sb, err := New(WithImage(dir, image.WithStore(store)))
		require.NoError(t, err)
		assert.Equal(t, "1000", sh(t, sb, "id -u"))
		noted := strings.Contains(strings.Join(sb.Report().Notes, "\n"), "WithCredential(0, 0)")
		assert.Equal(t, user != "", noted)
		require.ErrorIs(t, sb.Entrypoint().Start(inTime(t)), ErrInvalid, "the image has none")
		require.NoError(t, sb.Close())
	}
	list, err := store.Layers()
	require.NoError(t, err)
	for _, l := range list {
		assert.False(t, l.InUse, "a sandbox that could not be made holds nothing")
	}
	_, err = New(WithImage(filepath.Join(t.TempDir(), "none")))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = New(WithImage("/etc/passwd"))
	require.ErrorIs(t, err, ErrInvalid)
	for _, opts := range [][]Option{{WithImage("")}, {WithImage("a"), WithRootfs("/")}, {WithImage("a"), WithLayers("/")}, {WithImage("a"), WithImage("b")}, {BestEffort(WithImage("a"))}} {
		_, err := newSpec(opts)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err = newSpec([]Option{WithImage("a"), WithImage("a"), WithScratch("1m")})
	require.NoError(t, err)
	_, err = Run(inTime(t), nil)
	require.ErrorIs(t, err, ErrInvalid)
}
