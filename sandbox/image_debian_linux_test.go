package sandbox

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs/image"
)

// packed is what the image has of a Debian root, unless BELLJAR_PROOFS asks for all of it: what Python, dpkg and the shell need.
var packed = []string{
	"bin", "sbin", "lib", "lib64", "etc", "tmp", "srv", "var/lib/dpkg", "var/log", "var/spool", "usr/share/perl5", "usr/lib/python3*", "usr/bin/python3*", "usr/bin/dpkg*", "usr/lib64",
	"usr/bin/dash", "usr/bin/sh", "usr/bin/cat", "usr/bin/ls", "usr/bin/id", "usr/bin/find", "usr/bin/sort", "usr/bin/tr", "usr/bin/yes", "usr/lib/*-linux-gnu/ld-*",
	"usr/lib/*-linux-gnu/lib[cmz].so*", "usr/lib/*-linux-gnu/lib{expat,selinux,pcre2-8,md,bz2,lzma,zstd,acl,attr,gmp,crypto}.so*",
}

// matching returns the paths below root that the patterns stand for.
func matching(t testing.TB, root string, patterns []string) []string {
	t.Helper()
	var found []string
	for _, p := range patterns {
		each := []string{p}
		if before, list, ok := strings.Cut(p, "{"); ok {
			list, after, _ := strings.Cut(list, "}")
			each = nil
			for _, name := range strings.Split(list, ",") {
				each = append(each, before+name+after)
			}
		}
		for _, p := range each {
			paths, err := filepath.Glob(filepath.Join(root, p))
			require.NoError(t, err)
			for _, path := range paths {
				found = append(found, "."+strings.TrimPrefix(path, root))
			}
		}
	}
	return found
}

// archive makes a layer: of whiteouts, and of directories and files with what is in them.
func archive(t testing.TB, dir string, gone []string, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range gone {
		parent, name := filepath.Split(p)
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: parent + ".wh." + name, Mode: 0o644}))
	}
	for p, data := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: p, Mode: 0o644, Size: int64(len(data))}
		if strings.HasSuffix(p, "/") {
			h.Typeflag, h.Mode, h.Size = tar.TypeDir, 0o755, 0
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(data)[:h.Size])
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	path := filepath.Join(dir, "layer.tar")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// debianImage has umoci put a Debian root into an image, and more layers over it, which change and remove files of those below.
func debianImage(t testing.TB, root string, whole bool) string {
	t.Helper()
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	tool(t, "umoci", "init", "--layout", layout)
	tool(t, "umoci", "new", "--image", layout+":v")
	add := func(path string) {
		tool(t, "umoci", "raw", "add-layer", "--image", layout+":v", path)
		require.NoError(t, os.Remove(path))
	}
	base := filepath.Join(dir, "base.tar")
	args := []string{"-C", root, "--numeric-owner", "-cf", base}
	if whole {
		args = append(args, ".")
	} else {
		args = append(args, matching(t, root, packed)...)
	}
	tool(t, "tar", args...)
	add(base)                                                                                                    // 1
	add(archive(t, dir, []string{"etc/motd", "usr/bin/yes"}, nil))                                               // 2: files
	add(archive(t, dir, []string{"var/log"}, nil))                                                               // 3: a directory
	add(archive(t, dir, nil, map[string]string{"var/log/": "", "var/log/again": "back\n"}))                      // 4: which is another one then
	add(archive(t, dir, nil, map[string]string{"etc/motd": "new\n", "usr/bin/yes/": "", "usr/bin/yes/no": "-"})) // 5: a directory where a file was
	add(archive(t, dir, []string{"usr/share/perl5", "usr/bin/yes/no"}, nil))                                     // 6
	add(archive(t, dir, []string{"var/spool/.wh..opq"}, map[string]string{"var/spool/mine": "-"}))               // 7
	add(archive(t, dir, nil, map[string]string{"srv/a/": "", "srv/a/b/": "", "srv/a/b/c": "deep\n"}))            // 8
	add(archive(t, dir, []string{"srv/a/b"}, nil))                                                               // 9
	add(archive(t, dir, nil, map[string]string{"srv/last": "10\n"}))                                             // 10
	tool(t, "umoci", "config", "--image", layout+":v", "--config.user", "nobody", "--config.workingdir", "/tmp", "--config.env", "HOME=/tmp",
		"--config.entrypoint", "python3", "--config.entrypoint", "-c", "--config.cmd", "print(6*7)")
	return layout
}

// Python and dpkg run from an image that umoci has made of a Debian root and nine layers more; of what is below, each layer hides what it removes.
func TestImageOfDebian(t *testing.T) {
	t.Parallel()
	root := debianRoot(t)
	whole := os.Getenv("BELLJAR_PROOFS") != ""
	dir := debianImage(t, root, whole)
	sb := standing(t, WithImage(dir, image.WithStore(privateStore(t))), WithScratch("64m"), WithMemory("512m"), WithPids(64))
	assert.Contains(t, sb.Report().String(), "of 10 layers")
	out, err := sb.Entrypoint().Output(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, "42\n", string(out))
	assert.Equal(t, "65534", sh(t, sb, "id -u"))
	assert.Equal(t, "install ok installed", sh(t, sb, `dpkg-query -W -f '${Status}\n' libc6`))
	for path, there := range map[string]bool{"usr/bin/yes": true, "usr/share/perl5": true, "var/log/dpkg.log": true, "var/spool": true} {
		_, err := os.Lstat(filepath.Join(root, path))
		assert.Equal(t, there, err == nil, "the control: %s", path)
	}
	for script, want := range map[string]string{
		"ls /var/log": "again", "cat /etc/motd": "new", "ls -A /usr/bin/yes": "", "ls -d /usr/share/perl5 2>/dev/null || echo gone": "gone",
		"ls -A /var/spool": "mine", "find /srv | sort | tr '\n' ' '": "/srv /srv/a /srv/last", "cat /srv/last": "10",
	} {
		assert.Equal(t, want, sh(t, sb, script), script)
	}
	if !whole {
		return
	}
	assert.Equal(t, "7", sh(t, sb, `echo 'int main(void) { return 7; }' > a.c && gcc -O2 -o a a.c; ./a; echo $?`))
	assert.Contains(t, sh(t, sb, "java -Xmx32m -version 2>&1"), "OpenJDK Runtime")
}
