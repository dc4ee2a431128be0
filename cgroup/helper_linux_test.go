package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The test binary plays its own victims: with this in the environment it does
// what it says instead of testing.
const victimEnv = "BELLJAR_CGROUP_VICTIM"

func TestMain(m *testing.M) {
	if v := os.Getenv(victimEnv); v != "" {
		victim(strings.Fields(v))
	}
	before := openFDs()
	code := m.Run()
	if code == 0 {
		code = leaks(before)
	}
	os.Exit(code)
}

// leaks reports what the tests left behind.
func leaks(fdsBefore int) int {
	code := 0
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > 2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	// The runtime's signal watcher of package testing may live on.
	if n := runtime.NumGoroutine(); n > 2 {
		buf := make([]byte, 1<<16)
		fmt.Printf("leak: %d goroutines\n%s\n", n, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	if n := openFDs(); n > fdsBefore+1 { // the network poller's, opened by os/exec
		fmt.Println("leak: descriptors", fdsBefore, "->", n)
		code = 1
	}
	for _, d := range ownDirs() {
		if left, _ := filepath.Glob(filepath.Join(d, fmt.Sprintf("belljar*-%d-*", os.Getpid()))); len(left) > 0 {
			fmt.Println("leak: groups", left)
			code = 1
		}
	}
	return code
}

func ownDirs() []string {
	h, err := Detect()
	if err != nil {
		return nil
	}
	p, err := h.Base(0)
	if err != nil {
		return nil
	}
	var all []string
	for _, d := range p.Dirs {
		all = append(all, d.Path)
	}
	return all
}

func openFDs() int {
	// Pollers come in pairs (epoll and eventfd) and stay for good.
	n := 0
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		l, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(l, "anon_inode:") && !strings.HasPrefix(l, "pidfd:") {
			n++
		}
	}
	return n
}

// skip says which feature is missing. Where everything must work it fails.
func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("BELLJAR_MUST_WORK") == "1" {
		t.Fatal("must work here: " + why)
	}
	t.Skip(why)
}

// testBase is where groups may be made, with everything a test may limit.
func testBase(t testing.TB, more ...Controllers) Parent {
	t.Helper()
	h, err := Detect()
	require.NoError(t, err)
	need := MemoryController | PidsController | CPUController
	for _, c := range more {
		need |= c
	}
	p, err := h.Base(need)
	if err != nil && os.Geteuid() != 0 && errors.Is(err, ErrUnsupported) {
		skip(t, "no delegated cgroup: "+err.Error())
	}
	require.NoError(t, err)
	return p
}

// testParent is an owner's group that must be removable at the end of the test.
func testParent(t testing.TB, more ...Controllers) Parent {
	t.Helper()
	w, err := NewOwner(testBase(t, more...), os.Getpid(), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close(), "the test left groups behind") })
	return w.Parent()
}

func testManager(t testing.TB, l Limits) *Manager {
	t.Helper()
	m, err := New(testParent(t, l.Controllers()), "sb", l)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Kill(late()))
		require.NoError(t, m.Delete())
	})
	return m
}

func testLeaf(t testing.TB, m *Manager, name string, l Limits) *Leaf {
	t.Helper()
	leaf, err := m.NewLeaf(name, l)
	require.NoError(t, err)
	return leaf
}

// start runs a command inside a leaf the way a launcher does: into the
// unified hierarchy at birth, into those of v1 by a write of its own, and
// returns when it is inside. A shell does the write, for it has one thread, and
// becomes the command.
func start(t testing.TB, l *Leaf, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := command(l, argv...)
	cmd.Stderr = os.Stderr
	// It says when it is inside everywhere: on v1 it enters one hierarchy after the other.
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	n := 3 + len(cmd.ExtraFiles)
	cmd.ExtraFiles = append(cmd.ExtraFiles, w)
	cmd.Args[2] = strings.Replace(cmd.Args[2], `exec "$@"`, fmt.Sprintf(`echo in >&%d; exec %d>&-; exec "$@"`, n, n), 1)
	require.NoError(t, cmd.Start())
	closeExtra(cmd)
	said, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "in\n", string(said))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func command(l *Leaf, argv ...string) *exec.Cmd {
	script := ""
	cmd := exec.Command("/bin/sh")
	for i, fd := range l.TasksFDs() {
		script += fmt.Sprintf("echo 0 >&%d || exit 99; exec %d>&-; ", 3+i, 3+i)
		cmd.ExtraFiles = append(cmd.ExtraFiles, noClose(fd))
	}
	cmd.Args = append([]string{"sh", "-c", script + `exec "$@"`, "sh"}, argv...)
	if fd := l.FD(); fd >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	}
	return cmd
}

// noClose lends a copy of a leaf's descriptor to os/exec.
func noClose(fd int) *os.File {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return os.NewFile(uintptr(n), "tasks")
}

// self is a victim played by this binary.
func self(l *Leaf, what string) *exec.Cmd {
	cmd := command(l, "/proc/self/exe")
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd.Args[len(cmd.Args)-1] = exe
	cmd.Env = append(os.Environ(), victimEnv+"="+what, "GOMAXPROCS=1")
	return cmd
}

// run waits for a command and closes what was lent to it.
func run(cmd *exec.Cmd) error {
	err := cmd.Run()
	closeExtra(cmd)
	return err
}

func closeExtra(cmd *exec.Cmd) {
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
}

func victim(what []string) {
	n := 0
	if len(what) > 1 {
		n, _ = strconv.Atoi(what[1])
	}
	switch what[0] {
	case "hog": // touch n MiB
		b, err := unix.Mmap(-1, 0, n<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			os.Exit(3)
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
	case "count": // print a growing number
		w := bufio.NewWriter(os.Stdout)
		for i := 0; ; i++ {
			fmt.Fprintln(w, i)
			w.Flush()
			time.Sleep(time.Millisecond)
		}
	case "rootless":
		if err := rootless(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("done")
	case "aside":
		if err := aside(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("done")
	case "aside-family":
		if err := asideFamily(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("done")
	case "parent": // what becomes of a parent that is named
		h, err := Detect()
		if err == nil {
			_, err = h.ParentAt(what[1], MemoryController)
		}
		var errno unix.Errno
		_ = errors.As(err, &errno)
		if err == nil {
			fmt.Println("none")
		} else {
			fmt.Println(unix.ErrnoName(errno), err)
		}
		os.Exit(0)
	case "base": // what an unprivileged user is told
		h, err := Detect()
		if err == nil {
			_, err = h.Base(MemoryController | PidsController)
		}
		fmt.Println(err, errors.Is(err, ErrUnsupported), errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS))
	}
	os.Exit(0)
}

// late is the deadline of a kill, freeze or thaw that has to work. Without one they give up after a time that is short where the processor
// is emulated, or busy with something else.
func late() time.Time { return time.Now().Add(time.Minute) }

// some is how many there are of something: fewer in a short run, for emulated processors.
func some(many, few int) int {
	if testing.Short() {
		return few
	}
	return many
}

// eventually waits for a state which the kernel reaches by itself.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	if !waitUntil(f) {
		t.Fatal("never: " + what)
	}
}

func waitUntil(f func() bool) bool {
	for deadline := late(); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func slurp(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.TrimSpace(string(b))
}
