package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// storm repeats f on a goroutine of its own until the test ends or the returned function is called, which tells how often.
func storm(t testing.TB, f func()) (stop func() int64) {
	stop, _ = stormCounted(t, f)
	return stop
}

// stormCounted is storm, and a function that tells how often by now.
func stormCounted(t testing.TB, f func()) (stop, count func() int64) {
	t.Helper()
	var n atomic.Int64
	var once sync.Once
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				f()
				n.Add(1)
			}
		}
	}()
	stop = func() int64 {
		once.Do(func() { close(end) })
		<-ended
		return n.Load()
	}
	t.Cleanup(func() { stop() })
	return stop, n.Load
}

// calmly runs a shell command while what the lock is for stands still.
func calmly(still *sync.Mutex, t testing.TB, sb *Sandbox, script string) string {
	t.Helper()
	still.Lock()
	defer still.Unlock()
	out, _ := try(t, sb, script)
	return out
}

// rounds is how many sandboxes are made in a race.
func rounds() int {
	if testing.Short() {
		return 4
	}
	return 16
}

// Case 3: who owns the root swaps /dev and /proc for others while what is in them is masked (CVE-2025-31133, CVE-2025-52565): what would hide a file is a
// link to one that would be dangerous there, and what would be hidden lies elsewhere. In every sandbox that comes of it the proc that
// there is has its masks on, and nothing was mounted or made outside.
func TestCase3DevAndProcSwapped(t *testing.T) {
	t.Parallel()
	needRoot(t)
	host := t.TempDir()
	dir, opts := tinyRoot(t, func(dir string) {
		for _, d := range []string{"dev2", "proc2", "proc2/sys"} {
			require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
		}
		require.NoError(t, os.Symlink("/proc/sys/kernel/core_pattern", filepath.Join(dir, "dev2/null")))
		require.NoError(t, os.Symlink(host, filepath.Join(dir, "dev2/pts")))
		for _, f := range []string{"keys", "kcore", "timer_list"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "proc2", f), []byte("fake"), 0o644))
		}
	})
	exchange := func(name string) {
		_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, name), unix.AT_FDCWD, filepath.Join(dir, name+"2"), unix.RENAME_EXCHANGE)
	}
	var still sync.Mutex // held while a sandbox is looked at
	stop, exchanges := stormCounted(t, func() {
		still.Lock()
		defer still.Unlock()
		exchange("dev")
		exchange("proc")
	})
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	made := 0
	for round, end := 0, time.Now().Add(time.Minute); round < rounds() || exchanges() < 100 && time.Now().Before(end); round++ { // on a busy machine it takes more
		sb, err := New(append(opts, unguarded()...)...)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			continue
		}
		made++
		// Wherever the mounts are now, they are found by what they are.
		out := calmly(&still, t, sb, `for p in /proc /proc2; do
	test -e $p/self/mountinfo || continue
	echo found
	for f in keys timer_list kcore interrupts; do test -z "$(head -c 64 $p/$f 2>&-)" || echo $f shows; done
	(echo x > $p/sys/kernel/core_pattern) 2>&- && echo pattern written
	(echo x > $p/sysrq-trigger) 2>&- && echo sysrq written
	for f in keys timer_list; do (echo x > $p/$f) 2>&-; done
done; true`)
		for _, bad := range []string{"shows", "written"} {
			assert.NotContains(t, out, bad)
		}
		assert.Equal(t, 1, strings.Count(out, "found"), out)
		require.NoError(t, sb.Close())
	}
	n := stop()
	t.Logf("%d were made, %d exchanges", made, n)
	if n < 100 {
		notExercised(t, "the race was too slow: %d exchanges", n)
	}
	now, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	assert.Equal(t, string(pattern), string(now))
	left, err := os.ReadDir(host)
	require.NoError(t, err)
	assert.Empty(t, left)
	// Control: with nobody racing the same root works, and its masks are what hides the files: the host shows them.
	if _, err := os.Stat(filepath.Join(dir, "dev2/null")); err != nil { // an odd number of exchanges
		exchange("dev")
	}
	if _, err := os.Stat(filepath.Join(dir, "proc2/keys")); err != nil {
		exchange("proc")
	}
	assert.Equal(t, "alive", sh(t, standing(t, opts...), "test -c /dev/null && echo alive"))
	shown, err := head("/proc/timer_list")
	if err != nil || len(shown) == 0 {
		notExercised(t, "the host does not show what is masked: %v", err)
	}
}

// Case 4: a root has files where the library writes to proc (CVE-2025-52881): it writes to the kernel's own, which it has mounted itself, and never by a
// path of the root.
func TestCase4FakeProc(t *testing.T) {
	t.Parallel()
	fakes := []string{"sys/user/max_user_namespaces", "self/attr/exec", "self/timens_offsets", "self/uid_map", "self/gid_map", "self/setgroups", "self/oom_score_adj"}
	dir, opts := tinyRoot(t, func(dir string) {
		for _, f := range fakes {
			p := filepath.Join(dir, "proc", f)
			require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
			require.NoError(t, os.WriteFile(p, []byte("fake"), 0o666))
			require.NoError(t, os.Chmod(p, 0o666))
		}
	})
	sb := standing(t, append(opts, BestEffort(WithTime(1e9)))...)
	assert.Equal(t, "0", sh(t, sb, "cat /proc/sys/user/max_user_namespaces"), "the kernel's own has been written to")
	for _, f := range fakes {
		b, err := os.ReadFile(filepath.Join(dir, "proc", f))
		require.NoError(t, err)
		assert.Equal(t, "fake", string(b), f)
	}
	// Control: a write by path, as others did, does reach a fake.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "proc", fakes[0]), []byte("0"), 0))
	b, err := os.ReadFile(filepath.Join(dir, "proc", fakes[0]))
	require.NoError(t, err)
	assert.Equal(t, "0", string(b))
}

// Case 87: while anybody on the machine renames something, the kernel cannot tell whether a path with ".." in it has been led out, and answers
// EAGAIN (openat2(2)). Sandboxes are made all the same, many at a time.
func TestCase87RenameStormDuringSetup(t *testing.T) {
	t.Parallel()
	up := strings.Repeat("a/../", 30)
	_, opts := tinyRoot(t, func(dir string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "d/a"), 0o755))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "d/t"), 0o755))
		require.NoError(t, os.Symlink(up+"t", filepath.Join(dir, "d/l")))
	})
	work := t.TempDir()
	require.NoError(t, os.Chmod(work, 0o755))
	for _, d := range []string{"a", "t", "r0", "r1"} {
		require.NoError(t, os.Mkdir(filepath.Join(work, d), 0o755))
	}
	var stops []func() int64
	for _, r := range []string{"r0", "r1"} {
		from, to := filepath.Join(work, r), filepath.Join(work, "x"+r)
		stops = append(stops, storm(t, func() { _, _ = os.Rename(from, to), os.Rename(to, from) }))
	}
	var made sync.WaitGroup
	errs := make(chan error, rounds())
	for range rounds() {
		made.Add(1)
		go func() {
			defer made.Done()
			sb, err := New(append(opts, WithBind(work+"/t", "/d/l", ReadOnly))...)
			if err == nil {
				err = sb.Close()
			}
			errs <- err
		}()
	}
	made.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	// Control: the same path opened once, without being tried again, does fail in this storm.
	fd, err := unix.Open(work, unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	again := false
	for end := time.Now().Add(time.Minute); !again && time.Now().Before(end); {
		at, err := unix.Openat2(fd, up+"t", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
		if err == nil {
			_ = unix.Close(at)
		}
		again = err == unix.EAGAIN
	}
	for _, stop := range stops {
		stop()
	}
	if !again {
		notExercised(t, "no EAGAIN in this storm")
	}
}
