package sandbox

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A descriptor of the host program that does not close on exec reaches no job, a directory least of all (CVE-2024-21626).
func TestOnlyDeclaredDescriptors(t *testing.T) {
	dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0) // not O_CLOEXEC
	require.NoError(t, err)
	defer unix.Close(dir)
	high, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD, 500)
	require.NoError(t, err)
	defer unix.Close(high)
	sb := standing(t, asVictim(t))
	inside := values(play(t, sb, "fds"))
	assert.Len(t, inside, 3, inside)
	c := sb.Command(victimPath)
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	c.Env, c.ExtraFiles = []string{partEnv + "=fds"}, []*os.File{f, f}
	out, err := c.Output(inTime(t))
	require.NoError(t, err)
	assert.Len(t, values(string(out)), 5, string(out))

	// Control: a program that is simply executed gets them.
	pid, err := syscall.ForkExec("/bin/ls", []string{"ls", fmt.Sprintf("/proc/self/fd/%d/", high)}, &syscall.ProcAttr{Files: []uintptr{f.Fd(), f.Fd(), f.Fd()}})
	require.NoError(t, err)
	var ws syscall.WaitStatus
	_, err = syscall.Wait4(pid, &ws, 0, nil)
	require.NoError(t, err)
	assert.Zero(t, ws.ExitStatus())
}

// Neither a working directory nor a program is found through descriptors of the library.
func TestNoWayThroughDescriptors(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for fd := range 12 {
		for _, dir := range []string{fmt.Sprintf("/proc/self/fd/%d", fd), fmt.Sprintf("/proc/self/fd/%d/..", fd), fmt.Sprintf("/proc/self/fd/%d/../../../..", fd)} {
			c := sb.Command("/bin/pwd")
			c.Dir = dir
			out, err := c.Output(inTime(t))
			assert.Error(t, err, "%s: %s", dir, out)
		}
		_, err := sb.Run(inTime(t), fmt.Sprintf("/proc/self/fd/%d", fd))
		assert.Error(t, err)
	}
	_, err := New(WithDir("/proc/self/fd/7"))
	assert.ErrorIs(t, err, ErrInvalid)
	// Control: a directory that is handed over can be entered by the program itself.
	d, err := os.Open("/usr")
	require.NoError(t, err)
	defer d.Close()
	c := sb.Command("/bin/sh", "-c", "cd /proc/self/fd/3 && pwd -P && ls")
	c.ExtraFiles = []*os.File{d}
	out, err := c.Output(inTime(t))
	require.NoError(t, err)
	assert.Contains(t, string(out), "bin")
}

// A thousand commands, many of which fail in every way, leave nothing in the host program.
func TestDescriptorsStayFlat(t *testing.T) {
	sb := standing(t)
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	round := func() {
		_, _ = sb.Run(inTime(t), "/bin/true")
		_, _ = sb.Run(inTime(t), "/no/such")
		_, _ = sb.Command("/bin/echo", "x").CombinedOutput(inTime(t))
		c := sb.Command("/bin/true")
		c.Dir = "/no"
		_, _ = c.StdinPipe()
		_, _ = c.StdoutPipe()
		_, _ = c.Run(inTime(t))
		_, _ = sb.FS().Open("no")
		_ = sb.WriteFile("/no/x", nil, 0)
	}
	neverReady(t, sb)
	for range 3 { // to the end that what is kept for the next command is there
		round()
	}
	settled(t)
	z, err := currentZygote()
	require.NoError(t, err)
	zygote := fmt.Sprint(z.pid)
	if _, err := os.ReadDir("/proc/" + zygote + "/fd"); err != nil {
		needRoot(t)
		require.NoError(t, err)
	}
	count := func() (host, helper int) { return leaktest.Count(leaktest.Files("self")), leaktest.Count(lasting(z)) }
	host, helper := count()
	for range rounds {
		round()
	}
	eventually(t, "descriptors are as many as before", func() bool { h, z := count(); return h <= host && z <= helper })
	eventually(t, "nobody is a zombie", func() bool {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%s/task/%s/children", zygote, zygote))
		return !slices.ContainsFunc(strings.Fields(string(children)), func(pid string) bool {
			stat, _ := os.ReadFile("/proc/" + pid + "/stat")
			return strings.Contains(string(stat), ") Z ")
		})
	})
}
