package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	// ramfs runs another part with the initial ramfs of the kernel as its root, as a machine does that never leaves its initramfs. What it makes there stays: it is for a
	// virtual machine that still has its initramfs below its root.
	parts["ramfs"] = func(args []string) {
		runtime.LockOSThread()
		if err := intoRamfs(); err != nil {
			fmt.Println("ramfs=" + err.Error())
			return
		}
		err := unix.Exec("/proc/self/fd/9", []string{"x"}, []string{partEnv + "=" + strings.Join(args, " ")})
		fmt.Println("ramfs=exec: " + err.Error())
	}
	parts["chroot"] = func([]string) {
		defer stopZygote()
		fmt.Printf("root=%s\n", rootMount())
		_, err := New()
		fmt.Printf("plain=%v\nexplain=%s\n", err, Explain(err))
		sb, err := New(WithChroot())
		if err != nil {
			fmt.Printf("error=%v\n", err)
			return
		}
		defer sb.Close()
		fmt.Printf("report=%s\n", strings.ReplaceAll(sb.Report().String(), "\n", "; "))
		out, err := sb.Command("/usr/bin/busybox", "sh", "-c", "echo alive; ls /root /modules /init /host /.. 2>&1 | tr '\\n' ' '; echo; chroot / true 2>&1; umount -l / 2>&1").CombinedOutput(context.Background())
		fmt.Printf("out=%s\nfault=%v\n", strings.ReplaceAll(string(out), "\n", "; "), err)
		layered, err := New(WithChroot(), WithRootfs("/usr/share"), WithBind("/usr", "/usr", ReadOnly))
		if err != nil {
			fmt.Printf("layered=%v\n", err)
			return
		}
		defer layered.Close()
		out, err = layered.Command("/usr/bin/busybox", "echo", "alive").CombinedOutput(context.Background())
		fmt.Printf("layered=%s %v\n", strings.TrimSpace(string(out)), err)
	}
}

// rootMount is the type of what is mounted at /, and whether it has a mount above it.
func rootMount() string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) > 6 && f[4] == "/" {
			_, after, _ := strings.Cut(l, " - ")
			return strings.Fields(after)[0] + " on top: " + fmt.Sprint(f[0] == f[1])
		}
	}
	return "none"
}

func intoRamfs() error {
	const exe = 9
	self, err := unix.Open("/proc/self/exe", unix.O_PATH, 0)
	if err != nil {
		return err
	}
	if err := unix.Dup2(self, exe); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	root, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	if err := unix.Unmount("/", unix.MNT_DETACH); err != nil {
		return err
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return err
	}
	// The initial ramfs is in sight now, with nothing on it.
	if _, err := os.Stat("/init"); err != nil {
		return fmt.Errorf("nothing is left of the initramfs: %w", err)
	}
	if err := unix.MoveMount(root, "", unix.AT_FDCWD, "/root", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	if err := os.Chmod("/", 0o755); err != nil { // as kernels unpack it, unless its archive says otherwise
		return err
	}
	for _, d := range []string{"proc", "sys", "dev", "usr", "tmp"} {
		_ = os.Mkdir("/"+d, 0o755)
		if err := unix.Mount("/root/"+d, "/"+d, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
	}
	for _, l := range []string{"lib", "lib64"} {
		_ = os.Symlink("usr/"+l, "/"+l)
	}
	return nil
}

// Case 16: where nobody can pivot, New says so; chroot stands in for it when that was asked for, and the report tells.
func TestCase16NoPivot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	run := func(part string) map[string]string {
		cmd := exec.CommandContext(inTime(t), "/proc/self/exe")
		cmd.Env = []string{partEnv + "=" + part}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		t.Logf("%s", out)
		return values(string(out))
	}
	plain := run("chroot")
	assert.Equal(t, "<nil>", plain["plain"], "the control: elsewhere it works, and the option changes nothing")
	assert.NotContains(t, plain["report"], "chroot")
	assert.Contains(t, plain["out"], "alive")

	got := run("ramfs chroot")
	if got["ramfs"] != "" {
		// The list of skips of continuous integration says where that is so.
		t.Skip("needs a machine that has kept its initramfs: " + got["ramfs"])
	}
	assert.Equal(t, "rootfs on top: true", got["root"])
	assert.Contains(t, got["plain"], "root: pivot_root")
	assert.Contains(t, got["plain"], "invalid argument")
	assert.Contains(t, got["explain"], "WithChroot")
	assert.Contains(t, got["report"], "entered by chroot")
	assert.Contains(t, got["out"], "alive")
	for _, name := range []string{"modules", "init", "host"} {
		assert.Contains(t, got["out"], "/"+name+": No such", "of the initramfs")
	}
	assert.Contains(t, got["out"], "chroot: can't change root directory")
	assert.Contains(t, got["out"], "umount: can't unmount")
	assert.Equal(t, "alive <nil>", got["layered"])
}
