package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asTestUser has a part of the test binary run as the test user, who has ids of /etc/subuid, and is in a further group.
func asTestUser(t testing.TB, group uint32, part string, args ...string) map[string]string {
	t.Helper()
	u := testUser(t)
	c := exec.CommandContext(inTime(t), "/proc/self/exe")
	home := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(home), 0o755))
	require.NoError(t, os.Chown(home, int(u.Uid), int(u.Gid)))
	c.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + os.Getenv("PATH"), partEnv + "=" + strings.Join(append([]string{part}, args...), " ")}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.Uid, Gid: u.Gid, Groups: []uint32{group}}}
	c.Dir = "/"
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	return values(string(out))
}

// testUser returns who `.ci/setup test` adds.
func testUser(t testing.TB) *syscall.Credential {
	t.Helper()
	needRoot(t)
	u, err := user.Lookup("belljar-test")
	if err != nil || !installed("newuidmap") {
		skip(t, "needs the user belljar-test and newuidmap: run .ci/setup test")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func init() {
	parts["rootless"] = func(args []string) {
		defer stopZygote()
		dir := args[0]
		for name, opts := range map[string][]Option{
			"bind":  {WithBind(filepath.Join(dir, "d"), "/mnt", ReadOnly)},
			"own":   {WithBind(filepath.Join(dir, "d"), "/mnt")},
			"root":  {WithRootfs(filepath.Join(dir, "root")), WithBind("/usr", "/usr", ReadOnly)},
			"group": {WithBind(args[1], "/mnt", ReadOnly)},
		} {
			sb, err := New(opts...)
			if err != nil {
				fmt.Printf("%s=%v\n", name, err)
				continue
			}
			out, err := sb.Command("/usr/bin/cat", "/mnt/f").CombinedOutput(context.Background())
			fmt.Printf("%s=%s %v\n", name, strings.TrimSpace(string(out)), err)
			if name == "own" {
				res, err := sb.Run(context.Background(), "/usr/bin/touch", "/mnt/new")
				fmt.Printf("wrote=%v %v\n", res.Verdict, err)
			}
			if err := sb.Close(); err != nil {
				fmt.Printf("%s=%v\n", name, err)
			}
		}
	}
}

// Where an ordinary user may go, the binds and roots of its sandboxes come from: also by a directory that is closed to all others and is of a group that does not exist
// inside, and by one that is open to a group which the job is not in.
func TestRootlessSources(t *testing.T) {
	t.Parallel()
	u := testUser(t)
	if testing.Short() {
		t.Skip("slow: programs with zygotes of their own, which a full run has")
	}
	const strange = 7777 // mapped nowhere
	top := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(top), 0o755))
	require.NoError(t, os.Chmod(top, 0o755))
	make := func(path string, mode os.FileMode, uid, gid int) string {
		p := filepath.Join(top, path)
		require.NoError(t, os.Mkdir(p, 0o755))
		require.NoError(t, os.Chmod(p, mode))
		require.NoError(t, os.Chown(p, uid, gid))
		return p
	}
	write := func(path string) {
		require.NoError(t, os.WriteFile(filepath.Join(top, path), []byte("data"), 0o644))
	}
	own := make("own", 0o700, int(u.Uid), strange)
	make("own/d", 0o700, int(u.Uid), strange)
	write("own/d/f")
	make("own/root", 0o755, int(u.Uid), strange)
	for _, d := range []string{"usr", "proc", "dev", "mnt"} {
		make("own/root/"+d, 0o755, int(u.Uid), int(u.Gid))
	}
	require.NoError(t, os.Symlink("usr/lib64", filepath.Join(top, "own/root/lib64")))
	require.NoError(t, os.Symlink("usr/lib", filepath.Join(top, "own/root/lib")))
	write("own/root/mnt/f")
	make("shared", 0o750, 0, strange)
	shared := make("shared/d", 0o755, 0, 0)
	write("shared/d/f")

	got := asTestUser(t, strange, "rootless", own, shared)
	for _, name := range []string{"bind", "own", "root", "group"} {
		assert.Equal(t, "data <nil>", got[name], name)
	}
	assert.Equal(t, "OK <nil>", got["wrote"])
	// Control: who is not in the group does not get there, and another's directory stays closed.
	assert.Contains(t, asTestUser(t, 4242, "rootless", own, shared)["group"], "permission denied")
	require.NoError(t, os.Chown(own, 0, 0))
	assert.Contains(t, asTestUser(t, strange, "rootless", own, shared)["bind"], "permission denied")
}
