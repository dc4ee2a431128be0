package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a program expects of /dev is there and works.
func TestDev(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t)
	boxes := map[string]*Sandbox{"default root": standing(t, asVictim(t))}
	if !testing.Short() {
		boxes["rootfs"] = standing(t, append(opts, asVictim(t))...)
	}
	for name, sb := range boxes {
		t.Run(name, func(t *testing.T) {
			got := values(sh(t, sb, `cd /dev
echo null=$(wc -c < null)
echo x > null
echo zero=$(head -c3 zero | od -An -tx1 | tr -d ' ')
echo full=$(head -c2 full | od -An -tx1 | tr -d ' ')
(echo x > full) 2>/dev/null || echo fullwrite=refused
echo random=$(head -c16 random | wc -c) urandom=$(head -c16 urandom | wc -c)
echo in | { read l < stdin; echo stdin=$l; }
echo stdout=ok > stdout
echo stderr=ok 2>/dev/null > stderr || true
echo fd=$(ls -d fd/0 fd/1 fd/2 | wc -l)
echo shm=$(echo s > shm/f; cat shm/f)
echo links=$(readlink fd) $(readlink ptmx) $(readlink stdin)
(cat tty) 2>&1 | grep -q 'No such device or address' && echo tty=none
echo mqueue=$(ls mqueue | wc -l)
echo nodes=$(for f in * pts/*; do test -c $f && ! test -L $f && echo $f; done)`))
			for k, v := range map[string]string{
				"null": "0", "zero": "000000", "full": "0000", "fullwrite": "refused", "random": "16 urandom=16", "stdin": "in", "stdout": "ok", "fd": "3", "shm": "s",
				"links": "/proc/self/fd pts/ptmx /proc/self/fd/0", "tty": "none", "mqueue": "0",
				"nodes": "full null random tty urandom zero pts/ptmx",
			} {
				assert.Equal(t, v, got[k], k)
			}
			// Streams can be opened again by name, in their direction alone.
			out, res := try(t, sb, "echo again > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdout")
			assert.Contains(t, out, "again\nerr\n")
			assert.NotEqual(t, 0, res.ExitCode, out)
			c := sb.Command("/bin/sh", "-c", "cat /dev/stdin; echo x > /dev/stdin")
			c.Stdin = strings.NewReader("given")
			text, err := c.CombinedOutput(inTime(t))
			assert.Error(t, err)
			assert.Contains(t, string(text), "given")
			// The terminals are the sandbox's own, and so are the queues.
			assert.Equal(t, "name=/dev/pts/0\nmq=ok", play(t, sb, "pty"))
		})
	}
}

func init() {
	parts["pty"] = func([]string) {
		fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
		}
		n := -1
		if err == nil {
			n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		name := fmt.Sprintf("/dev/pts/%d", n)
		if err == nil {
			_, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			name = errnoName(err)
		}
		fmt.Printf("name=%s\n", name)
		_, err = mqueue(unix.SYS_MQ_OPEN, "own", unix.O_RDWR|unix.O_CREAT, 0o600)
		if err == nil {
			_, err = os.Stat("/dev/mqueue/own")
		}
		fmt.Printf("mq=%s\n", errnoName(err))
	}
}

// The nodes are the host's, and so is what is known of them: nothing of that can be written by whoever may write to the device.
func TestDevNodesAreNotWritten(t *testing.T) {
	t.Parallel()
	_, tiny := tinyRoot(t)
	opts := [][]Option{nil, tiny}
	if os.Geteuid() == 0 {
		opts = append(opts, []Option{WithCredential(0, 0)}, append(tiny, WithCredential(0, 0)))
	}
	require.NoError(t, exec.Command("touch", "/dev/null").Run(), "the control")
	for _, o := range opts {
		boxes := []*Sandbox{standing(t, o...)}
		if os.Geteuid() == 0 && kernelAtLeast(6, 3) { // tmpfs maps ids, so that the default root has a template
			boxes = append(boxes, begun(t, o...))
		}
		for _, sb := range boxes {
			assert.Equal(t, "ok\n8 not touched\n6 not given away", sh(t, sb, `echo ok | tee /dev/null; echo > /dev/null; [ -w /dev/null ] || echo no; head -c 1 /dev/zero > /dev/null
cd /dev; touch null zero full random urandom tty /proc/keys /proc/timer_list 2>&1 | grep -c '^touch: ' | sed 's/$/ not touched/'
chgrp --no-dereference --verbose $(id -g) null zero full random urandom tty 2>/dev/null | grep -c '^failed ' | sed 's/$/ not given away/'`))
		}
	}
}

// A device that was asked for works, as far as was asked; the same node without the option is dead.
func TestWithDevice(t *testing.T) {
	t.Parallel()
	needRoot(t)
	// A node of our own that only root may open, so that what the job may do is not what the host's permissions say.
	dir := openDir(t)
	host := filepath.Join(dir, "zero")
	if err := unix.Mknod(host, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil {
		notExercised(t, "mknod: %v", err)
	}
	sb := standing(t, WithDevice(host, "/dev/my/zero"), WithDevice(host, "/dev/ro", ReadOnly), WithDevice("/dev/none", "/dev/none", Optional), BestEffort(WithDevice("/dev/no", "/dev/no")),
		WithBind(dir, "/data"))
	assert.Equal(t, "000000", sh(t, sb, "head -c3 /dev/my/zero | od -An -tx1 | tr -d ' '; echo x > /dev/my/zero"))
	assert.Equal(t, "000000", sh(t, sb, "head -c3 /dev/ro | od -An -tx1 | tr -d ' '"))
	for _, a := range []string{
		"echo x > /dev/ro", "chmod 666 /dev/ro", "rm /dev/my/zero", "mknod /dev/my/null c 1 3", "touch /dev/my/x", "ls /dev/none", "ls /dev/no", "head -c1 /data/zero",
	} {
		out, res := try(t, sb, a)
		assert.NotEqual(t, 0, res.ExitCode, a+out)
	}
	// Not even root inside, with every capability, gets more out of it.
	root := standing(t, append(unguarded(), WithDevice(host, "/dev/ro", ReadOnly))...)
	for _, a := range []string{"echo x > /dev/ro", "chmod 666 /dev/ro", "mount -o remount,bind,rw /dev/ro; chmod 666 /dev/ro", "cp -a /dev/ro /tmp/ro && head -c1 /tmp/ro"} {
		out, res := try(t, root, a)
		assert.NotEqual(t, 0, res.ExitCode, a+out)
	}
	var st unix.Stat_t
	require.NoError(t, unix.Stat(host, &st))
	assert.EqualValues(t, 0o600, st.Mode&0o777, "the host's node is as it was")
	assert.Contains(t, sb.Report().String(), "/dev/none")
}

// What is no device is none, and who may not open it may not hand it on.
func TestWithDeviceRefused(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	for path, want := range map[string]error{file: ErrInvalid, dir: ErrInvalid, filepath.Join(dir, "none"): os.ErrNotExist} {
		_, err := New(WithDevice(path, "/dev/x"))
		require.ErrorIs(t, err, want, path)
		assert.ErrorContains(t, err, "WithDevice")
	}
	if os.Geteuid() == 0 {
		return
	}
	_, err := New(WithDevice("/dev/zero", "/dev/x", ReadOnly))
	require.ErrorIs(t, err, ErrUnsupported)
	sb := standing(t, WithDevice("/dev/zero", "/dev/x"))
	assert.Equal(t, "00", sh(t, sb, "head -c1 /dev/x | od -An -tx1 | tr -d ' '"))
	_, err = New(WithDevice("/dev/mem", "/dev/mem"))
	require.Error(t, err)
}

// FUSE works inside for a job that has the device: a node that takes more than reading and writing.
func TestWithDeviceFUSE(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if _, err := os.Stat("/dev/fuse"); err != nil {
		notExercised(t, "no /dev/fuse: %v", err)
	}
	sb := standing(t, append(unguarded(), WithDevice("/dev/fuse", "/dev/fuse"), asVictim(t))...)
	assert.Equal(t, "mount=ok", play(t, sb, "fuse"))
	assert.Equal(t, "mount=ENOENT", play(t, standing(t, append(unguarded(), asVictim(t))...), "fuse"))
}

func init() {
	parts["fuse"] = func([]string) {
		fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Mount("x", "/tmp", "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0", fd))
		}
		fmt.Printf("mount=%s\n", errnoName(err))
	}
}
