package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	// It takes as many instances of inotify(7) as it is told, or as there are, and keeps them until its input ends.
	parts["inotify"] = func(args []string) {
		most, err := strconv.Atoi(args[0])
		exitOn(err)
		n := 0
		for ; n < most; n++ {
			if _, err = unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
				break
			}
		}
		fmt.Printf("%d %t\n", n, errors.Is(err, unix.EMFILE))
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

// What the kernel counts for each user, and for the owner of a user namespace what is in it, is counted for nobody but the sandbox. Message queues, pending signals and namespaces are counted in the same way.
func TestUsersAccountsAreOfOneSandbox(t *testing.T) {
	t.Parallel()
	needRoot(t)
	most, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	require.NoError(t, err)
	if n, err := strconv.Atoi(strings.TrimSpace(string(most))); err != nil || n > 900 {
		notExercised(t, "a user may have %s instances of inotify", strings.TrimSpace(string(most)))
	}
	if !launch.Owns() {
		notExercised(t, "this process has not all capabilities over a user namespace that another user owns")
	}
	a, b := standing(t, asVictim(t)), standing(t, asVictim(t))
	hog := a.Command(victimPath)
	hog.Env = []string{partEnv + "=inotify 1000"}
	in, err := hog.StdinPipe()
	require.NoError(t, err)
	out, err := hog.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, hog.Start(inTime(t)))
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "true", "all there are for this user")
	assert.Equal(t, "0 true", play(t, a, "inotify", "1"), "control: beside it, in the same sandbox")
	assert.Equal(t, "1 false", play(t, b, "inotify", "1"), "in another sandbox")
	assert.Equal(t, "1 false", outside(t, "inotify", "1"), "on the host")
	require.NoError(t, in.Close())
	_, err = hog.Wait()
	require.NoError(t, err)
}

// The user namespace of a sandbox belongs to its own root, however it is made.
func TestUserNamespaceIsTheSandboxes(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if !launch.Owns() {
		notExercised(t, "this process has not all capabilities over a user namespace that another user owns")
	}
	owner := func(pid string) (uid uint32) {
		fd, err := unix.Open("/proc/"+pid+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		const getOwner = 0xb704 // NS_GET_OWNER_UID
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getOwner, uintptr(unsafe.Pointer(&uid)))
		require.Zero(t, errno)
		return uid
	}
	kinds := map[string][]Option{"plain": nil, "again": nil, "root": {WithRootfs("/")}, "capable, with the host's network": {WithCapabilities("net_admin"), WithHost(namespace.Net)}}
	if kernelAtLeast(6, 2) {
		kinds["time"] = []Option{WithTime(time.Hour)}
	}
	for name, opts := range kinds {
		sb := standing(t, opts...)
		assert.Equal(t, sb.engine.idBase, owner(strconv.Itoa(sb.PID())), name)
		assert.NotZero(t, sb.engine.idBase, name)
	}
}
