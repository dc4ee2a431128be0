package sandbox

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriteFileAndFS(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for _, name := range []string{"/box/in", "/tmp/in", "/box/with space\n and line"} {
		require.NoError(t, sb.WriteFile(name, []byte("data"), 0o750), name)
		got, err := fs.ReadFile(sb.FS(), name[1:])
		require.NoError(t, err)
		assert.Equal(t, "data", string(got))
	}
	assert.Equal(t, "750 1000 1000", sh(t, sb, "stat -c '%a %u %g' /box/in"))
	require.NoError(t, sb.WriteFile("/box/in", []byte("s"), 0o600), "over what is there")
	assert.Equal(t, "600 s", sh(t, sb, "stat -c %a /box/in | tr '\\n' ' '; cat /box/in"))
	require.NoError(t, sb.WriteFile("/box/in", nil, 0o400))
	sh(t, sb, "mkdir -p /box/d/e; echo out > /box/d/e/out; ln -s d/e/out /box/link; ln -s /box/d /box/dlink")
	require.NoError(t, fstest.TestFS(must(fs.Sub(sb.FS(), "box/d")), "e/out"))
	for _, name := range []string{"box/link", "box/dlink/e/out"} {
		got, err := fs.ReadFile(sb.FS(), name)
		require.NoError(t, err, name)
		assert.Equal(t, "out\n", string(got))
	}
	f, err := sb.FS().Open("box/d/e/out")
	require.NoError(t, err)
	_, err = f.(io.Seeker).Seek(1, io.SeekStart)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestFilesRefused(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	sh(t, sb, `cd /box; mkfifo fifo; mkdir dir; ln -s loop loop; ln -s /dev/zero zero; ln -s /proc/self/exe exe; mkdir secret; chmod 0 secret
perl -e 'use Socket; socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un("/box/sock"))' || true`)
	for name, want := range map[string]error{
		"/no/such": fs.ErrNotExist, "/box": nil, "/box/dir": nil, "/box/fifo": nil, "/box/loop": syscall.ELOOP, "/box/zero": nil,
		"/usr/x": nil, "/box/in/x": nil, "/" + strings.Repeat("x", 300): syscall.ENAMETOOLONG, strings.Repeat("/x", 4000): syscall.ENAMETOOLONG,
		"relative": ErrInvalid, "": ErrInvalid, "/box/x/": ErrInvalid, "/box/a\x00b": ErrInvalid, "/proc/1/mem": nil, "/proc/sysrq-trigger": nil,
		"/dev/null": nil,
	} {
		err := sb.WriteFile(name, []byte("x"), 0o644)
		require.Error(t, err, name)
		var e *Error
		assert.ErrorAs(t, err, &e)
		if want != nil {
			assert.ErrorIs(t, err, want, name)
		}
	}
	for name, want := range map[string]error{
		"no/such": fs.ErrNotExist, "box/fifo": errIrregular, "box/zero": errIrregular, "dev/tty": nil, "dev/pts/ptmx": nil, "box/loop": syscall.ELOOP, "box/exe": nil,
		"../etc/passwd": fs.ErrInvalid, "/etc/passwd": fs.ErrInvalid, "": fs.ErrInvalid, "box/sock": nil, "box/secret/x": fs.ErrPermission,
		"proc/self/exe": nil, "proc/1/mem": nil, "proc/kcore": nil, "proc/1/root/etc/passwd": nil, "proc/kmsg": nil,
	} {
		f, err := sb.FS().Open(name)
		if !assert.Error(t, err, name) {
			require.NoError(t, f.Close())
		}
		var e *fs.PathError
		assert.ErrorAs(t, err, &e)
		if want != nil {
			assert.ErrorIs(t, err, want, name)
		}
	}
}

// A file can pretend to be larger than any memory.
func TestFilesOfAnySize(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	sh(t, sb, "truncate -s 4611686018427387904 /box/huge; head -c 70000000 /dev/zero > /box/large")
	for _, name := range []string{"box/huge", "box/large"} {
		_, err := fs.ReadFile(sb.FS(), name)
		assert.ErrorIs(t, err, syscall.EFBIG, name)
	}
	info, err := fs.Stat(sb.FS(), "box/huge")
	require.NoError(t, err)
	assert.EqualValues(t, 1<<62, info.Size())
}

// What the job may not read or write it does not get at by a link that the caller follows (CVE-2024-28185, CVE-2024-28189).
func TestFilesOfOthersBehindLinks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	precious := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(precious, []byte("of the host"), 0o600))
	open := filepath.Join(dir, "open")
	require.NoError(t, os.WriteFile(open, []byte("of the host"), 0o666))
	require.NoError(t, os.Chmod(open, 0o666))
	sb := standing(t, WithBind(dir, "/data"))
	out, res := try(t, sb, "ln -s /data/precious /box/in; ln -s /data /box/dir; cat /data/precious")
	require.NotEqual(t, 0, res.ExitCode, out)
	for _, name := range []string{"/box/in", "/box/dir/precious", "/data/precious"} {
		assert.ErrorIs(t, sb.WriteFile(name, []byte("evil"), 0o666), ErrPermission, name)
		_, err := fs.ReadFile(sb.FS(), name[1:])
		assert.ErrorIs(t, err, ErrPermission, name)
	}
	got, err := os.ReadFile(precious)
	require.NoError(t, err)
	assert.Equal(t, "of the host", string(got))
	// Control: the link works where the file's own permissions let the job.
	require.NoError(t, sb.WriteFile("/box/dir/open", []byte("new"), 0o600))
	info, err := os.Stat(open)
	require.NoError(t, err)
	assert.EqualValues(t, 0, info.Sys().(*syscall.Stat_t).Uid, "it stays its owner's")
	assert.Equal(t, fs.FileMode(0o666), info.Mode().Perm())
}

func TestFilesOfAnEndedSandbox(t *testing.T) {
	t.Parallel()
	sb, err := New()
	require.NoError(t, err)
	require.NoError(t, sb.WriteFile("/box/f", []byte("kept"), 0o644))
	f, err := sb.FS().Open("box/f")
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, sb.Close())
	assert.ErrorIs(t, sb.WriteFile("/box/f", nil, 0o644), ErrClosed)
	_, err = sb.FS().Open("box/f")
	assert.ErrorIs(t, err, ErrClosed)
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	assert.Equal(t, "kept", string(got))
}

func TestReadDirOfManyAndOddNames(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	sh(t, sb, `mkdir /box/d; cd /box/d; i=0; while [ $i -lt 500 ]; do : > n$i; i=$((i+1)); done; : > "$(printf 'a\nb')"; : > "$(printf '\377')"; : > "$(printf 'x%0254d' 0)"; ln -s /etc l`)
	list, err := fs.ReadDir(sb.FS(), "box/d")
	require.NoError(t, err)
	assert.Len(t, list, 504)
	d, err := sb.FS().Open("box/d")
	require.NoError(t, err)
	defer d.Close()
	n := 0
	for {
		part, err := d.(fs.ReadDirFile).ReadDir(100)
		n += len(part)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	assert.Equal(t, 504, n)
	sh(t, sb, `cd /box && perl -e 'for (1..3000) { mkdir "x" or die; chdir "x" or die }'`)
	_, err = fs.Stat(sb.FS(), "box"+strings.Repeat("/x", 1000))
	require.NoError(t, err)
	_, err = fs.Stat(sb.FS(), "box"+strings.Repeat("/x", 3000))
	assert.ErrorIs(t, err, syscall.ENAMETOOLONG)
}

// A walk through ".." while anything is renamed is refused by the kernel with EAGAIN; who opens a file is not to see that, unless it goes on and on.
func TestFilesInARenameStorm(t *testing.T) {
	t.Parallel()
	needsTool(t, "/usr/bin/perl")
	sb := standing(t)
	sh(t, sb, `cd /box && mkdir a r && echo x > f && perl -e 'symlink(("a/../" x 20) . "f", "l") or die'`)
	for range 2 {
		c := sb.Command("/usr/bin/perl", "-e", `chdir "/box"; while (1) { rename "r", "s"; rename "s", "r" }`)
		require.NoError(t, c.Start(inTime(t)))
	}
	for range 200 {
		_, err := fs.ReadFile(sb.FS(), "box/l")
		require.NoError(t, err)
	}
}
