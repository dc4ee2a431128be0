package sandbox

import (
	"bufio"
	"fmt"
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
	// It takes all there are, says how many and why there are no more, and keeps them until its input ends.
	take := fmt.Sprintf("my $n = 0; $n++ while syscall(%d, 0) >= 0; $| = 1; print \"$n $!\\n\"; <STDIN>", unix.SYS_INOTIFY_INIT1)
	a, b := standing(t), standing(t)
	hog := a.Command("perl", "-e", take)
	in, err := hog.StdinPipe()
	require.NoError(t, err)
	out, err := hog.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, hog.Start(inTime(t)))
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.False(t, strings.HasPrefix(line, "0 "), "it gets some: %s", line)
	assert.Equal(t, "0 Too many open files", sh(t, a, "perl -e '"+take+"' </dev/null"), "control: beside it, in the same sandbox")
	assert.NotEqual(t, "0 Too many open files", sh(t, b, "perl -e '"+take+"' </dev/null"), "in another sandbox")
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if assert.NoError(t, err, "on the host") {
		assert.NoError(t, unix.Close(fd))
	}
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
	kinds := map[string][]Option{"plain": nil}
	if !testing.Short() {
		kinds["root"], kinds["capable, with the host's network"] = []Option{WithRootfs("/")}, []Option{WithCapabilities("net_admin"), WithHost(namespace.Net)}
	}
	if kernelAtLeast(6, 2) {
		kinds["time"] = []Option{WithTime(time.Hour)}
	}
	for name, opts := range kinds {
		sb := standing(t, opts...)
		assert.Equal(t, sb.engine.idBase, owner(strconv.Itoa(sb.PID())), name)
		assert.NotZero(t, sb.engine.idBase, name)
	}
}
