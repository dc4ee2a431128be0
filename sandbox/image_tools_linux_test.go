package sandbox

import (
	"context"
	"crypto/md5"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/image"
)

// tool runs a program of the host's that makes or reads images.
func tool(t testing.TB, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip(t, "needs "+name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience) // some pack hundreds of megabytes
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	require.NoErrorf(t, err, "%s %s\n%s", name, args, out)
}

// umociImage makes an image of ten layers and more with umoci, from a root of busybox, and returns its layout and
// what umoci itself makes of it.
func umociImage(t testing.TB) (layout, root string) {
	t.Helper()
	dir := t.TempDir()
	layout = filepath.Join(dir, "layout")
	tool(t, "umoci", "init", "--layout", layout)
	tool(t, "umoci", "new", "--image", layout+":v")
	tool(t, "umoci", "config", "--image", layout+":v", "--config.entrypoint", "/bin/echo", "--config.cmd", "hello", "--config.env", "PATH=/bin", "--config.workingdir", "/srv")
	unpack := func(to string) string {
		bundle := filepath.Join(dir, to)
		args := []string{"unpack", "--image", layout + ":v", bundle}
		if os.Geteuid() != 0 {
			args = slices.Insert(args, 1, "--rootless")
		}
		tool(t, "umoci", args...)
		return filepath.Join(bundle, "rootfs")
	}
	bundle := unpack("work")
	at := func(p string) string { return filepath.Join(bundle, p) }
	write := func(p, data string, mode fs.FileMode) {
		require.NoError(t, os.MkdirAll(filepath.Dir(at(p)), 0o755))
		require.NoError(t, os.WriteFile(at(p), []byte(data), 0o644))
		require.NoError(t, os.Chmod(at(p), mode))
	}
	own := func(p string, uid, gid int) {
		if os.Geteuid() == 0 {
			require.NoError(t, os.Lchown(at(p), uid, gid))
		}
	}
	commit := func() { tool(t, "umoci", "repack", "--refresh-bundle", "--image", layout+":v", filepath.Dir(bundle)) }

	program, err := os.ReadFile(busybox)
	if err != nil {
		skip(t, "needs "+busybox)
	}
	write("bin/busybox", string(program), 0o755)
	for _, applet := range []string{"sh", "cat", "id", "echo", "find", "stat", "readlink", "md5sum", "sort", "pwd", "xargs", "tr", "printf"} {
		require.NoError(t, os.Symlink("busybox", at("bin/"+applet)))
	}
	write("etc/passwd", "root:x:0:0::/:\njob:x:1234:77::/:\n", 0o644)
	write("etc/group", "jobs:x:77:\n", 0o644)
	commit() // 1
	for i := range 30 {
		write(fmt.Sprintf("data/d%d/f%d", i%5, i), strings.Repeat(fmt.Sprint(i), i*100), 0o640)
		own(fmt.Sprintf("data/d%d/f%d", i%5, i), i*37, i*11)
	}
	write("srv/secret", "x", 0o600)
	own("srv/secret", 1234, 77)
	require.NoError(t, os.Chmod(at("srv"), 0o751|fs.ModeSetgid))
	commit() // 2
	require.NoError(t, os.RemoveAll(at("data/d1")))
	require.NoError(t, os.Remove(at("data/d2/f2")))
	commit() // 3: whiteouts of a directory and a file
	require.NoError(t, os.RemoveAll(at("data/d3")))
	write("data/d3", "a file now", 0o644)
	require.NoError(t, os.Remove(at("data/d2/f7")))
	write("data/d2/f7/in", "a directory now", 0o644)
	commit() // 4
	write("data/d1/back", "again", 0o644)
	commit() // 5: in a directory that was gone
	require.NoError(t, os.Link(at("data/d0/f0"), at("data/d0/same")))
	require.NoError(t, os.Symlink("../../../etc/passwd", at("data/up")))
	require.NoError(t, os.Symlink("/data/d4", at("data/abs")))
	require.NoError(t, unix.Mkfifo(at("data/fifo"), 0o620))
	commit() // 6
	write("data/"+strings.Repeat("long", 60), "long", 0o644)
	write(strings.Repeat("deep/", 40)+"file", "deep", 0o644)
	write("data/ö\nline", "odd", 0o644)
	commit() // 7
	sparse, err := os.Create(at("data/sparse"))
	require.NoError(t, err)
	_, err = sparse.WriteAt([]byte("end"), 5<<20)
	require.NoError(t, err)
	require.NoError(t, sparse.Close())
	write("bin/su", "#!/bin/sh\n", 0o755|fs.ModeSetuid)
	require.NoError(t, os.MkdirAll(at("tmp"), 0o755))
	require.NoError(t, os.Chmod(at("tmp"), 0o777|fs.ModeSticky))
	commit() // 8
	require.NoError(t, os.RemoveAll(at("deep/deep/deep")))
	write("tmp/left", "left", 0o604)
	commit() // 9
	insert := filepath.Join(dir, "insert")
	require.NoError(t, os.MkdirAll(filepath.Join(insert, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(insert, "sub", "only"), []byte("opaque"), 0o644))
	rootless := func(args ...string) []string {
		if os.Geteuid() != 0 {
			args = slices.Insert(args, 1, "--rootless")
		}
		return args
	}
	tool(t, "umoci", rootless("insert", "--image", layout+":v", "--opaque", insert, "/data/d4")...)    // 10: an opaque directory
	tool(t, "umoci", rootless("insert", "--image", layout+":v", "--whiteout", "/data/d0/f5")...)       // 11
	tool(t, "umoci", rootless("insert", "--image", layout+":v", insert, "/data/d4/new/of/its/own")...) // 12
	tool(t, "umoci", "config", "--image", layout+":v", "--config.user", "job:jobs")
	return layout, unpack("result")
}

// theirs describes a tree of the host: a line for each file and directory.
func theirs(t testing.TB, root string) []string {
	t.Helper()
	var lines []string
	require.NoError(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		st := info.Sys().(*syscall.Stat_t)
		rel := "/" + strings.TrimPrefix(strings.TrimPrefix(p, root), "/")
		what := ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(p)
			require.NoError(t, err)
			what = fmt.Sprintf("%x", md5.Sum(data))
		case unix.S_IFLNK:
			what, err = os.Readlink(p)
			require.NoError(t, err)
		}
		links := uint64(st.Nlink)
		if d.IsDir() {
			links = 0
		}
		lines = append(lines, fmt.Sprintf("%s %x %d:%d %d %d %s", strings.ReplaceAll(rel, "\n", "?"), st.Mode, st.Uid, st.Gid, links, st.Mtim.Sec, what))
		return nil
	}))
	slices.Sort(lines)
	return lines
}

// inside describes the same, as a job sees it.
func inside(t testing.TB, sb *Sandbox) []string {
	t.Helper()
	out := sh(t, sb, `find / -xdev \( -path /proc -o -path /dev \) -prune -o -print0 | xargs -0 sh -c '
		for p; do
			what=; n=$(stat -c %h "$p")
			if [ -h "$p" ]; then what=$(readlink "$p"); elif [ -f "$p" ]; then what=$(md5sum < "$p"); what=${what%% *}; elif [ -d "$p" ]; then n=0; fi
			echo "$(printf %s "$p" | tr "\n" "?") $(stat -c "%f %u:%g" "$p") $n $(stat -c %Y "$p") $what"
		done' sh`)
	lines := strings.Split(out, "\n")
	slices.Sort(lines)
	return lines
}

// ofImage leaves out what is a sandbox's own, and of the directories that it lies in the time.
func ofImage(lines []string) []string {
	var kept []string
	for _, l := range lines {
		f := strings.SplitN(l, " ", 6)
		switch f[0] {
		case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/proc", "/dev", "/":
			continue
		case "/etc", "/data", "/data/d4", "/data/d4/new", "/data/d4/new/of", "/data/d4/new/of/its":
			f[4] = "" // made by whoever unpacks
		}
		if os.Geteuid() != 0 {
			f[2] = "" // all is the caller's, which is the job
		}
		kept = append(kept, strings.TrimSpace(strings.Join(f, " ")))
	}
	return kept
}

// An image of many layers that another program has made is, inside a sandbox, the tree that this program makes of it; and so it is in each other
// form, made by yet another program.
func TestImageOfUmoci(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("slow: some forty runs of other programs")
	}
	layout, root := umociImage(t)
	want := ofImage(theirs(t, root))
	require.Greater(t, len(want), 50)
	store := image.WithStore(privateStore(t))
	check := func(t *testing.T, path string) *Sandbox {
		t.Helper()
		sb := standing(t, WithImage(path, store), WithCredential(0, 0), WithCapabilities("DAC_READ_SEARCH"), WithDir("/"))
		got := ofImage(inside(t, sb))
		for _, l := range got {
			assert.True(t, slices.Contains(want, l), "not there: %s", l)
		}
		for _, l := range want {
			assert.True(t, slices.Contains(got, l), "missing: %s", l)
		}
		return sb
	}
	sb := check(t, layout+":v")
	assert.Contains(t, sb.Report().String(), "of 12 layers")
	out, err := standing(t, WithImage(layout, store)).Entrypoint().Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(out))
	assert.Equal(t, "1234 77 /srv x", sh(t, standing(t, WithImage(layout, store)), "echo $(id -u) $(id -g) $(pwd) $(cat secret)"))

	dir := t.TempDir()
	copied := func(to string, args ...string) string {
		tool(t, "skopeo", append(append([]string{"copy", "--quiet", "--insecure-policy"}, args...), "oci:"+layout+":v", to)...)
		_, path, _ := strings.Cut(to, ":")
		return path
	}
	check(t, copied("docker-archive:"+dir+"/docker.tar:name:tag"))
	check(t, copied("oci-archive:"+dir+"/oci.tar:v"))
	check(t, copied("oci:"+dir+"/zstd:v", "--dest-compress-format", "zstd"))
}
